"""Plans of workflows, for people and scripts: of an execution, of a workflow's newest one, of a document."""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import Json, StepSpec, WorkflowSpec
from coterie.engine.planning.cycles import cycles
from coterie.engine.planning.plan import ExecutionPlan, make_plan
from coterie.engine.planning.plan_order import batches_of, edges_of
from coterie.engine.planning.spec_problems import InvalidSpec, SpecProblem
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.executions.reading import Reading
from coterie.executions.views import ProblemView, ValidationView
from coterie.views import RunView

ESTIMATED_FROM_MAX: Final = 20
"""Executions of a plan whose durations make its estimate."""
ESTIMATED_ROWS_MAX: Final = 20_000
"""Steps of these that are summed up, in about 20 ms; a plan of more steps has no estimate."""
MS: Final = 1000


class Planning:
    """Plans what `reading` finds."""

    def __init__(self, engine: WorkflowEngine, reading: Reading, journal: SqliteJournal) -> None:
        self._engine = engine
        self._reading = reading
        self._journal = journal

    async def execution_plan(self, id_: str) -> dict[str, Json]:
        """The plan of an execution or of a workflow's newest one (coterie.execution-plan/1). Raises NotFound.

        What each step took on average in earlier executions makes the estimate.
        """
        record = self._reading.find(id_)
        planned = await self._reading.planned(record)
        executions = min(ESTIMATED_FROM_MAX, ESTIMATED_ROWS_MAX // max(1, len(planned.graph.ids)))
        estimates = {
            planned.graph.ids[position]: totals.ran_ms / MS / totals.steps
            for position, totals in self._journal.step_totals(record.plan_hash, executions).items()
            if position < len(planned.graph.ids) and totals.completed
        }
        workers = self._engine.settings.max_concurrent_tasks
        return await plan_document(planned.spec, estimates, workers)

    async def spec(self, id_: str) -> WorkflowSpec:
        """The workflow that an execution was submitted with. Raises NotFound."""
        return (await self._reading.planned(self._reading.find(id_))).spec


async def plan_document(
    spec: WorkflowSpec, estimates: Mapping[str, float] | None = None, workers: int = 1
) -> dict[str, Json]:
    """The plan of a workflow as a document. Raises InvalidSpec."""

    def in_thread() -> dict[str, Json]:
        return make_plan(spec, estimates=estimates or None).to_json(workers)

    return await trio.to_thread.run_sync(in_thread)


async def validate(read: Callable[[], WorkflowSpec]) -> ValidationView:
    """Everything that is wrong with the workflow that `read` makes (in a thread), or in what order it runs."""

    def in_thread() -> ValidationView:
        spec: WorkflowSpec | None = None
        try:
            spec = read()
            return _sound(make_plan(spec, check_step=StepExecutorFactory.check_step))
        except InvalidSpec as invalid:
            return _unsound(invalid.problems, spec)

    return await trio.to_thread.run_sync(in_thread)


def _sound(plan: ExecutionPlan) -> ValidationView:
    return ValidationView(True, (), (), plan.batches, plan.critical_path)


def _unsound(problems: tuple[SpecProblem, ...], spec: WorkflowSpec | None) -> ValidationView:
    told = [ProblemView(each.message, each.step, each.position.line, each.position.column) for each in problems]
    found: list[tuple[str, ...]] = []
    if spec is not None:
        place = {step.id: position for position, step in enumerate(spec.steps)}
        needs = {
            position: [place[need] for need in step.needs if need in place] for position, step in enumerate(spec.steps)
        }
        found = [tuple(spec.steps[position].id for position in cycle) for cycle in cycles(needs)]
    return ValidationView(False, tuple(told), tuple(found), (), ())


def plan_of_run(run: RunView) -> dict[str, Json]:
    """The plan of a run of a GitHub Actions file, a step for each task."""
    tasks: dict[str, list[str]] = {}
    for job in run.jobs:
        tasks.setdefault(job.job, []).append(job.id)
    steps = tuple(
        StepSpec(job.id, "job", needs=tuple(id_ for need in job.needs for id_ in tasks.get(need, ())))
        for job in run.jobs
    )
    spec = WorkflowSpec(id=run.workflow, steps=steps)
    index = {step.id: position for position, step in enumerate(steps)}
    batches = batches_of(edges_of([step.needs for step in steps], index))
    return ExecutionPlan(spec, tuple(batches)).to_json()
