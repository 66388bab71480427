"""Workflows in Python: `Task` and `Workflow`, the long form. The short one is in decorators.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from coterie.engine.model import PRIORITY_NORMAL, InputSpec, Json, Merge, StepSpec, WorkflowSpec
from coterie.engine.retry import NO_RETRY, RetryConfig
from coterie_protocols.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What a task may ask for beside its work. Times are seconds; None is without limit.

    `max_retries` counts tries after the first; `retry` says more about them. `timeout` bounds one try, `total_timeout`
    all of them, `queue_timeout` the wait for room, `heartbeat_timeout` the silence of a long step (see
    `StepCall.progress` and `heartbeat()`). `resources` and `key` limit what runs beside it (StepSpec).
    """

    timeout: float | None = None
    total_timeout: float | None = None
    queue_timeout: float | None = None
    heartbeat_timeout: float | None = None
    max_retries: int | None = None
    retry: RetryConfig | None = None
    priority: float = PRIORITY_NORMAL
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    key: str = ""
    merge: Merge = "none-failed"
    continue_on_error: bool = False
    compensate: "str | Callable[..., Any] | None" = None

    def retry_config(self) -> RetryConfig:
        """The two ways of asking for retries as one. Raises UserError for both at once."""
        if self.retry is not None and self.max_retries is not None:
            raise UserError(
                "max_retries and retry are both given", "say it in retry alone: RetryConfig(max_attempts=4)"
            )
        if self.max_retries is not None:
            return RetryConfig(max_attempts=self.max_retries + 1)
        return self.retry or NO_RETRY


@dataclass(frozen=True, slots=True)
class Task(TaskOptions):
    """One step of a workflow: a function (its registered name, or itself), or a step of another `type` with `config`.

    What `dependencies` returned is passed as arguments: to the parameter of the dependency's name, else in order.
    `args` and `kwargs`, where given, are passed instead; `Result("fetch")` stands in them for what that step returned.
    `name` is for people.
    """

    id: str
    function: str | Callable[..., Any] | None = None
    dependencies: Sequence[str] = field(default=(), kw_only=True)
    args: Sequence[Any] | None = field(default=None, kw_only=True)
    kwargs: Mapping[str, Any] | None = field(default=None, kw_only=True)
    type: str = field(default="process", kw_only=True)
    config: Mapping[str, Json] = field(default_factory=dict[str, Json], kw_only=True)
    name: str = field(default="", kw_only=True)
    condition: str = field(default="", kw_only=True)

    def to_spec(self, name_of: Callable[[Callable[..., Any]], str]) -> StepSpec:
        """The step as the engine knows it; `name_of` registers a function and names it."""
        return StepSpec(
            id=self.id,
            type=self.type,
            needs=tuple(self.dependencies),
            name=self.name,
            config={**self.config, **self._call(name_of)},
            merge=self.merge,
            if_=self.condition,
            retry=self.retry_config(),
            timeout_s=self.timeout,
            total_timeout_s=self.total_timeout,
            queue_timeout_s=self.queue_timeout,
            heartbeat_timeout_s=self.heartbeat_timeout,
            priority=self.priority,
            resources=dict(self.resources),
            key=self.key,
            tolerated=self.continue_on_error,
            compensate=self._compensation(name_of),
        )

    def _call(self, name_of: Callable[[Callable[..., Any]], str]) -> dict[str, Json]:
        if self.function is None:
            return {}
        name = self.function if isinstance(self.function, str) else name_of(self.function)
        call: dict[str, Json] = {"function": name}
        if self.args is not None:
            call["args"] = [as_argument(value) for value in self.args]
        if self.kwargs is not None:
            call["kwargs"] = {key: as_argument(value) for key, value in self.kwargs.items()}
        return call

    def _compensation(self, name_of: Callable[[Callable[..., Any]], str]) -> StepSpec | None:
        if self.compensate is None:
            return None
        name = self.compensate if isinstance(self.compensate, str) else name_of(self.compensate)
        return StepSpec(id=f"{self.id}-undo", type="process", needs=(self.id,), config={"function": name})


class Item:
    """Stands in the arguments of a mapped task for the item."""


@dataclass(frozen=True, slots=True)
class Result:
    """Stands in the arguments of a task for what another one returned."""

    step: str


def as_argument(value: Any) -> Json:
    """An argument as the document holds it, at any depth: see `coterie.engine.functions.binding` for the other way."""
    if isinstance(value, Result):
        return {"$result": value.step}
    if isinstance(value, Item):
        return {"$item": True}
    if isinstance(value, list | tuple):
        return [as_argument(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        plain = {str(key): as_argument(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        return {"$value": plain} if any(key.startswith("$") for key in plain) else plain
    return value


class Workflow:
    """A workflow that is being built. `max_parallel` 0 leaves it to the engine's limit."""

    def __init__(
        self,
        id: str,
        name: str = "",
        *,
        inputs: Sequence[InputSpec] = (),
        variables: Mapping[str, Json] | None = None,
        outputs: Mapping[str, str] | None = None,
        max_parallel: int = 0,
        fail_fast: bool = False,
        timeout: float | None = None,
        priority: float = PRIORITY_NORMAL,
    ) -> None:
        self.id = id
        self.name = name or id
        self.functions: dict[str, Callable[..., Any]] = {}
        self._tasks: list[Task] = []
        self._specs: list[StepSpec] = []
        self._head = WorkflowSpec(
            id=id,
            name=name,
            inputs=tuple(inputs),
            variables=dict(variables or {}),
            outputs=dict(outputs or {}),
            max_parallel=max_parallel,
            fail_fast=fail_fast,
            timeout_s=timeout,
            priority=priority,
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks so far, in the order in which they were added."""
        return tuple(self._tasks)

    def add_task(self, task: Task) -> Task:
        """Adds a task and returns it. What it depends on may be added later; problems are told when it is planned."""
        self._tasks.append(task)
        self._specs.append(task.to_spec(self._name_of))
        return task

    def add_step(self, step: StepSpec) -> StepSpec:
        """Adds a step in the engine's own form."""
        self._specs.append(step)
        return step

    def step_of(self, task: Task) -> dict[str, Json]:
        """A task as a document, for steps that hold another one (map); its function becomes one of the workflow's."""
        from coterie.engine.planning.spec_document import spec_to_json

        document = spec_to_json(WorkflowSpec("map", steps=(task.to_spec(self._name_of),)))["steps"][0]
        return {key: value for key, value in document.items() if key != "id"}

    def add_needs(self, more: Mapping[str, Sequence[str]]) -> None:
        """Has steps wait for others too, by id."""
        self._specs = [
            replace(step, needs=tuple(dict.fromkeys((*step.needs, *more[step.id])))) if step.id in more else step
            for step in self._specs
        ]

    def spec(self) -> WorkflowSpec:
        """The workflow as the engine knows it."""
        return replace(self._head, steps=tuple(self._specs))

    def _name_of(self, function: Callable[..., Any]) -> str:
        """Its import path; a second function of that path (lambdas, functions made in a loop) gets a number."""
        path = f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
        name, count = path, 1
        while self.functions.setdefault(name, function) != function:
            count += 1
            name = f"{path}#{count}"
        return name
