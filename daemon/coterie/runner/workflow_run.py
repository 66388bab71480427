"""Runs a whole run on this peer, as one task: its jobs by their needs, matrices, outputs, and the run's own status.

What the coterie decides for runs whose jobs go to several peers (needs, fail-fast, max-parallel, the worst result of
a matrix) is decided here by the same rules, with the local engine.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from coterie.engine.machine.run_machine import RunMachine
from coterie.engine.machine.step_graph import Group, StepGraph
from coterie.engine.model import Merge
from coterie.engine.run_graph import EndState, StepEnded, run_graph
from coterie.runner.job import JobOutcome
from coterie_protocols.effects import NeedResult, StartTask
from coterie_protocols.ops import JobReport, Status
from coterie_protocols.workflow.model import Plan, PlannedJob

RunJob = Callable[[StartTask, PlannedJob], Awaitable[JobOutcome]]


_STATE: Final[dict[Status, EndState]] = {
    "success": "completed",
    "failure": "failed",
    "skipped": "skipped",
    "cancelled": "cancelled",
}
_STATUS: Final[dict[str, Status]] = {state: status for status, state in _STATE.items()}


def graph_of(plan: Plan) -> StepGraph:
    """The jobs as steps. Each starts when its needs have ended, however: its own `if` decides then."""
    keys = list(dict.fromkeys(job.job for job in plan.jobs))
    first = {job.job: job for job in reversed(plan.jobs)}
    always: list[Merge] = ["ended"] * len(plan.jobs)
    return StepGraph(
        ids=[job.id for job in plan.jobs],
        needs=[job.needs for job in plan.jobs],
        merge=always,
        group_of=[keys.index(job.job) for job in plan.jobs],
        groups=[_group(first[key]) for key in keys],
    )


def _group(job: PlannedJob) -> Group:
    strategy = job.strategy
    return Group(strategy.max_parallel, strategy.fail_fast and strategy.job_total > 1)


class WorkflowRun:
    """One run; `run_job` runs a single job of it."""

    def __init__(self, task: StartTask, plan: Plan, run_job: RunJob, jobs_max: int, wall_ms: Callable[[], int]) -> None:
        self._task = task
        self._plan = plan
        self._run_job = run_job
        self._jobs_max = jobs_max
        self._wall_ms = wall_ms
        self._jobs = {job.id: job for job in plan.jobs}
        self._started_ms: dict[str, int] = {}
        self._ended: dict[str, tuple[JobOutcome, int]] = {}

    async def run(self) -> tuple[JobOutcome, tuple[JobReport, ...]]:
        """Runs all jobs; the outcome is that of the run."""
        machine = await run_graph(graph_of(self._plan), self._execute, self._jobs_max)
        status = _STATUS[machine.run_state]
        return JobOutcome(status, self._reason(status)), self._reports(machine)

    async def _execute(self, id_: str) -> StepEnded:
        job = self._jobs[id_]
        self._started_ms[id_] = self._wall_ms()
        needs = {key: self._need_result(key) for key in job.needs_jobs}
        ancestors = {key: self._need_result(key).result for key in self._ancestors(job)}
        outcome = await self._run_job(replace(self._task, task=id_, needs=needs, ancestors=ancestors), job)
        self._ended[id_] = (outcome, self._wall_ms())
        return StepEnded(_STATE[outcome.status], outcome.reason, outcome.tolerated)

    def _ancestors(self, job: PlannedJob) -> Iterable[str]:
        """The keys of the jobs that `job` depends on, directly or not."""
        needs = {other.job: other.needs_jobs for other in self._plan.jobs}
        found: dict[str, None] = {}
        pending = list(job.needs_jobs)
        while pending:
            key = pending.pop()
            if key not in found:
                found[key] = None
                pending.extend(needs[key])
        return found

    def _need_result(self, key: str) -> NeedResult:
        """What the tasks of a job came to together: the worst result, and the outputs of all, the latest winning."""
        ended = [outcome for id_, (outcome, _) in self._ended.items() if self._jobs[id_].job == key]
        tasks = sum(1 for job in self._plan.jobs if job.job == key)
        results: set[Status] = {"success" if outcome.tolerated else outcome.status for outcome in ended}
        if len(ended) < tasks:
            results.add("cancelled")  # fail-fast kept some from ending by themselves
        outputs: dict[str, str] = {}
        for outcome in ended:
            outputs.update({name: value for name, value in outcome.outputs.items() if value or name not in outputs})
        return NeedResult(_worst(results), outputs)

    def _reports(self, machine: RunMachine) -> tuple[JobReport, ...]:
        now_ms = self._wall_ms()
        return tuple(
            JobReport(
                id=id_,
                status=_STATUS[machine.state(position)],
                started_ms=self._started_ms.get(id_, now_ms),
                ended_ms=self._ended[id_][1] if id_ in self._ended else now_ms,
            )
            for position, id_ in enumerate(self._jobs)
        )

    def _reason(self, status: Status) -> str:
        """The first thing that went wrong."""
        if status == "success":
            return ""
        for id_, (outcome, _) in self._ended.items():
            if outcome.status == status and not outcome.tolerated:
                return f"{id_}: {outcome.reason}"
        return ""


def _worst(results: set[Status]) -> Status:
    if results == {"skipped"}:
        return "skipped"
    return "failure" if "failure" in results else "cancelled" if "cancelled" in results else "success"
