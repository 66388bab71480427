"""Writes a submission as JSON values. What the cells of one matrix share is written once."""

import json
from collections.abc import Mapping

from coterie_protocols.workflow.model import (
    Defaults,
    Expr,
    InputSpec,
    Json,
    Plan,
    PlannedJob,
    Position,
    Problem,
    Step,
    Strategy,
    Submission,
)

Object = dict[str, Json]


def submission_to_value(submission: Submission) -> Object:
    """The submission as a JSON object."""
    return {
        "plan": _plan(submission.plan),
        "event": submission.event,
        "payload": dict(submission.payload),
        "inputs": dict(submission.inputs),
        "git": _texts(submission.git),
    }


def _plan(plan: Plan) -> Object:
    bodies = _Bodies()
    tasks: list[Json] = [{**_task(job), "body": bodies.index(job)} for job in plan.jobs]
    return {
        "file": plan.file,
        "name": plan.name,
        "run_name": plan.run_name,
        "events": list(plan.events),
        "inputs": [[name, _input(spec)] for name, spec in plan.inputs.items()],
        "env": _texts(plan.env),
        "defaults": _defaults(plan.defaults),
        "bodies": list(bodies.values),
        "jobs": tasks,
        "warnings": [_problem(problem) for problem in plan.warnings],
    }


class _Bodies:
    """The distinct bodies of jobs, in order of first use."""

    def __init__(self) -> None:
        self.values: list[Json] = []
        self._by_text: dict[str, int] = {}
        self._by_identity: dict[tuple[int, ...], int] = {}

    def index(self, job: PlannedJob) -> int:
        parts = (job.position, job.needs, job.needs_jobs, job.steps, job.env, job.defaults, job.outputs, job.if_)
        identity = (job.stage, hash(job.job), *map(id, parts))
        if identity not in self._by_identity:
            body = _body(job)
            text = json.dumps(body, sort_keys=True)
            if text not in self._by_text:
                self._by_text[text] = len(self.values)
                self.values.append(body)
            self._by_identity[identity] = self._by_text[text]
        return self._by_identity[identity]


def _body(job: PlannedJob) -> Object:
    return {
        "job": job.job,
        "position": _position(job.position),
        "needs": list(job.needs),
        "needs_jobs": list(job.needs_jobs),
        "stage": job.stage,
        "steps": [_step(step) for step in job.steps],
        "if": job.if_,
        "env": _texts(job.env),
        "defaults": _defaults(job.defaults),
        "outputs": _texts(job.outputs),
    }


def _task(job: PlannedJob) -> Object:
    return {
        "id": job.id,
        "name": job.name,
        "labels": list(job.labels),
        "matrix": [[key, value] for key, value in job.matrix.items()],
        "strategy": _strategy(job.strategy),
        "timeout_minutes": _scalar(job.timeout_minutes),
        "continue_on_error": _scalar(job.continue_on_error),
    }


def _strategy(strategy: Strategy) -> Json:
    return [strategy.fail_fast, strategy.job_index, strategy.job_total, strategy.max_parallel]


def _step(step: Step) -> Object:
    return {
        "id": step.id,
        "position": _position(step.position),
        "name": step.name,
        "run": step.run,
        "uses": step.uses,
        "with": _texts(step.with_),
        "env": _texts(step.env),
        "if": step.if_,
        "shell": step.shell,
        "working_directory": step.working_directory,
        "timeout_minutes": _scalar(step.timeout_minutes),
        "continue_on_error": _scalar(step.continue_on_error),
    }


def _input(spec: InputSpec) -> Object:
    return {
        "type": spec.type,
        "required": spec.required,
        "default": spec.default,
        "options": list(spec.options),
        "description": spec.description,
    }


def _texts(texts: Mapping[str, str]) -> Json:
    """A map of texts as pairs, because canonical JSON sorts the keys of an object and their order may matter."""
    return [[key, value] for key, value in texts.items()]


def _scalar(value: bool | float | Expr | None) -> Json:
    return {"expr": value.source} if isinstance(value, Expr) else value


def _defaults(defaults: Defaults) -> Json:
    return [defaults.shell, defaults.working_directory]


def _position(position: Position) -> Json:
    return [position.line, position.column]


def _problem(problem: Problem) -> Json:
    holder = None if problem.holder is None else _position(problem.holder)
    return [problem.message, _position(problem.position), problem.severity, holder]
