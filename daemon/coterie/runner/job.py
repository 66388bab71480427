"""Runs one job: its steps in order, with GitHub's rules for conditions, environments, failures and time limits.

Source: actions/runner, src/Runner.Worker/{StepsRunner,JobRunner,JobExtension}.cs; docs.github.com, "Workflow syntax".
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast

import trio

from coterie.ports import LogWriter
from coterie.runner.conditions import Progress, decide, status_functions
from coterie.runner.contexts import Setting, default_variables, fixed_variables, job_contexts
from coterie.runner.environment_files import with_path_added
from coterie.runner.hash_files import FileHashes
from coterie.runner.masks import Masker
from coterie.runner.process import JobProcesses
from coterie.runner.step import Script, StepEffects, StepFailed, StepRunner, step_title
from coterie_protocols.errors import UserError
from coterie_protocols.ops import OUTPUT_CHARS_MAX, OUTPUTS_MAX, Status
from coterie_protocols.workflow.expressions import (
    CaseSensitive,
    ExpressionError,
    Function,
    evaluate_template,
    interpolate,
)
from coterie_protocols.workflow.model import Expr, Json, PlannedJob, Step

JOB_MINUTES: Final = 360.0
MINUTES_MAX: Final = 7 * 24 * 60.0
Outcome = Literal["success", "failure", "cancelled", "skipped"]


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Time limits. After its job was cancelled by its time limit, `always()` steps have `cancelled_s` together."""

    job_minutes: float = JOB_MINUTES
    cancelled_s: float = 300.0


@dataclass(slots=True)
class JobOutcome:
    """How a job ended. A failure is `tolerated` where the job's `continue-on-error` says so."""

    status: Status
    reason: str = ""
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    tolerated: bool = False


@dataclass(frozen=True, slots=True)
class _Ready:
    """A step with all its templates evaluated. `minutes` 0 means without a limit of its own."""

    title: str
    text: str | None
    shell: str | None
    folder: str
    inputs: Mapping[str, str]
    minutes: float


