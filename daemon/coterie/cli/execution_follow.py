"""The newest state of an execution and of its steps, read by a thread of its own."""

from functools import partial

from coterie.cli.execution_source import ExecutionSource
from coterie.cli.execution_words import STEP_ENDED, in_order
from coterie.cli.versions import Versions
from coterie.control.client import Document
from coterie.control.client_executions import ENDED

STEPS_KEPT_MAX = 5000


class ExecutionFollower:
    """What a live picture shows. `last` has the last lines of steps whose lines come as events.

    Of executions with very many steps those that ended first are forgotten.
    """

    def __init__(self, source: ExecutionSource) -> None:
        self._source = source
        self._versions = Versions()
        self._steps: dict[str, Document] = {}
        self._execution: Document | None = None
        self.last: dict[str, str] = {}
        self._versions.read(self._follow)

    def after(self, seen: int, timeout_s: float) -> tuple[int, Document | None, list[Document]]:
        """(version, execution, steps in their order) once there is a later version, or as it was after `timeout_s`.

        Before the first news there is no execution. Raises the UserError that ended the news.
        """
        version, error = self._versions.after(seen, timeout_s)
        execution = self._execution
        if error is not None and (execution is None or execution["status"] not in ENDED):
            raise error
        return version, execution, in_order(self._versions.look(lambda: list(self._steps.values())))

    def touch(self) -> None:
        """Makes who waits look again, say because a log has a new line."""
        self._versions.change()

    def _follow(self) -> None:
        for event, document in self._source.events():
            if event == "execution":
                steps = list(self._source.steps()) if self._execution is None else []
                self._versions.change(partial(self._now, document, steps))
            elif event == "step":
                self._versions.change(partial(self._now, None, [document]))
            elif event == "line" and document["text"].strip():
                self.last[document["step"]] = document["text"].strip()
                self.touch()

    def _now(self, execution: Document | None, steps: list[Document]) -> None:
        for step in steps:
            self._steps.pop(step["id"], None)  # so that the order is that of the last change
            self._steps[step["id"]] = step
        if len(self._steps) > STEPS_KEPT_MAX:
            over = (name for name, step in self._steps.items() if step["state"] in STEP_ENDED)
            for name in list(over)[: len(self._steps) - STEPS_KEPT_MAX]:
                del self._steps[name]
        self._execution = execution or self._execution
