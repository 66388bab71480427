"""What tests of step executors put in the place of an engine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from coterie.engine.context import ExecutionContext
from coterie.engine.model import Json, StepSpec, StepState
from coterie.engine.settings import EngineSettings
from coterie.engine.steps.executor import Chosen, Expand, StepCall
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.steps.resources import Resources
from coterie.engine.templates import contexts

BACKENDS = ("asyncio", "trio")
TIMEOUT_S = 20.0

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], backend: str) -> T:
    """Runs a test's coroutine, never for longer than TIMEOUT_S."""

    async def bounded() -> T:
        with anyio.fail_after(TIMEOUT_S):
            return await main()

    try:
        return anyio.run(bounded, backend=backend)
    except BaseExceptionGroup as group:
        raise _only(group) from None


def _only(error: BaseException) -> BaseException:
    """The error that a test's own task groups have wrapped."""
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return _only(inner[0]) if len(inner) == 1 else error


@dataclass
class RunDouble:
    """An execution in which the steps of `results` completed; `states` says otherwise of some."""

    results: Mapping[str, Json] = field(default_factory=dict[str, Json])
    states: Mapping[str, StepState] = field(default_factory=dict[str, StepState])
    needed: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def needs(self, step: str) -> tuple[str, ...]:
        return self.needed[step]

    def state(self, step: str) -> StepState:
        return self.states[step] if step in self.states else "completed" if step in self.results else _raise(step)

    def result(self, step: str) -> Json:
        return self.results.get(step)

    def parallel_results(self, step: str) -> list[Json]:
        return []

    def errors(self, step: str | None) -> list[Mapping[str, Json]]:
        return []

    def plan(self) -> Mapping[str, Json]:
        return {}


def _raise(step: str) -> StepState:
    raise KeyError(step)


def context_of(run: RunDouble, step: str = "it", **changes: Any) -> ExecutionContext:
    """The context of a step's first attempt."""
    values: dict[str, Any] = {
        "workflow_id": "flow",
        "execution_id": "ex-1",
        "submitter": "ada",
        "step_id": step,
        "attempt": 1,
        "retry_count": 0,
        "idempotency_key": f"ex-1/{step}",
        "inputs": {},
        "variables": {},
        "run": run,
    }
    return ExecutionContext(**{**values, **changes})


class ServicesDouble:
    """Does for one executor what an engine would; what it is asked for is on record."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.answers: list[Json | Exception] = []
        self.forms: list[tuple[Mapping[str, Json], float | None]] = []
        self.signals: dict[str, Json] = {}
        self.waits: list[float] = []
        self.waits_end = True
        self.executions: dict[str, Mapping[str, Json]] = {}
        self.ran: list[tuple[Json, Mapping[str, Json]]] = []
        self.sub_run: Mapping[str, Json] = {"id": "ex-2", "state": "completed", "outputs": {}}

    def function(self, name: str) -> Callable[..., Any] | None:
        return None

    async def run_function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    async def ask(self, call: StepCall[Any], form: Mapping[str, Json], deadline_s: float | None) -> Json:
        self.forms.append((form, deadline_s))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait_signal(self, call: StepCall[Any], name: str) -> Json:
        if name not in self.signals:
            await anyio.sleep_forever()
        return self.signals[name]

    async def wait_until(self, call: StepCall[Any], seconds: float) -> None:
        self.waits.append(seconds)
        if not self.waits_end:
            await anyio.sleep_forever()

    async def wait_execution(self, id_: str) -> Mapping[str, Json]:
        return self.executions[id_]

    async def run_workflow(self, call: StepCall[Any], workflow: Json, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        self.ran.append((workflow, inputs))
        return self.sub_run


@dataclass
class Told:
    """What a step said while it ran."""

    lines: list[str] = field(default_factory=list[str])
    progress: list[str] = field(default_factory=list[str])


@dataclass
class Stage:
    """Executes steps as an engine would: templates, configuration, executor."""

    services: ServicesDouble
    run: RunDouble = field(default_factory=RunDouble)
    told: Told = field(default_factory=Told)

    async def execute(self, type_: str, config: Mapping[str, Json], **context: Any) -> Json | Chosen | Expand:
        """One attempt of the step `it`, which needs all steps of the run."""
        run = RunDouble(self.run.results, self.run.states, {"it": tuple(self.run.results)})
        known = context_of(run, **context)
        step = StepSpec("it", type_, needs=tuple(run.results), config=config)
        call = StepCall(
            step=step,
            config=StepExecutorFactory.prepare(step, lambda: contexts(known, run.results)),
            results=run.results,
            context=known,
            attempt=known.attempt,
            idempotency_key=known.idempotency_key,
            log=self.told.lines.append,
            progress=self.told.progress.append,
        )
        return await self.executor(type_).execute(call)

    def executor(self, type_: str) -> Any:
        """The one executor of that type."""
        known: dict[str, Any] = self.__dict__.setdefault("executors", {})
        if type_ not in known:
            known[type_] = StepExecutorFactory.executor_class(type_)(self.services)
        return known[type_]


def on_stage(
    play: Callable[[Stage], Awaitable[T]],
    backend: str,
    settings: EngineSettings | None = None,
    results: Mapping[str, Json] | None = None,
) -> T:
    """What `play` returns of a stage whose run has those results; its resources are closed afterwards."""

    async def main() -> T:
        played: list[T] = []
        async with anyio.create_task_group() as tasks:
            resources = Resources(tasks, settings or EngineSettings())
            played.append(await play(Stage(ServicesDouble(resources), RunDouble(results or {}))))
            tasks.cancel_scope.cancel()
        return played[0]

    return run(main, backend)
