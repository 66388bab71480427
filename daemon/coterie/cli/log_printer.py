"""Prints lines of logs, from one thread or several."""

import json
import threading
from collections.abc import Callable

from coterie.cli.follow import TIMESTAMP_CHARS, without_time
from coterie.cli.log_text import readable
from coterie.cli.output import paint

Print = Callable[[str, str], None]
"""Prints (job or step, line)."""


def printer(run: str, as_json: bool, timestamps: bool, width: int) -> Print:
    """Prints lines of `run`; with a `width` each follows its name. Threads may share it."""
    one_at_a_time = threading.Lock()

    def show(job: str, line: str) -> None:
        if as_json:
            text = _as_json(run, job, line)
        elif (shown := readable(line)) is None:
            return
        else:
            time = f"{paint(line[: TIMESTAMP_CHARS - 1], 'dim')} " if timestamps else ""
            text = (f"{paint(job.ljust(width) + ' |', 'dim')} " if width else "") + time + shown
        with one_at_a_time:
            print(text, flush=True)

    return show


def _as_json(run: str, job: str, line: str) -> str:
    bare = without_time(line)
    time = line[: TIMESTAMP_CHARS - 1] if bare is not line else None
    return json.dumps({"schema": "coterie.log/1", "run": run, "job": job, "time": time, "line": bare})
