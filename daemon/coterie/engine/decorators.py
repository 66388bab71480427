"""The short form: functions with `@task`, hung together by calling them in a function with `@workflow`.

    @task(max_retries=3)
    def fetch(url: str) -> str: ...

    @workflow
    def etl(url: str):
        return summarise(fetch(url))

    etl("https://example.org")        # executes it, returns what summarise returned

Inside a workflow function a call of a task records a step and returns a `Handle` for its result; nothing runs. So the
whole plan is known before the first step starts, and `etl.plan(...)` shows it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import fields
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, Unpack, cast, overload

from coterie.engine.definition import Item, Result, Task, TaskOptions, Workflow
from coterie.engine.model import Json, StepSpec
from coterie.engine.nested import mapped
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.client_execution import Execution
    from coterie.engine.engine import WorkflowEngine
    from coterie.engine.outcome import WorkflowResult
    from coterie.engine.planning.plan import ExecutionPlan
    from coterie.engine.task_words import TaskWords

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: Final = frozenset(field.name for field in fields(TaskOptions))


class Handle:
    """What a task will have returned. Pass it to other tasks; `then` orders steps without passing anything."""

    def __init__(self, builder: "_Builder", step: str) -> None:
        self._builder = builder
        self.step = step

    def after(self, *others: "Handle") -> "Handle":
        """Has this step wait for others whose results it does not take."""
        self._builder.needs(self.step, [other.step for other in others])
        return self

    def __iter__(self) -> "Iterable[Any]":
        raise TypeError(
            f"what {self.step} returns is not known yet: map a task over it, task.map(...), or take it whole"
        )

    def __bool__(self) -> bool:
        raise TypeError(f"what {self.step} returns is not known yet: branch inside a task, or with a conditional step")

    def __repr__(self) -> str:
        return f"<result of {self.step}>"


class _Builder:
    """The workflow that is being recorded."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self._used: dict[str, int] = {}
        self._needs: dict[str, list[str]] = {}

    def name(self, base: str) -> str:
        """An id that no step has yet: fetch, fetch-2, fetch-3."""
        count = self._used[base] = self._used.get(base, 0) + 1
        return base if count == 1 else f"{base}-{count}"

    def needs(self, step: str, others: list[str]) -> None:
        """More needs of a step that is recorded already."""
        self._needs.setdefault(step, []).extend(others)

    def more_needs(self) -> Mapping[str, list[str]]:
        """Those, by step."""
        return self._needs


_RECORDING: Final[ContextVar[_Builder | None]] = ContextVar("coterie_recording", default=None)


