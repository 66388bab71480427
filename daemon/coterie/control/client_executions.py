"""What the control socket says and does about executions of the engine (ids that begin with `ex-`)."""

from collections.abc import Generator, Mapping
from typing import Any

from coterie.control.connection import Connection, Document, segment

STEPS_PAGE = 1000
END_TIMEOUT_S = 120.0  # cancel answers once what runs has ended, TERM and KILL included
ENDED = frozenset({"completed", "failed", "cancelled"})


class ExecutionCalls(Connection):
    """Executions are named by id, unique prefix of it, @last, @last-failed, or a workflow's id (its newest)."""

    def execute(self, request: Mapping[str, object]) -> Document:
        """Submits an execution (coterie.execution/1): document, inputs, key, priority, source."""
        return self._post("/v1/executions", request)

    def executions(self, limit: int, workflow: str | None = None) -> list[Document]:
        """The newest first."""
        found: list[Document] = self._get("/v1/executions", limit=limit, workflow=workflow)["executions"]
        return found

    def execution(self, name: str) -> Document:
        """One execution (coterie.execution/1)."""
        return self._get(_target(name))

    def steps(self, name: str, start: int = 0, limit: int = STEPS_PAGE) -> Document:
        """`steps` from position `start` on, and `next`, the position to go on from or None."""
        return self._get(f"{_target(name)}/steps", start=start, limit=limit)

    def all_steps(self, name: str) -> Generator[Document]:
        """Every step, page by page."""
        start: int | None = 0
        while start is not None:  # each page begins after the one before
            page = self.steps(name, start)
            yield from page["steps"]
            start = page["next"]

    def result(self, name: str, step: str) -> Any:
        """What a completed step returned. Raises Refused (not-found) where it has not."""
        return self._get(f"{_target(name)}/steps/{segment(step)}/result")["result"]

    def step_log(self, name: str, step: str, attempt: int | None, follow: bool, offset: int = 0) -> Generator[bytes]:
        """A step's output in chunks, with `follow` until it ends; a silent stretch reconnects where it was."""
        return self._log(f"{_target(name)}/logs/{segment(step)}", attempt, follow, offset)

    def execution_metrics(self, name: str, start: int = 0, limit: int = STEPS_PAGE) -> Document:
        """Durations, waits, retries, parallel efficiency (coterie.execution-metrics/1); `by_step` is a page."""
        return self._get(f"{_target(name)}/metrics", start=start, limit=limit)

    def explain(self, name: str, step: str | None = None) -> Document:
        """Why steps stand where they do: `steps` of step, state, attempt, why, history."""
        return self._get(f"{_target(name)}/explain", step=step)

    def timeline(self, name: str, start: int = 0) -> Document:
        """When each attempt of each step was ready, began and ended, from position `start` on, a page."""
        return self._get(f"{_target(name)}/timeline", format="json", start=start)

    def timeline_text(self, name: str, format: str, columns: int | None = None) -> str:
        """The same as a picture, `text` (at most `columns` wide) or `svg`."""
        return self._text(f"{_target(name)}/timeline", format=format, columns=columns)

    def execution_events(self, name: str, within_s: float | None = None) -> Generator[tuple[str, Document]]:
        """("execution", coterie.execution/1) and ("step", one of its steps) as they change, until it has ended.

        The present state comes first. Raises StreamEnded when the daemon goes away, TimeoutError after `within_s`.
        """
        status = ""
        for event, document in self._events(f"{_target(name)}/events", within_s):
            if event == "execution":
                status = document["status"]
            yield event, document
        if status not in ENDED:
            raise self._stopped()

    def command(self, name: str, verb: str, body: Mapping[str, object] | None = None) -> Document:
        """cancel, pause, resume, retry, rerun, skip, signal or answer; gives the execution (rerun: the new one)."""
        return self._post(f"{_target(name)}/{verb}", body or {}, END_TIMEOUT_S)

    def execution_plan(self, workflow: str) -> Document:
        """The plan of a workflow's newest execution (coterie.execution-plan/1)."""
        return self._get(f"/v1/workflows/{segment(workflow)}/execution-plan")

    def validate_dependencies(self, workflow: str, document: Mapping[str, object] | None = None) -> Document:
        """Is that document sound, or without one the workflow of that id (coterie.validation/1)?"""
        body = {} if document is None else {"document": document}
        return self._post(f"/v1/workflows/{segment(workflow)}/validate-dependencies", body)


def _target(name: str) -> str:
    return f"/v1/executions/{segment(name)}"
