"""Where steps run: the executors and what they share, for as long as an engine (or one call of it) is open."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.abc import TaskGroup

from coterie.engine import templates
from coterie.engine.context import CONTEXT, ExecutionContext
from coterie.engine.failures import Failure, StepFailed
from coterie.engine.model import Json, StepSpec
from coterie.engine.performing import conversations
from coterie.engine.performing.core import Core
from coterie.engine.performing.verdict import Expanded, Failed, Returned, Verdict
from coterie.engine.steps.executor import Chosen, Expand, StepCall, StepExecutor
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.steps.resources import Resources
from coterie_protocols.workflow.expressions import ExpressionError, to_boolean

if TYPE_CHECKING:
    from coterie.engine.performing.execution import LiveExecution
    from coterie.engine.performing.flight import Flight
    from coterie.engine.performing.submission import Submissions

MS: Final = 1000
CONFIGS_MAX: Final = 1024
_TEXT: Final = frozenset({str})


def _nobody(_: str) -> None:
    """Compensations and conditions have no heartbeat."""


class Host:
    """Implements `Services` for executors."""

    def __init__(self, core: Core, tasks: TaskGroup, submissions: "Submissions") -> None:
        self.core = core
        self.tasks = tasks
        self.submissions = submissions
        self._resources = Resources(tasks, core.settings)
        self._executors: dict[str, StepExecutor[Any]] = {}
        self._configs: dict[tuple[Any, ...], Any] = {}

    # --- what executions ask for ---

    def executor(self, type_: str) -> StepExecutor[Any]:
        """The one executor of that type. Raises UnknownStepType."""
        executor = self._executors.get(type_)
        if executor is None:
            executor = self._executors[type_] = StepExecutorFactory.executor_class(type_)(self)
        return executor

    async def attempt(self, live: "LiveExecution", flight: "Flight") -> Verdict:
        """Runs one attempt; what it raises is classified, and tried again where the step's retries say so."""
        limit = _Limit(live, flight)
        told = limit.told if limit.any else flight.told
        context = self._context(live, flight.position, flight.step, flight.attempt, flight.retries, told)
        CONTEXT.set(context)
        try:
            value = await self._execute(live, flight, context, limit)
        except Exception as error:  # noqa: BLE001 - a step may raise anything; the classifier says what it means
            return self._failed(live, flight, error)
        finally:
            self.core.output.ended(live.record, flight.step.id, flight.attempt)
        if isinstance(value, Chosen):
            return Returned(value.value if value.value is not None else value.arm, value.arm)
        return Expanded(value.items) if isinstance(value, Expand) else Returned(value)

    async def compensate(self, live: "LiveExecution", position: int) -> Failure | None:
        """Undoes a completed step, with the retries of its compensation; returns how that failed."""
        step = live.steps.spec(position)
        undo = step.compensate
        assert undo is not None
        failures = 0
        while True:
            context = self._context(live, position, undo, failures + 1, failures)
            CONTEXT.set(context)
            results = {**self._results(live, position), step.id: live.results.get(position)}
            try:
                with anyio.fail_after(undo.timeout_s):
                    await self._call(live, undo, context, results, failures + 1)
                return None
            except Exception as error:  # noqa: BLE001 - as above
                failure = self.core.classify(error)
            failures += 1
            delay_s = undo.retry.decide(failure, failures, 0.0, undo.total_timeout_s, self.core.chance)
            if delay_s is None:
                return failure
            await anyio.sleep(delay_s)

    def condition(self, live: "LiveExecution", position: int, source: str) -> bool:
        """Evaluates a step's `if`. Raises StepFailed."""
        step = live.steps.spec(position)
        context = self._context(live, position, step, 0, 0)
        try:
            return to_boolean(
                templates.evaluate_condition(source, templates.contexts(context, self._results(live, position)))
            )
        except ExpressionError as error:
            raise StepFailed(str(error), "configuration") from None

    def outputs(self, live: "LiveExecution") -> dict[str, Json]:
        """The outputs of an execution that has ended: of its `output` steps, and those that the workflow names."""
        outputs: dict[str, Json] = {}
        for position, step in enumerate(live.spec.steps):
            if step.type == "output" and live.machine.state(position) == "completed":
                outputs |= live.results.get(position) or {}
        if live.spec.outputs:
            step = StepSpec(id="outputs", type="output", needs=tuple(live.graph.ids))
            context = self._context(live, None, step, 0, 0)
            known = templates.contexts(context, {})
            for name, source in live.spec.outputs.items():
                try:
                    outputs[name] = templates.evaluate(source, known)
                except ExpressionError:
                    outputs[name] = None  # of a run that failed before there was anything to tell
        return outputs

    # --- Services ---

    def function(self, name: str) -> Callable[..., Any] | None:
        """The function registered under that name."""
        return self.core.functions.get(name)

    async def run_function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls it: async in this loop, sync in a bounded thread pool, with the execution context set.

        A thread cannot be stopped: where its step is cancelled it runs on, and what it returns is dropped.
        """
        if iscoroutinefunction(function):
            return await function(*args, **kwargs)
        call = partial(function, *args, **kwargs)
        value = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads())
        return await value if isawaitable(value) else value

    @property
    def resources(self) -> Resources:
        """What executors share."""
        return self._resources

    async def ask(self, call: StepCall[Any], form: Mapping[str, Json], deadline_s: float | None) -> Json:
        """Keeps the question and waits for its answer. Raises TimeoutError."""
        return await conversations.ask(self._live(call), call.step.id, form, deadline_s)

    async def wait_signal(self, call: StepCall[Any], name: str) -> Json:
        """The data of the next signal of that name that no step has had yet."""
        return await conversations.wait_signal(self._live(call), call.step.id, name)

    async def wait_until(self, call: StepCall[Any], seconds: float) -> None:
        """Returns that long after the step first waited."""
        await conversations.wait_until(self._live(call), call.step.id, seconds)

    async def wait_execution(self, id_: str) -> Mapping[str, Json]:
        """Waits for the end of another execution."""
        return await self.submissions.wait(id_)

    async def run_workflow(self, call: StepCall[Any], workflow: Json, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Runs a workflow as an execution of its own."""
        return await self.submissions.run_below(self._live(call), call.idempotency_key, workflow, inputs, self)

    # --- one attempt ---

    async def _execute(
        self, live: "LiveExecution", flight: "Flight", context: ExecutionContext, limit: "_Limit"
    ) -> Any:
        results = self._results(live, flight.position)
        if not limit.any:
            return await self._call(live, flight.step, context, results, flight.attempt)
        with anyio.CancelScope(deadline=limit.deadline) as scope:
            limit.scope = scope
            return await self._call(live, flight.step, context, results, flight.attempt)
        raise StepFailed(limit.sentence(), "timeout")

    async def _call(
        self,
        live: "LiveExecution",
        step: StepSpec,
        context: ExecutionContext,
        results: Mapping[str, Json],
        attempt: int,
    ) -> Any:
        executor = self.executor(step.type)
        call = StepCall(
            step=step,
            config=self._config(step, context, results),
            results=results,
            context=context,
            attempt=attempt,
            idempotency_key=context.idempotency_key,
            log=partial(self.core.output.line, live.record, step.id, attempt),
            progress=context.progress,
        )
        return await executor.execute(call)

    def _config(self, step: StepSpec, context: ExecutionContext, results: Mapping[str, Json]) -> Any:
        """The step's checked configuration. Many steps have the same, without templates: it is made once for them."""
        key = (step.type, *step.config.items()) if {*map(type, step.config.values())} <= _TEXT else None
        known = None if key is None else self._configs.get(key)
        if known is None:
            known = StepExecutorFactory.prepare(step, lambda: templates.contexts(context, results))
            if key is not None and templates.is_fixed(step.config) and len(self._configs) < CONFIGS_MAX:
                self._configs[key] = known
        return known

    def _failed(self, live: "LiveExecution", flight: "Flight", error: Exception) -> Verdict:
        failure = self.core.classify(error)
        now_ms = self.core.now_ms()
        elapsed_s = (now_ms - live.first_started_ms(flight.position)) / MS
        step = flight.step
        delay_s = step.retry.decide(failure, flight.retries + 1, elapsed_s, step.total_timeout_s, self.core.chance)
        if delay_s is not None:
            return Failed(failure, now_ms + int(delay_s * MS))
        retries = step.retry.max_attempts > 1
        return Failed(failure, None, step.retry.why_no_retry(failure, flight.retries + 1) if retries else "")

    def _results(self, live: "LiveExecution", position: int) -> dict[str, Json]:
        """What the needs of a step returned, those that completed."""
        root = live.steps.root(position)
        ids, state, get = live.graph.ids, live.machine.state, live.results.get
        return {ids[need]: get(need) for need in live.graph.needs[root] if state(need) == "completed"}

    def _context(
        self,
        live: "LiveExecution",
        position: int | None,
        step: StepSpec,
        attempt: int,
        retries: int,
        progress: Callable[[str], None] = _nobody,
    ) -> ExecutionContext:
        item, index = (None, None) if position is None else live.steps.item(position)
        record = live.record
        return ExecutionContext(
            workflow_id=record.workflow,
            execution_id=record.id,
            submitter=record.submitter,
            step_id=step.id,
            attempt=attempt,
            retry_count=retries,
            idempotency_key=f"{record.id}/{step.id}",
            inputs=record.inputs,
            variables=live.spec.variables,
            run=live.reader,
            item=item,
            index=index,
            source_dir=self.submissions.source_dir(record),
            work_dir=self.submissions.work_dir(record),
            progress=progress,
        )

    def _live(self, call: StepCall[Any]) -> "LiveExecution":
        return self.core.live[call.context.execution_id]

    def _threads(self) -> anyio.CapacityLimiter:
        if self.core.threads is None:
            self.core.threads = anyio.CapacityLimiter(self.core.settings.threads_max)
        return self.core.threads


