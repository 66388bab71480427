"""What a running step may know of its execution: `current_context()` in Python, COTERIE_* variables in a shell."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from coterie.engine.model import Json, StepState


class RunReader(Protocol):
    """Answers for one execution, as of now. Raises KeyError for a step that it does not have."""

    def needs(self, step: str) -> tuple[str, ...]:
        """The ids of the steps that it needs."""
        ...

    def state(self, step: str) -> StepState:
        """Where it stands."""
        ...

    def result(self, step: str) -> Json:
        """What it returned; None while it has not completed."""
        ...

    def parallel_results(self, step: str) -> list[Json]:
        """What the children of a map step have returned so far, None for those that have not."""
        ...

    def errors(self, step: str | None) -> list[Mapping[str, Json]]:
        """Every failed attempt so far: step, attempt, class, message, at_ms."""
        ...

    def plan(self) -> Mapping[str, Json]:
        """The plan of the execution (ExecutionPlan.to_json)."""
        ...


def _alone(_: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """Of one attempt of one step. `retry_count` counts the failed attempts before this one.

    `source_dir` is the submitted source tree, `work_dir` a folder of the execution's own; None where there is none.
    `item` and `index` are set in children of a map step.
    """

    workflow_id: str
    execution_id: str
    submitter: str
    step_id: str
    attempt: int
    retry_count: int
    idempotency_key: str
    inputs: Mapping[str, Json]
    variables: Mapping[str, Json]
    run: RunReader
    item: Json = None
    index: int | None = None
    source_dir: Path | None = None
    work_dir: Path | None = None
    progress: Callable[[str], None] = field(default=_alone, compare=False, repr=False)

    def heartbeat(self, text: str = "") -> None:
        """A sign of life of a long step (`heartbeat_timeout`), which may say how far it got. From any thread."""
        self.progress(text)

    def dependencies(self, step: str | None = None) -> tuple[str, ...]:
        """The ids of the steps that `step` (default: this one) needs."""
        return self.run.needs(step or self.step_id)

    def is_ready(self, step: str) -> bool:
        """Have all needs of that step ended?"""
        return all(
            self.run.state(need) in ("completed", "failed", "skipped", "cancelled") for need in self.run.needs(step)
        )

    def step_data(self, step: str) -> Json:
        """What that step returned; None while it has not completed."""
        return self.run.result(step)

    def parallel_results(self, step: str) -> list[Json]:
        """What the children of a map step have returned so far."""
        return self.run.parallel_results(step)

    def error_history(self, step: str | None = None) -> list[Mapping[str, Json]]:
        """Every failed attempt of the execution, or of one step."""
        return self.run.errors(step)

    @property
    def plan(self) -> Mapping[str, Json]:
        """The plan of the execution."""
        return self.run.plan()

    def environment(self) -> dict[str, str]:
        """The variables that a shell step gets."""
        values = {
            "COTERIE_WORKFLOW_ID": self.workflow_id,
            "COTERIE_EXECUTION_ID": self.execution_id,
            "COTERIE_SUBMITTER": self.submitter,
            "COTERIE_STEP_ID": self.step_id,
            "COTERIE_ATTEMPT": str(self.attempt),
            "COTERIE_RETRY_COUNT": str(self.retry_count),
            "STEP_KEY": self.idempotency_key,
        }
        return values if self.index is None else {**values, "COTERIE_ITEM_INDEX": str(self.index)}


def heartbeat(text: str = "") -> None:
    """A sign of life of the step that calls, see `ExecutionContext.heartbeat`; does nothing outside of a step."""
    context = CONTEXT.get(None)
    if context is not None:
        context.heartbeat(text)


CONTEXT: Final[ContextVar[ExecutionContext]] = ContextVar("coterie_execution_context")


def current_context() -> ExecutionContext:
    """The context of the step that calls. Raises LookupError outside of a step."""
    return CONTEXT.get()