class JobRun:
    """One job being run."""

    def __init__(
        self,
        setting: Setting,
        job: PlannedJob,
        source: Path | None,
        processes: JobProcesses,
        log: LogWriter,
        report: Callable[[str], None],
        limits: JobLimits,
    ) -> None:
        self._setting = setting
        self._job = job
        self._source = source
        self._log = log
        self._report = report
        self._limits = limits
        self._masker = Masker()
        self._steps = StepRunner(setting.workspace, processes, self._masker, self._write)
        self._contexts = job_contexts(setting, job)
        self._hashes = FileHashes(setting.workspace.source)
        self._path: list[str] = []
        self._progress: Progress = "success"
        self._reason = ""
        self._deadline: float = math.inf

    async def run(self) -> JobOutcome:
        """Runs the steps, then evaluates the outputs. What is wrong with the workflow becomes a failure."""
        try:
            minutes = self._minutes(self._job.timeout_minutes, self._limits.job_minutes)
            self._set_env(self._setting.submission.plan.env)
            self._set_env(self._job.env)
        except (ExpressionError, StepFailed) as error:
            return self._failed(str(error))
        self._deadline = trio.current_time() + minutes * 60
        for step in self._job.steps:
            if not await self._run_step(step, minutes):
                break
        return self._ended()

    def _ended(self) -> JobOutcome:
        try:
            outputs = self._outputs()
        except ExpressionError as error:
            return self._failed(f"the outputs cannot be evaluated: {error}")
        except UserError as error:
            return self._failed(error.message)
        tolerated = self._progress == "failure" and self._continues(self._job.continue_on_error)
        return JobOutcome(self._progress, self._reason, outputs, tolerated)

    async def _run_step(self, step: Step, minutes: float) -> bool:
        """Runs one step under the job's time limit; False when not even `always()` steps may follow."""
        with trio.move_on_at(self._deadline) as scope:
            await self._decide_and_run(step)
        if not scope.cancelled_caught:
            return True
        if self._progress == "cancelled":
            self._error(f"The steps after the time limit took more than {self._limits.cancelled_s:.0f} s.")
            return False
        self._progress, self._reason = "cancelled", f"the job took more than its {minutes:g} minutes"
        self._error(f"The job has exceeded the maximum execution time of {minutes:g} minutes.")
        self._deadline = trio.current_time() + self._limits.cancelled_s
        return True

    async def _decide_and_run(self, step: Step) -> None:
        self._contexts["job"] = {"status": self._progress}
        cast(dict[str, Json], self._contexts["github"])["action"] = step.id
        effects = StepEffects()
        outcome: Outcome = "cancelled"
        try:
            decision = await self._hashes.evaluated(lambda: decide(step.if_, self._contexts, self._functions()))
            if not decision.holds:
                outcome = "skipped"
                if self._progress == "success":
                    self._write(f"Skipped {_title(step)}: {decision.why}")
                return
            await self._attempt(step, effects)
            outcome = "success"
        except (ExpressionError, StepFailed) as error:
            self._error(str(error))
            outcome = "failure"
            effects.error = str(error)
        finally:
            self._conclude(step, outcome, effects)

    async def _attempt(self, step: Step, effects: StepEffects) -> None:
        before = cast(CaseSensitive, self._contexts["env"])
        try:
            ready = await self._hashes.evaluated(lambda: self._evaluate(step, before))
            self._report(self._masker.mask(ready.title))
            self._write(f"##[group]{ready.title}")
            with trio.move_on_after(ready.minutes * 60 if ready.minutes else math.inf) as scope:
                await self._perform(ready, effects)
            if scope.cancelled_caught:
                raise StepFailed(f"The action '{ready.title}' has timed out after {ready.minutes:g} minutes.")
        except ExpressionError:
            self._write(f"##[group]{_title(step)}")
            self._write("##[endgroup]")
            raise
        finally:
            self._contexts["env"] = before

    def _evaluate(self, step: Step, env: CaseSensitive) -> _Ready:
        self._contexts["env"] = env
        self._set_env(step.env)
        text = self._text(step.run)
        own, general = self._job.defaults, self._setting.submission.plan.defaults
        folder = step.working_directory or own.working_directory or general.working_directory
        return _Ready(
            title=step_title(self._text(step.name), text or step.uses or ""),
            text=text,
            shell=self._text(step.shell or own.shell or general.shell) or None,
            folder=self._text(folder) or "",
            inputs={key.lower(): self._text(value) or "" for key, value in step.with_.items()},
            minutes=self._minutes(step.timeout_minutes, 0),
        )

    async def _perform(self, ready: _Ready, effects: StepEffects) -> None:
        if ready.text is None:
            await self._steps.run_checkout(self._source, ready.inputs.get("path", ""))
            return
        for line in ready.text.strip().splitlines():
            self._write(line)
        folder = self._setting.workspace.source / ready.folder
        script = Script(ready.text, ready.shell, folder, self._variables())
        shown = {name: str(value) for name, value in cast(CaseSensitive, self._contexts["env"]).items()}
        await self._steps.run_script(script, effects, shown)

    def _conclude(self, step: Step, outcome: Outcome, effects: StepEffects) -> None:
        conclusion = outcome
        if outcome == "failure":
            if self._continues(step.continue_on_error):
                conclusion = "success"
            elif self._progress == "success":
                self._progress = "failure"
                self._reason = self._masker.mask(f"step '{_title(step)}': {effects.error}")
        cast(dict[str, Json], self._contexts["steps"])[step.id] = {
            "outputs": cast(Json, effects.outputs),
            "outcome": outcome,
            "conclusion": conclusion,
        }
        cast(CaseSensitive, self._contexts["env"]).update(effects.env)
        self._path = with_path_added(self._path, effects.path)

    def _continues(self, given: bool | Expr) -> bool:
        if isinstance(given, bool):
            return given
        try:
            return self._value(given) is True
        except ExpressionError as error:
            self._error(f"continue-on-error: {error}")
            return False

    def _outputs(self) -> dict[str, str]:
        self._contexts["job"] = {"status": self._progress}
        outputs = {name: self._text(template) or "" for name, template in self._job.outputs.items()}
        for name in [name for name, value in outputs.items() if self._masker.holds(value)]:
            self._write(f"##[warning]Skip output '{name}' since it may contain secret.")
            del outputs[name]
        if len(outputs) > OUTPUTS_MAX:
            raise UserError(f"{len(outputs)} outputs; a job may have {OUTPUTS_MAX}")
        for name, value in outputs.items():
            if len(value) > OUTPUT_CHARS_MAX:
                raise UserError(f"the output {name!r} has {len(value)} characters; the limit is {OUTPUT_CHARS_MAX}")
        return outputs

    def _set_env(self, env: Mapping[str, str]) -> None:
        """Puts a map of templates over the `env` context; they cannot refer to each other."""
        values = {name: self._text(template) or "" for name, template in env.items()}
        self._contexts["env"] = CaseSensitive({**cast(CaseSensitive, self._contexts["env"]), **values})

    def _variables(self) -> dict[str, str]:
        """The complete environment of a step's process."""
        env = {name: str(value) for name, value in cast(CaseSensitive, self._contexts["env"]).items()}
        variables = {**default_variables(self._setting), **env, **fixed_variables(self._setting, self._contexts)}
        variables["PATH"] = ":".join((*self._path, variables.get("PATH", "")))
        return {name: value.replace("\0", "") for name, value in variables.items() if name and "=" not in name}

    def _text(self, template: str | None) -> str | None:
        return None if template is None else interpolate(template, self._contexts, self._functions())

    def _value(self, expr: Expr) -> Json:
        return evaluate_template("${{ " + expr.source + " }}", self._contexts, self._functions())

    def _minutes(self, given: float | Expr | None, default: float) -> float:
        value = self._value(given) if isinstance(given, Expr) else given
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MINUTES_MAX:
            raise StepFailed(f"timeout-minutes must be a number above 0 and at most {MINUTES_MAX:g}, not {value!r}")
        return float(value)

    def _functions(self) -> dict[str, Function]:
        return {**status_functions(self._progress), "hashFiles": self._hashes.function}

    def _failed(self, reason: str) -> JobOutcome:
        self._error(reason)
        return JobOutcome("failure", self._reason or reason, tolerated=self._continues(self._job.continue_on_error))

    def _error(self, message: str) -> None:
        self._write(f"##[error]{message}")

    def _write(self, line: str) -> None:
        self._log.line(self._masker.mask(line))


def _title(step: Step) -> str:
    """A step's title as written: for steps whose templates are not, or cannot be, evaluated."""
    return step_title(step.name, step.run or step.uses or "")
