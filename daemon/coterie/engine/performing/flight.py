"""One attempt of a step, from its start to its end."""

from anyio import TaskHandle

from coterie.engine.admission.admission import Want
from coterie.engine.model import StepSpec


class Flight:
    """One attempt under way."""

    __slots__ = (
        "attempt",
        "position",
        "progress",
        "ready_ms",
        "retries",
        "started_ms",
        "step",
        "stopping",
        "task",
        "want",
    )

    def __init__(self, position: int, step: StepSpec, attempt: int, retries: int, ready_ms: int, now_ms: int) -> None:
        self.position = position
        self.step = step
        self.attempt = attempt
        self.retries = retries
        self.ready_ms = ready_ms
        self.started_ms = now_ms
        self.task: TaskHandle[None] | None = None
        self.want: Want | None = None
        self.progress = ""
        self.stopping = False

    def told(self, progress: str) -> None:
        """A sign of life, and perhaps how far it got."""
        self.progress = progress
