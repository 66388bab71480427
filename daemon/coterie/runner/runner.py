"""What the daemon calls to run a task on this machine (ports.Runner)."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

import trio

from coterie.disk import DiskFailed, disk_errors
from coterie.ports import Blobs, LogWriter
from coterie.runner.conditions import decide, needs_functions
from coterie.runner.contexts import NEEDS_FILE, Setting, condition_contexts, needs_context
from coterie.runner.job import JobLimits, JobOutcome, JobRun
from coterie.runner.job_log import JobLog
from coterie.runner.process import Grace, job_processes
from coterie.runner.tracking import kill_orphans, tracking_prefix
from coterie.runner.workflow_run import WorkflowRun
from coterie.runner.workspace import make_workspace, remove_tree, remove_workspace, workspace_for
from coterie_protocols.effects import StartTask
from coterie_protocols.errors import BadMessage
from coterie_protocols.ops import Status
from coterie_protocols.stimuli import TaskResult
from coterie_protocols.workflow.document import decode_submission_untrusted
from coterie_protocols.workflow.expressions import ExpressionError
from coterie_protocols.workflow.model import Expr, PlannedJob, Submission

ENV_PASSED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "SHELL")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How tasks run here. `env` is what steps see of this machine's environment, and nothing else of it."""

    name: str = "coterie"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    grace: Grace = field(default_factory=Grace)
    limits: JobLimits = field(default_factory=JobLimits)
    keep_failed: bool = False
    jobs_max: int = 2


class LocalRunner:
    """Runs tasks below `work_dir`; `wall_ms` gives Unix milliseconds."""

    def __init__(self, work_dir: Path, blobs: Blobs, settings: RunnerSettings, wall_ms: Callable[[], int]) -> None:
        self._work_dir = work_dir
        self._blobs = blobs
        self._settings = settings
        self._wall_ms = wall_ms
        self._tracking = tracking_prefix(work_dir)

    async def clean(self) -> int:
        """Kills and removes what an earlier daemon left; returns how many processes that were. Call before `run`."""
        with disk_errors(self._work_dir):
            self._work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        killed = await kill_orphans(self._tracking)
        for leftover in self._work_dir.iterdir():
            await trio.to_thread.run_sync(remove_tree, leftover)
        return killed

    async def run(self, task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        """Runs all steps and returns the result; on cancellation kills the whole process tree before it ends.

        What is wrong with the workflow is a failure with a reason. Raises DiskFailed.
        """
        started_ms = self._wall_ms()
        try:
            submission = decode_submission_untrusted(self._blobs.path(task.plan).read_bytes())
        except BadMessage as error:
            return self._result(started_ms, JobOutcome("failure", f"the plan cannot be read: {error}"))
        match task.placement:
            case "job":
                return await self._run_one(started_ms, task, submission, log, report)
            case "run":
                return await self._run_all(started_ms, task, submission, log, report)
            case _:
                assert_never(task.placement)

    async def _run_one(
        self, started_ms: int, task: StartTask, submission: Submission, log: LogWriter, report: Callable[[str], None]
    ) -> TaskResult:
        job = next((job for job in submission.plan.jobs if job.id == task.task), None)
        if job is None:
            return self._result(started_ms, JobOutcome("failure", f"the plan has no job {task.task!r}"))
        outcome = await self._run_job(task, submission, job, log, report)
        if outcome.tolerated and isinstance(job.continue_on_error, Expr):
            # The coterie knows only what the file fixes; what an expression allows is decided here.
            outcome = replace(
                outcome, status="success", reason=f"failed, but may (continue-on-error): {outcome.reason}"
            )
        return self._result(started_ms, outcome)

    async def _run_all(
        self, started_ms: int, task: StartTask, submission: Submission, log: LogWriter, report: Callable[[str], None]
    ) -> TaskResult:
        async def run_job(task: StartTask, job: PlannedJob) -> JobOutcome:
            report(job.id)
            return await self._run_job(task, submission, job, JobLog(log, job.id), _ignore)

        run = WorkflowRun(task, submission.plan, run_job, self._settings.jobs_max, self._wall_ms)
        try:
            outcome, reports = await run.run()
        except BaseExceptionGroup as group:
            failed, rest = group.split(DiskFailed)
            if failed is None or rest is not None:
                raise
            raise _first(failed) from group
        return replace(self._result(started_ms, outcome), jobs=reports)

    async def _run_job(
        self,
        task: StartTask,
        submission: Submission,
        job: PlannedJob,
        log: LogWriter,
        report: Callable[[str], None],
    ) -> JobOutcome:
        """Decides whether `job` runs, and runs it in a workspace of its own."""
        workspace = workspace_for(self._work_dir, task)
        setting = Setting(
            task=task,
            submission=submission,
            workspace=workspace,
            peer_name=self._settings.name,
            base_env=self._settings.env,
            tracking_id=f"{self._tracking}-{task.claim}",
        )
        skipped = _skipped(setting, job, log)
        if skipped is not None:
            return skipped
        outcome = JobOutcome("cancelled")
        try:
            make_workspace(workspace)
            (workspace.files / "event.json").write_text(json.dumps(submission.payload), encoding="utf-8")
            (workspace.files / NEEDS_FILE).write_text(json.dumps(needs_context(task.needs)), encoding="utf-8")
            outcome = await self._run_steps(setting, job, log, report)
        finally:
            if not (self._settings.keep_failed and outcome.status == "failure"):
                await remove_workspace(workspace)
        return outcome

    async def _run_steps(
        self, setting: Setting, job: PlannedJob, log: LogWriter, report: Callable[[str], None]
    ) -> JobOutcome:
        source = self._blobs.path(setting.task.source) if setting.task.source is not None else None
        log.line(f"Job {job.id} on {self._settings.name} ({platform.system()} {platform.machine()})")
        async with job_processes(setting.tracking_id, self._settings.grace) as processes:
            outcome = await JobRun(setting, job, source, processes, log, report, self._settings.limits).run()
        if processes.orphans_killed:
            log.line(f"Killed {processes.orphans_killed} processes that the steps had left running.")
        return outcome

    def _result(self, started_ms: int, outcome: JobOutcome) -> TaskResult:
        return TaskResult(
            status=outcome.status,
            outputs=outcome.outputs,
            started_ms=started_ms,
            ended_ms=self._wall_ms(),
            reason=outcome.reason,
        )


def _skipped(setting: Setting, job: PlannedJob, log: LogWriter) -> JobOutcome | None:
    """The outcome of a job that is not to run, None for one that is."""
    needs = setting.task.needs
    results: dict[str, Status] = {**setting.task.ancestors, **{key: need.result for key, need in needs.items()}}
    try:
        decision = decide(job.if_, condition_contexts(setting, job.job), needs_functions(results))
    except ExpressionError as error:
        log.line(f"##[error]if: {error}")
        return JobOutcome("failure", f"if: {error}")
    if decision.holds:
        return None
    log.line(f"Skipped: {decision.why}")
    return JobOutcome("skipped", decision.why)


def passed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What steps may see of the daemon's own environment."""
    return {"PATH": SEARCH_PATH, **{name: environ[name] for name in ENV_PASSED if name in environ}}


def _ignore(_: str) -> None:
    """The steps of one of several jobs are not reported: the job is."""


def _first(group: BaseExceptionGroup[DiskFailed]) -> DiskFailed:
    """One of several that say the same: the disk is one."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
