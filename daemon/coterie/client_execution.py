"""One execution in the daemon, as a handle to look at it and to give it commands."""

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from coterie.client_log import lines_of
from coterie.control.client import Client, Document
from coterie.control.client_executions import ENDED
from coterie.control.connection import Refused

if TYPE_CHECKING:
    from coterie.engine.outcome import WorkflowResult

ERRORS_MAX = 100
NOT_FOUND = 5  # the exit code of all that is not there


class Execution:
    """What was known of it when it was last asked for: `refresh()` and every command ask again.

    `document` is coterie.execution/1 as the daemon sent it.
    """

    def __init__(self, calls: Client, document: Document) -> None:
        self._calls = calls
        self.document = document

    def __repr__(self) -> str:
        return f"<Execution {self.id} of {self.workflow}: {self.status}>"

    @property
    def id(self) -> str:
        """Its id, `ex-...`."""
        return str(self.document["id"])

    @property
    def workflow(self) -> str:
        """The id of its workflow."""
        return str(self.document["workflow"])

    @property
    def status(self) -> str:
        """pending, running, paused, completed, failed or cancelled."""
        return str(self.document["status"])

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.status in ENDED

    @property
    def counts(self) -> Mapping[str, int]:
        """How many of its steps are in which state."""
        counts: Mapping[str, int] = self.document["counts"]
        return counts

    @property
    def reason(self) -> str:
        """Why it failed, was cancelled, or waits."""
        return str(self.document["reason"] or "")

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What the workflow gives, once it has completed."""
        outputs: Mapping[str, Any] = self.document["outputs"]
        return outputs

    @property
    def asks(self) -> list[Document]:
        """What people are asked for: step, form (a JSON Schema), deadline_at. See `answer`."""
        asks: list[Document] = self.document["asks"]
        return asks

    # --- looking ---

    def refresh(self) -> "Execution":
        """Asks the daemon again, and returns itself."""
        return self._now(self._calls.execution(self.id))

    def wait(self, timeout: float | None = None) -> "WorkflowResult":
        """Waits for its end, without polling, and returns the result. `timeout` is in seconds.

        Raises WorkflowFailed where it did not complete, TimeoutError, and StreamEnded when the daemon goes away: the
        execution goes on when that is back.
        """
        if not self.done:
            try:
                for _ in self._events(timeout):
                    pass
            except TimeoutError:
                raise TimeoutError(f"{self.id} is {self.status} after {timeout:g} s") from None
        return _result(self._calls, self.document).raise_for_status()

    def steps(self) -> Iterator[Document]:
        """Every step: id, position, name, type, state, attempt, times, reason, needs."""
        return self._calls.all_steps(self.id)

    def result(self, step: str) -> Any:
        """What a step returned. Raises Refused where it has not completed."""
        return self._calls.result(self.id, step)

    def logs(self, step: str, *, attempt: int | None = None, follow: bool = False) -> Iterator[str]:
        """The lines that a step put out, each behind its time, by default in its newest attempt.

        With `follow` until that attempt ends.
        """
        return lines_of(self._calls.step_log(self.id, step, attempt, follow))

    def events(self) -> Generator[tuple[str, Document]]:
        """("execution", its document) and ("step", a step) as they change, until it has ended."""
        return self._events(None)

    def explain(self, step: str | None = None) -> list[Document]:
        """Why a step, or each that did not simply complete, stands where it does: step, state, why, history."""
        steps: list[Document] = self._calls.explain(self.id, step)["steps"]
        return steps

    def metrics(self) -> Document:
        """Durations, waits, retries, parallel efficiency."""
        return self._calls.execution_metrics(self.id)

    # --- commands; each raises Refused where the execution is in no state for it ---

    def cancel(self, reason: str = "") -> "Execution":
        """Stops what runs and starts nothing more; returns once it has ended."""
        return self._command("cancel", {"reason": reason})

    def pause(self) -> "Execution":
        """Starts nothing more until it is resumed; what runs goes on."""
        return self._command("pause")

    def resume(self) -> "Execution":
        """Goes on with a paused execution."""
        return self._command("resume")

    def retry(self, step: str | None = None) -> "Execution":
        """Tries what failed (or one step) again, in this execution."""
        return self._command("retry", {} if step is None else {"step": step})

    def rerun(self, *, failed: bool = False, step: str | None = None) -> "Execution":
        """A new execution of the same plan: all of it, what had not completed, or `step` and what depends on it."""
        body: Document = {"failed": failed} if step is None else {"failed": failed, "step": step}
        return Execution(self._calls, self._calls.command(self.id, "rerun", body))

    def skip(self, step: str, reason: str = "") -> "Execution":
        """Has a step count as done without a result; one that runs is stopped."""
        return self._command("skip", {"step": step, "reason": reason})

    def signal(self, name: str, data: Any = None) -> "Execution":
        """Sends a signal; a `wait` step takes it, now or later."""
        return self._command("signal", {"name": name, "data": data})

    def answer(self, step: str, value: Mapping[str, Any]) -> "Execution":
        """Answers an `input` step, by the names of its fields."""
        return self._command("answer", {"step": step, "value": dict(value)})

    def _command(self, verb: str, body: Document | None = None) -> "Execution":
        return self._now(self._calls.command(self.id, verb, body))

    def _events(self, within_s: float | None) -> Generator[tuple[str, Document]]:
        for event, document in self._calls.execution_events(self.id, within_s):
            if event == "execution":
                self.document = document
            yield event, document

    def _now(self, document: Document) -> "Execution":
        self.document = document
        return self


class _Results(Mapping[str, Any]):
    """What completed steps returned, by id; asked for when it is looked at."""

    def __init__(self, calls: Client, execution: str) -> None:
        self._calls = calls
        self._execution = execution

    def __getitem__(self, step: str) -> Any:
        try:
            return self._calls.result(self._execution, step)
        except Refused as refused:
            if refused.exit_code == NOT_FOUND:
                raise KeyError(step) from None
            raise

    def __iter__(self) -> Iterator[str]:
        for step in self._calls.all_steps(self._execution):
            if step["id"].endswith("]"):
                return  # the children of map steps come last, and are in their results
            if step["state"] == "completed":
                yield step["id"]

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _result(calls: Client, document: Document) -> "WorkflowResult":
    from datetime import datetime

    from coterie.engine.outcome import WorkflowResult

    began, ended = (document[key] and datetime.fromisoformat(document[key]) for key in ("started_at", "ended_at"))
    return WorkflowResult(
        workflow_id=document["workflow"],
        execution_id=document["id"],
        status=document["status"],
        counts=document["counts"],
        results=_Results(calls, document["id"]),
        outputs=document["outputs"] or {},
        errors=_errors(calls, document),
        execution_time=(ended - began).total_seconds() if began and ended else 0.0,
        reason=document["reason"] or "",
    )


def _errors(calls: Client, document: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    if document["counts"].get("failed"):
        for step in calls.all_steps(document["id"]):
            if step["state"] == "failed" and len(found) < ERRORS_MAX:
                found[step["id"]] = step["reason"]
    return found