class _Limit:
    """The time limits of one attempt: of the try, of all tries together, and of silence."""

    def __init__(self, live: "LiveExecution", flight: "Flight") -> None:
        step = flight.step
        self._flight = flight
        self._thread = threading.get_ident()
        self._silence_s = step.heartbeat_timeout_s
        self.any = not (step.timeout_s is None and step.total_timeout_s is None and self._silence_s is None)
        self.scope: anyio.CancelScope | None = None
        if not self.any:
            return
        now_s = anyio.current_time()
        self._try_s = _after(now_s, step.timeout_s)
        spent_s = (flight.started_ms - live.first_started_ms(flight.position)) / MS
        self._total_s = _after(now_s - spent_s, step.total_timeout_s)
        self._heard_s = now_s

    @property
    def deadline(self) -> float:
        """When the attempt is over, on the clock of the loop."""
        return min(self._try_s, self._total_s, _after(self._heard_s, self._silence_s))

    def told(self, progress: str) -> None:
        """A sign of life, also from the thread of a sync function."""
        if threading.get_ident() != self._thread:
            anyio.from_thread.run_sync(self.told, progress)
            return
        self._flight.told(progress)
        self._heard_s = anyio.current_time()
        if self.scope is not None:
            self.scope.deadline = self.deadline

    def sentence(self) -> str:
        """Which of them it was."""
        step, deadline = self._flight.step, self.deadline
        if deadline == self._try_s:
            return f"took more than its {step.timeout_s:g} s"
        if deadline == self._total_s:
            return f"all tries together took more than {step.total_timeout_s:g} s"
        return f"gave no sign of life for {self._silence_s:g} s"


def _after(start_s: float, length_s: float | None) -> float:
    return float("inf") if length_s is None else start_s + length_s
