"""`coterie up`, with a note of when what happened: events durable, tasks begun, peers connected, frames received.

The whole daemon runs as always; three of its parts look at the clock once per call. What was noted is written to the
file `stamps` of the data directory at a clean exit: one JSON list a line, [ns, what, whose, facts], where ns are Unix
nanoseconds of this machine, so that the stamps of its daemons can be compared.

what       whose    facts
submit     event    the runs that it submits        claim   event  the run that it claims a task of
event      event    none: any other event
run        claim    the run                         the task was handed to the runner
connected  peer     none
frame      peer     its bytes                       question  peer  none: we asked for what we lack
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
from coterie_protocols.effects import Effect, Send, StartTask
from coterie_protocols.event import Event
from coterie_protocols.messages import SyncRequest, decode_frame_untrusted
from coterie_protocols.ops import Claim, Submit
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import Instant
from coterie_protocols.run import run_id
from coterie_protocols.stimuli import FrameReceived, PeerConnected, Stimulus, TaskResult

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


class TimedReplica(Replica):
    """A replica that notes connections, frames, and its own questions."""

    def handle(self, stimulus: Stimulus, now: Instant) -> list[Effect]:
        """Looks at the clock, then handles the stimulus."""
        if isinstance(stimulus, FrameReceived):
            stamps.append((time.time_ns(), "frame", stimulus.peer, [str(len(stimulus.data))]))
        elif isinstance(stimulus, PeerConnected):
            stamps.append((time.time_ns(), "connected", stimulus.peer, []))
        effects = super().handle(stimulus, now)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(decode_frame_untrusted(effect.data), SyncRequest):
                stamps.append((time.time_ns(), "question", effect.peer, []))
        return effects


def _gist(event: Event) -> tuple[str, str, list[str]]:
    submitted = [run_id(event.cid, index) for index, op in enumerate(event.ops) if isinstance(op, Submit)]
    claimed = [op.run for op in event.ops if isinstance(op, Claim)]
    return ("submit" if submitted else "claim" if claimed else "event"), event.cid, [*submitted, *claimed]


if __name__ == "__main__":
    with patch.multiple(app, SqliteStore=TimedStore, LocalRunner=TimedRunner, Replica=TimedReplica):
        sys.exit(main())
