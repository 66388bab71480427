"""What the drivers of the shared conformance data call."""

from collections.abc import Mapping

from coterie_protocols.workflow import expressions
from coterie_protocols.workflow.expressions.parser import HOST_FUNCTIONS
from coterie_protocols.workflow.model import Json, PlannedJob, Problem
from coterie_protocols.workflow.plan import plan_workflow
from coterie_protocols.workflow.problems import UnplannableWorkflow


def evaluate(expression: str, contexts: Mapping[str, Json]) -> Json:
    """The value of `expression` where exactly `contexts` are known."""
    tree = expressions.parse_expression(expression, [name.lower() for name in contexts], HOST_FUNCTIONS)
    return expressions.evaluate(tree, contexts)


def parse(name: str, text: str, files: Mapping[str, str]) -> dict[str, Json]:
    """The jobs of a file as GitHub's reader lists them, or its errors in GitHub's form."""
    try:
        plan = plan_workflow(name, text, event=None, require_inputs=False)
    except UnplannableWorkflow as unplannable:
        return {"errors": [_error(name, problem) for problem in unplannable.problems]}
    jobs = {job.job: job for job in plan.jobs}
    return {"jobs": [_job(job) for job in sorted(jobs.values(), key=lambda job: job.position.line)]}


def _error(name: str, problem: Problem) -> str:
    at = problem.holder or problem.position
    return f"{name} (Line: {at.line}, Col: {at.column}): {problem.message}"


def _job(job: PlannedJob) -> dict[str, Json]:
    steps: list[Json] = [{"id": step.id, "if": _wrapped(step.if_)} for step in job.steps]
    return {"id": job.job, "needs": list(job.needs_jobs), "if": _wrapped(job.if_), "steps": steps}


def _wrapped(source: str | None) -> str:
    """The condition with the `success() &&` that GitHub adds when no status function occurs in it."""
    if not source:
        return "success()"
    has_status = expressions.has_status_function(expressions.parse_expression(source))
    return source if has_status else f"success() && ({source})"
