"""What a job prints of the steps that it carries out: their output, failed attempts, and in a whole run their ends."""

from collections.abc import Callable, Sequence
from typing import Final

from coterie.engine.error_classes import ExitFailed
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, StepRow
from coterie.engine.performing.execution import LiveExecution

MS: Final = 1000
Write = Callable[[str], None]


def command(name: str, text: str) -> str:
    """A line by which a step speaks to its runner. Source: docs.github.com, "Workflow commands"."""
    return f"::{name}::" + text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


class Telling:
    """Implements `OutputSink` and `Observer`, for a job that carries out `step`, or a whole workflow where it is empty.

    Of a whole workflow each line begins with the step that it is of. Why the job fails is not told here.
    """

    def __init__(self, write: Write, step: str) -> None:
        self._write = write
        self._step = step
        self._whole = not step
        self._started: set[tuple[str, int, int]] = set()

    def line(self, record: ExecutionRecord, step: str, attempt: int, text: str) -> None:
        """One line of a step's output."""
        self._write(self._of(step, text))

    def ended(self, record: ExecutionRecord, step: str, attempt: int) -> None:
        """Lines are told as they come."""

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Tells of attempts that failed, and of steps that started and ended."""
        for note in notes:
            if note.kind == "failed" and note.position is not None:
                self._failed(live.steps.id(note.position), note)
        if self._whole:
            for row in rows:
                self._moved(live, row)

    def _failed(self, step: str, note: Note) -> None:
        body = note.body
        if body["type"] != ExitFailed.__name__:  # what a program wrote has been told
            for line in str(body["detail"]).splitlines():
                self._write(self._of(step, line))
        what = f"{step}: {body['class']}: {body['message']}"
        retry_at_ms = body["retry_at_ms"]
        if retry_at_ms is not None:
            wait_s = max(0, retry_at_ms - note.at_ms) / MS
            self._write(command("warning", f"{what} (attempt {body['attempt']}; the next in {wait_s:.1f} s)"))
        elif step != self._step:
            self._write(command("warning", what))

    def _of(self, step: str, text: str) -> str:
        return f"[{step}] {text}" if self._whole else text

    def _moved(self, live: LiveExecution, row: StepRow) -> None:
        step = live.steps.id(row.position)
        match row.state:
            case "running":
                key = (live.record.id, row.position, row.attempt)
                if key not in self._started:
                    self._started.add(key)
                    self._write(f"[{step}] started" + (f", attempt {row.attempt}" if row.attempt > 1 else ""))
            case "completed" | "failed" | "cancelled":
                took_s = ((row.ended_ms or 0) - (row.started_ms or row.ended_ms or 0)) / MS
                self._write(f"[{step}] {row.state} in {took_s:.1f} s")
            case "skipped":
                self._write(f"[{step}] skipped" + (f": {row.reason}" if row.reason else ""))
            case _:
                return
