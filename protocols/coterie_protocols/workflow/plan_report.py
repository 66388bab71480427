"""A plan for people and scripts: `coterie workflow plan --json`."""

from typing import Final

from coterie_protocols.workflow.model import Expr, InputSpec, Json, Plan, PlannedJob, Problem, Step

PLAN_SCHEMA: Final = "coterie.plan/1"


def plan_to_json(plan: Plan) -> dict[str, Json]:
    """The plan with its stages; the keys are stable and documented by `PLAN_SCHEMA`."""
    count = 1 + max((job.stage for job in plan.jobs), default=-1)
    stages: list[list[Json]] = [[] for _ in range(count)]
    for job in plan.jobs:
        stages[job.stage].append(job.id)
    return {
        "schema": PLAN_SCHEMA,
        "file": plan.file,
        "name": plan.name,
        "events": list(plan.events),
        "inputs": {name: _input(spec) for name, spec in plan.inputs.items()},
        "stages": [list(stage) for stage in stages],
        "jobs": [_job(job) for job in plan.jobs],
        "warnings": [_warning(problem) for problem in plan.warnings],
    }


def _input(spec: InputSpec) -> Json:
    return {
        "type": spec.type,
        "required": spec.required,
        "default": spec.default,
        "options": list(spec.options),
        "description": spec.description,
    }


def _job(job: PlannedJob) -> Json:
    return {
        "id": job.id,
        "job": job.job,
        "name": job.name,
        "stage": job.stage,
        "needs": list(job.needs),
        "labels": list(job.labels),
        "if": job.if_,
        "matrix": dict(job.matrix),
        "timeout_minutes": _scalar(job.timeout_minutes),
        "continue_on_error": _scalar(job.continue_on_error),
        "steps": [_step(step) for step in job.steps],
        "line": job.position.line,
    }


def _step(step: Step) -> Json:
    return {
        "id": step.id,
        "name": step.name or step.uses or _first_line(step.run or ""),
        "kind": "run" if step.uses is None else "uses",
        "uses": step.uses,
        "if": step.if_,
        "line": step.position.line,
    }


def _first_line(script: str) -> str:
    lines = script.strip().splitlines()
    return f"Run {lines[0]}" if lines else "Run"


def _scalar(value: bool | float | Expr | None) -> Json:
    return f"${{{{ {value.source} }}}}" if isinstance(value, Expr) else value


def _warning(problem: Problem) -> Json:
    return {"message": problem.message, "line": problem.position.line, "column": problem.position.column}
