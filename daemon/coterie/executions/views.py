"""What the control socket shows of executions: stable, documented shapes, field by field the JSON of the API.

Times are RFC 3339 in UTC with milliseconds, and None for what has not happened; lengths are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from coterie.engine.model import Json, RunState, StepState
from coterie.wall_clock import rfc3339

SECONDS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that an `input` step waits with; `form` is the JSON Schema of its answer."""

    step: str
    form: Mapping[str, Json]
    deadline_at: str | None


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """One execution. `counts` counts its steps by state; `running` and `asks` hold the first few.

    `code_changed` names functions that were other ones when it was resumed than when it began.
    """

    id: str
    workflow: str
    name: str
    status: RunState
    counts: Mapping[str, int]
    running: tuple[str, ...]
    created_at: str
    started_at: str | None
    ended_at: str | None
    reason: str
    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]
    plan_hash: str
    origin: str | None
    key: str | None
    submitter: str
    priority: float
    asks: tuple[Ask, ...]
    code_changed: tuple[str, ...]
    schema: Literal["coterie.execution/1"] = "coterie.execution/1"


@dataclass(frozen=True, slots=True)
class ExecutionsView:
    """Executions, the newest first."""

    executions: tuple[ExecutionView, ...]
    schema: Literal["coterie.executions/1"] = "coterie.executions/1"


@dataclass(frozen=True, slots=True)
class StepView:
    """One step by its position in the plan; children of map steps come after the plan's own.

    `due_at` is when it is tried again. `needs` are ids.
    """

    id: str
    position: int
    name: str
    type: str
    state: StepState
    attempt: int
    ready_at: str | None
    started_at: str | None
    ended_at: str | None
    due_at: str | None
    reason: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepsView:
    """A page of steps; `next` is the position where the next one starts, None after the last."""

    steps: tuple[StepView, ...]
    next: int | None
    schema: Literal["coterie.execution-steps/1"] = "coterie.execution-steps/1"


@dataclass(frozen=True, slots=True)
class ResultView:
    """What a step returned."""

    execution: str
    step: str
    result: Json
    schema: Literal["coterie.step-result/1"] = "coterie.step-result/1"


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """Why a step stands where it does; `history` has its failures and what people did, oldest first."""

    step: str
    state: StepState
    attempt: int
    why: str
    history: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """Why steps of an execution wait, were skipped, were tried again, or ended as they did."""

    execution: str
    status: RunState
    reason: str
    steps: tuple[ExplainedStep, ...]
    schema: Literal["coterie.execution-explanation/1"] = "coterie.execution-explanation/1"


@dataclass(frozen=True, slots=True)
class BarView:
    """One attempt of one step; `state` is "lost" where it died with a daemon."""

    step: str
    attempt: int
    ready_at: str | None
    started_at: str | None
    ended_at: str | None
    state: str


@dataclass(frozen=True, slots=True)
class TimelineView:
    """Every attempt, by step and then in order. `next` is the position of the first step that is left out, or None."""

    execution: str
    status: RunState
    now_at: str
    bars: tuple[BarView, ...]
    next: int | None
    schema: Literal["coterie.execution-timeline/1"] = "coterie.execution-timeline/1"


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Of one step of the plan: of its last attempt, or, for a map step, of those of its children (`items` of them).

    `retries` counts starts after the first.
    """

    step: str
    items: int
    duration_p50_s: float | None
    duration_max_s: float | None
    queue_wait_p50_s: float | None
    queue_wait_max_s: float | None
    retries: int


@dataclass(frozen=True, slots=True)
class CriticalStep:
    """A step of the path that determined the end, with what it waited for room and how long it ran."""

    step: str
    queue_wait_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class MetricsView:
    """What an execution took; retries and lost attempts are counted over all steps.

    `work_s` is what its attempts take one after the other, without those that only waited for people, times and
    signals; `parallel_efficiency` is that divided by `wall_s`, None before there is any. `critical_path` is the chain
    of steps that determined the end, as measured. `by_step` is a page, and `next` where the next one starts.
    """

    execution: str
    status: RunState
    steps: int
    retries: int
    lost: int
    work_s: float
    wall_s: float
    queue_wait_s: float
    queue_wait_max_s: float
    parallel_efficiency: float | None
    critical_path: tuple[CriticalStep, ...]
    critical_path_s: float
    by_step: tuple[StepMetrics, ...]
    next: int | None
    schema: Literal["coterie.execution-metrics/1"] = "coterie.execution-metrics/1"


@dataclass(frozen=True, slots=True)
class ProblemView:
    """What is wrong with a workflow: in one sentence, of which step (or ""), at which line and column (or 0)."""

    message: str
    step: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class ValidationView:
    """Can a workflow be executed? `cycles` are paths of ids that end where they begin."""

    valid: bool
    problems: tuple[ProblemView, ...]
    cycles: tuple[tuple[str, ...], ...]
    batches: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]
    schema: Literal["coterie.validation/1"] = "coterie.validation/1"


def time_of(ms: int | None) -> str | None:
    """Unix milliseconds as RFC 3339. Times of one execution share most of their seconds, which are remembered."""
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=SECONDS_MAX)
def _second(seconds: int) -> str:
    return rfc3339(seconds * 1000).removesuffix(".000Z").removesuffix(".999Z")