class TaskFunction(Generic[P, R]):
    """A function that can be a step. Outside of a workflow it is called as it is; `fn` is the plain function always."""

    def __init__(self, fn: Callable[P, R], name: str, options: "TaskWords") -> None:
        update_wrapper(cast("Callable[..., Any]", self), fn)
        self.fn = fn
        self.task_name = name
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function; in a workflow function records a step, and returns a Handle in place of the result."""
        builder = _RECORDING.get()
        if builder is None:
            return self.fn(*args, **kwargs)
        step = builder.name(self.task_name)
        needs: dict[str, None] = {}
        given = [_with_results(value, needs) for value in args]
        named = {key: _with_results(value, needs) for key, value in kwargs.items()}
        task = Task(step, self.fn, dependencies=tuple(needs), args=given, kwargs=named, **self._options)
        builder.workflow.add_task(task)
        return cast("R", Handle(builder, step))

    def options(self, **changed: "Unpack[TaskWords]") -> "TaskFunction[P, R]":
        """The same task with other options, for one call: `fetch.options(timeout=5)(url)`."""
        _check(changed)
        return TaskFunction(self.fn, self.task_name, {**self._options, **changed})

    def map(self, items: Any, *, max_parallel: int = 0, **kwargs: Any) -> Any:
        """One call for each of `items` (a list, or the Handle of one), all at once or `max_parallel` at a time.

        Returns the list of results, in the order of the items. `kwargs` go to each call.
        """
        builder = _RECORDING.get()
        if builder is None:
            plain: Callable[..., R] = self.fn
            return [plain(item, **kwargs) for item in items]
        step = builder.name(self.task_name)
        needs: dict[str, None] = {}
        given = _with_templates(items if isinstance(items, Handle) else list(items), needs)
        named = {key: _with_results(value, needs) for key, value in kwargs.items()}
        call = Task("child", self.fn, args=[Item()], kwargs=named, **self._options)
        inner = builder.workflow.step_of(call)
        config: dict[str, Json] = {"items": given, "step": inner, "max_parallel": max_parallel}
        builder.workflow.add_step(StepSpec(id=step, type="map", needs=tuple(needs), config=config))
        return Handle(builder, step)


class WorkflowFunction(Generic[P, R]):
    """A workflow as a function: calling it executes it here and returns what it returned."""

    def __init__(self, fn: Callable[P, R], id_: str, name: str, words: Mapping[str, Any]) -> None:
        update_wrapper(cast("Callable[..., Any]", self), fn)
        self.fn = fn
        self.id = id_
        self._name = name
        self._words = words

    def build(self, *args: P.args, **kwargs: P.kwargs) -> Workflow:
        """The workflow that these arguments make; nothing runs."""
        return self._built(args, kwargs)[0]

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> "ExecutionPlan":
        """What an execution would do. Raises InvalidWorkflow."""
        from coterie.engine.engine import WorkflowEngine

        engine = WorkflowEngine()
        try:
            return engine.plan(engine.add_workflow(self.build(*args, **kwargs)).id)
        finally:
            engine.close()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Executes it in this process, and returns what the function returned, with results for handles.

        Raises WorkflowFailed. Not for use inside of an event loop: `await etl.execute(...)` there.
        """
        import anyio

        async def execute() -> R:
            return await self.execute(*args, **kwargs)

        return anyio.run(execute)

    async def execute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same inside of an event loop. Raises WorkflowFailed."""
        from coterie.engine.engine import WorkflowEngine

        engine = WorkflowEngine()
        try:
            return await self.execute_on(engine, *args, **kwargs)
        finally:
            engine.close()

    async def execute_on(self, engine: "WorkflowEngine", *args: P.args, **kwargs: P.kwargs) -> R:
        """Executes it on an engine that you made: with a store, limits, observers. Raises WorkflowFailed."""
        built, returned = self._built(args, kwargs)
        engine.add_workflow(built)
        result = await engine.execute_workflow(built.id)
        result.raise_for_status()
        return cast("R", _resolved(returned, result))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> "Execution":
        """Hands it to the daemon of this machine; see `coterie.Client` for more ways. Raises DaemonNotRunning."""
        from coterie.client import Client

        return Client().submit(self.build(*args, **kwargs))

    def _built(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Workflow, Any]:
        builder = _Builder(Workflow(self.id, self._name, **self._words))
        token = _RECORDING.set(builder)
        try:
            plain: Callable[..., R] = self.fn
            returned = plain(*args, **kwargs)
        finally:
            _RECORDING.reset(token)
        builder.workflow.add_needs(builder.more_needs())
        return builder.workflow, returned


@overload
def task(fn: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(*, name: str = "", **options: "Unpack[TaskWords]") -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...
def task(fn: Callable[P, R] | None = None, /, *, name: str = "", **options: "Unpack[TaskWords]") -> Any:
    """Makes a function a task. The options are those of `TaskOptions`: retries, timeouts, resources, priority."""
    _check(options)

    def decorate(function: Callable[P, R]) -> TaskFunction[P, R]:
        return TaskFunction(function, name or function.__name__.replace("_", "-"), options)

    return decorate if fn is None else decorate(fn)


@overload
def workflow(fn: Callable[P, R], /) -> WorkflowFunction[P, R]: ...
@overload
def workflow(
    *, id: str = "", name: str = "", max_parallel: int = 0, fail_fast: bool = False, timeout: float | None = None
) -> Callable[[Callable[P, R]], WorkflowFunction[P, R]]: ...
def workflow(fn: Callable[P, R] | None = None, /, *, id: str = "", name: str = "", **words: Any) -> Any:
    """Makes a function a workflow: what it calls with `@task` becomes its steps. `words` as for `Workflow`."""

    def decorate(function: Callable[P, R]) -> WorkflowFunction[P, R]:
        id_ = id or function.__name__.replace("_", "-")
        return WorkflowFunction(function, id_, name or id_, words)

    return decorate if fn is None else decorate(fn)


def step(
    type: str, id: str = "", *, after: Iterable[Any] = (), config: Mapping[str, Any] | None = None, **options: Any
) -> Any:
    """Records a step of another type in a workflow function: `step("shell", config={"run": "make"}, after=[built])`.

    Handles in `config` stand for results. Returns its Handle.
    """
    builder = _RECORDING.get()
    if builder is None:
        raise UserError("step() is for workflow functions", "call it in a function with @workflow")
    needs: dict[str, None] = {}
    for other in after:
        _with_results(other, needs)
    filled = {key: _with_templates(value, needs) for key, value in (config or {}).items()}
    id_ = builder.name(id or type.replace("_", "-"))
    builder.workflow.add_task(Task(id_, type=type, dependencies=tuple(needs), config=filled, **options))
    return Handle(builder, id_)


def _with_results(value: Any, needs: dict[str, None]) -> Any:
    """`value` with `Result` for each handle in it; the steps of these are added to `needs`."""

    def change(leaf: Any) -> Any:
        if not isinstance(leaf, Handle):
            return leaf
        needs[leaf.step] = None
        return Result(leaf.step)

    return mapped(value, change)


def _with_templates(value: Any, needs: dict[str, None]) -> Any:
    """The same for steps whose settings are templates."""

    def change(leaf: Any) -> Any:
        if not isinstance(leaf, Handle):
            return leaf
        needs[leaf.step] = None
        return "${{ steps['" + leaf.step + "'].result }}"

    return mapped(value, change)


def _resolved(value: Any, result: "WorkflowResult") -> Any:
    """`value` with what its handles stand for."""
    return mapped(value, lambda leaf: result.results.get(leaf.step) if isinstance(leaf, Handle) else leaf)


def _check(options: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise UserError(f"a task has no option {unknown[0]!r}", f"options: {', '.join(sorted(_OPTIONS))}")
