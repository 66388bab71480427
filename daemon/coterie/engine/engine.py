"""The engine: registers functions and workflows, executes them, and takes them up again after a crash."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import anyio

from coterie.engine.admission.admission import Admission
from coterie.engine.definition import Workflow
from coterie.engine.failures import Classifier
from coterie.engine.journal.port import ExecutionRecord, Journal
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import RUN_ENDED, InputSpec, Json, WorkflowSpec
from coterie.engine.outcome import StepResults, WorkflowResult, WorkflowStatus, status_of
from coterie.engine.performing import commands
from coterie.engine.performing.core import Core, NoOutput, Observer, OutputSink
from coterie.engine.performing.host import Host
from coterie.engine.performing.submission import Request, Submissions, checked_plan
from coterie.engine.planning.plan import ExecutionPlan
from coterie.engine.settings import EngineSettings
from coterie_protocols.errors import UserError

Durability = Literal["strict", "relaxed", "none"]


class WorkflowEngine:
    """Executes workflows in this process.

    With a `store` (a file) every step that has ended stays ended, whatever happens to this process: `resume` goes on,
    and `execute_workflow` with the same `key` too. Without one nothing is kept. At most `max_concurrent_tasks` steps
    run at a time, over all executions; sync functions run in `max_threads` threads. `resources` is what steps may take
    together, for instance {"cpu": 4, "memory": 8e9}. More than `queue_max` executions that have not ended are refused
    (QueueFull).

    Used by `async with`, the engine keeps its workers between executions; else it opens them for each. Works under
    asyncio and trio.
    """

    def __init__(
        self,
        max_concurrent_tasks: int = 10,
        store: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "strict",
        resources: Mapping[str, float] | None = None,
        queue_max: int = 1000,
        max_threads: int = 10,
        env: Mapping[str, str] | None = None,
        settings: EngineSettings | None = None,
        journal: Journal | None = None,
        output: OutputSink | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.settings = settings or EngineSettings(
            max_concurrent_tasks=max_concurrent_tasks,
            threads_max=max_threads,
            queue_max=queue_max,
            resources=dict(resources or {}),
            env=dict(os.environ if env is None else env),
        )
        self.core = Core(
            settings=self.settings,
            journal=journal or _journal(store, durability, self.settings),
            durable=journal is not None or store is not None,
            admission=Admission(
                self.settings.max_concurrent_tasks, self.settings.resources, ageing_s=self.settings.ageing_s
            ),
            classifier=Classifier(),
            observers=list(observers),
            output=output or NoOutput(),
        )
        self.submissions = Submissions(self.core)
        self._builders: dict[str, Workflow] = {}
        self._open = AsyncExitStack()
        self._closed = False
        self._host: Host | None = None

    @property
    def classifier(self) -> Classifier:
        """What errors mean; `classifier.add(SomeError, "temporary")` teaches it yours."""
        return self.core.classifier

    # --- what there is to execute ---

    def register_function(self, name: str, function: Callable[..., Any]) -> None:
        """Makes a function known, async or sync, under the name by which tasks call it."""
        self.core.functions[name] = function

    def create_workflow(
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
    ) -> Workflow:
        """A new, empty workflow, registered under `id`; add tasks to it before it is executed."""
        workflow = Workflow(
            id,
            name,
            inputs=inputs,
            variables=variables,
            outputs=outputs,
            max_parallel=max_parallel,
            fail_fast=fail_fast,
            timeout=timeout,
        )
        return self.add_workflow(workflow)

    def add_workflow(self, workflow: Workflow) -> Workflow:
        """Registers a workflow that was built elsewhere, with the functions that it brings."""
        self._builders[workflow.id] = workflow
        return workflow

    def add_spec(self, spec: WorkflowSpec) -> None:
        """Registers a workflow in the engine's own form, as files are read into."""
        self.submissions.workflows[spec.id] = spec

    def plan(self, workflow_id: str) -> ExecutionPlan:
        """What an execution would do. Raises InvalidWorkflow with all problems, NotFound."""
        return checked_plan(self.spec(workflow_id))

    def spec(self, workflow_id: str) -> WorkflowSpec:
        """A registered workflow in the engine's own form. Raises NotFound."""
        builder = self._builders.get(workflow_id)
        if builder is not None:
            for name, function in builder.functions.items():
                self.core.functions.setdefault(name, function)
            self.submissions.workflows[workflow_id] = builder.spec()
        return self.submissions.workflow(workflow_id)

    # --- executing ---

    async def execute_workflow(
        self,
        workflow_id: str,
        inputs: Mapping[str, Json] | None = None,
        *,
        key: str | None = None,
        submitter: str = "",
        priority: float | None = None,
    ) -> WorkflowResult:
        """Executes a registered workflow to its end.

        With a `key` it is executed once: one that was interrupted goes on where it stood, one that has ended is told
        again. Raises InvalidWorkflow, QueueFull, UserError; what goes wrong in steps is in the result.
        """
        request = Request(self.spec(workflow_id), inputs or {}, key=key, submitter=submitter, priority=priority)
        return await self.perform(self.submissions.accept(request))

    async def perform(self, record: ExecutionRecord) -> WorkflowResult:
        """Performs an accepted execution to its end, or waits for one that is under way here."""
        live = self.core.live.get(record.id)
        if live is not None:
            await live.ended.wait()
        elif record.state not in RUN_ENDED:
            async with self.hosting() as host:
                await self.submissions.run(record, host)
        return self.result(record.id)

    async def resume(self) -> list[WorkflowResult]:
        """Performs all executions that had not ended when this store was last used, together."""
        for workflow_id in self._builders:
            self.spec(workflow_id)
        records = [record for record in self.core.journal.unfinished() if record.id not in self.core.live]
        async with self.hosting() as host, anyio.create_task_group() as tasks:
            for record in records:
                tasks.start_soon(self.submissions.run, record, host)
        return [self.result(record.id) for record in records]

    @asynccontextmanager
    async def hosting(self) -> AsyncGenerator[Host]:
        """The open engine's host, or one for this call alone."""
        if self._host is not None:
            yield self._host
            return
        async with anyio.create_task_group() as tasks:
            yield Host(self.core, tasks, self.submissions)
            tasks.cancel_scope.cancel()

    async def __aenter__(self) -> Self:
        """Opens what executions share. Once: an engine whose store was closed is opened no more."""
        if self._closed:
            raise UserError("this engine has been closed", "make a new one")
        self._host = await self._open.enter_async_context(self.hosting())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Ends the workers, and closes the store."""
        try:
            return await self._open.__aexit__(kind, error, trace)
        finally:
            self._host = None
            self.close()

    def close(self) -> None:
        """Closes the store."""
        self._closed = True
        self.core.journal.close()

    # --- looking, and giving commands ---

    def get_workflow_status(self, id_: str) -> WorkflowStatus:
        """Where an execution stands: by its id, or the newest of a workflow. Raises NotFound."""
        record = self.execution(id_)
        live = self.core.live.get(record.id)
        if live is None:
            return status_of(record, record.counts, ())
        running = tuple(flight.step.id for flight in live.flights.values())
        return status_of(record, cast("Mapping[str, int]", live.machine.counts()), running)

    def execution(self, id_: str) -> ExecutionRecord:
        """The execution of that id or prefix, else the newest of that workflow. Raises NotFound."""
        newest = self.core.journal.executions(1, id_)
        return self.core.journal.execution(newest[0].id) if newest else self.core.journal.find(id_)

    def result(self, id_: str) -> WorkflowResult:
        """How an execution ended, or stands."""
        record = self.core.journal.execution(id_)
        planned = self.submissions.plan_of(record)
        end_ms = record.ended_ms or self.core.now_ms()
        return WorkflowResult(
            workflow_id=record.workflow,
            execution_id=record.id,
            status=record.state,
            counts=record.counts,
            results=StepResults(self.core.journal, record.id, planned.graph, self.submissions.objects(record.id)),
            outputs=record.outputs,
            errors=commands.last_errors(self, record),
            execution_time=(end_ms - (record.started_ms or end_ms)) / 1000,
            reason=record.reason,
        )

    async def cancel_workflow(self, id_: str, reason: str = "") -> WorkflowStatus:
        """Stops what runs and starts nothing more; returns once it has ended."""
        return await commands.cancel(self, id_, reason)

    async def pause_workflow(self, id_: str) -> WorkflowStatus:
        """Starts nothing more until it is resumed; what runs goes on."""
        return await commands.pause(self, id_)

    async def resume_workflow(self, id_: str) -> WorkflowStatus:
        """Goes on with a paused execution."""
        return await commands.unpause(self, id_)

    async def skip_step(self, id_: str, step: str, reason: str = "") -> WorkflowStatus:
        """Has a step count as done without a result; one that runs is stopped."""
        return await commands.skip(self, id_, step, reason)

    async def retry_workflow(self, id_: str, step: str | None = None) -> WorkflowResult:
        """Tries failed and cancelled steps (or one) again, in the same execution, and goes on to its end."""
        return await commands.retry(self, id_, step)

    async def rerun_workflow(self, id_: str, *, failed: bool = False, step: str | None = None) -> WorkflowResult:
        """Executes the same plan again; see `commands.rerun` for what is taken over."""
        return await self.perform(commands.rerun(self, id_, failed=failed, step=step))

    async def signal(self, id_: str, name: str, data: Json = None) -> None:
        """Sends a signal to an execution; a `wait` step takes it, now or later."""
        await commands.signal(self, id_, name, data)

    async def answer(self, id_: str, step: str, value: Json) -> None:
        """Answers an `input` step. Raises NotAsked, BadAnswer."""
        await commands.answer(self, id_, step, value)

    def explain(self, id_: str, step: str | None = None) -> list[commands.Explained]:
        """Why steps wait, were skipped, were tried again, or ended as they did."""
        return commands.explain(self, id_, step)


def _journal(store: str | os.PathLike[str] | None, durability: Durability, settings: EngineSettings) -> SqliteJournal:
    path = None if store is None else Path(store)
    return SqliteJournal(
        path,
        durability="none" if path is None else durability,
        result_inline_bytes_max=settings.result_inline_bytes_max,
        blobs=None,
    )
