"""`coterie up`, with a note of when each event was durable and when each task was handed to the runner.

The whole daemon runs as always; two adapters are wrapped to look at the clock once per call. What was noted is written
to the file `stamps` of the data directory at a clean exit: one JSON list a line, [ns, what, event, runs], where ns are
Unix nanoseconds of this machine, so that the stamps of its daemons can be compared.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

from coterie import app
from coterie.cli.main import main
from coterie.ports import LogWriter
from coterie.runner.runner import LocalRunner
from coterie.store.sqlite import SqliteStore
from coterie_protocols.effects import StartTask
from coterie_protocols.event import Event
from coterie_protocols.ops import Claim, Submit
from coterie_protocols.run import run_id
from coterie_protocols.stimuli import TaskResult

STAMPS_FILE = "stamps"

Stamp = tuple[int, str, str, list[str]]
stamps: list[Stamp] = []


class TimedStore(SqliteStore):
    """A store that notes when an event was durable."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._stamps_file = path.with_name(STAMPS_FILE)

    def append(self, events: Sequence[Event]) -> None:
        """Appends, then looks at the clock."""
        super().append(events)
        now = time.time_ns()
        stamps.extend((now, *_gist(event)) for event in events)

    def close(self) -> None:
        """Closes, and writes what was noted."""
        super().close()
        self._stamps_file.write_text("".join(json.dumps(stamp) + "\n" for stamp in stamps))


class TimedRunner(LocalRunner):
    """A runner that notes when it was called: all blobs are here by then."""

    async def run(self, task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        """Looks at the clock, then runs."""
        stamps.append((time.time_ns(), "run", task.claim, [task.run]))
        return await super().run(task, log, report)


def _gist(event: Event) -> tuple[str, str, list[str]]:
    submitted = [run_id(event.cid, index) for index, op in enumerate(event.ops) if isinstance(op, Submit)]
    claimed = [op.run for op in event.ops if isinstance(op, Claim)]
    return ("submit" if submitted else "claim" if claimed else "event"), event.cid, [*submitted, *claimed]


if __name__ == "__main__":
    with patch.object(app, "SqliteStore", TimedStore), patch.object(app, "LocalRunner", TimedRunner):
        sys.exit(main())
