"""The tasks of a run as they are submitted."""

from typing import Final, assert_never

from coterie_protocols.errors import InvalidWorkflow
from coterie_protocols.ops import LABELS_MAX, TASKS_MAX, Placement, TaskSpec
from coterie_protocols.workflow.model import Plan, PlannedJob

WHOLE_RUN: Final = "run"


def task_specs(plan: Plan, placement: Placement) -> tuple[TaskSpec, ...]:
    """One task for every job, or with placement `run` a single one for all; needs come first.

    Raises InvalidWorkflow where a single peer would need more labels than a task can ask for.
    """
    match placement:
        case "job":
            return tuple(_task(job) for job in plan.jobs)
        case "run":
            return (_whole_run(plan),)
        case _:
            assert_never(placement)


def _task(job: PlannedJob) -> TaskSpec:
    return TaskSpec(
        id=job.id,
        job=job.job,
        needs=job.needs_jobs,
        labels=job.labels,
        conditional=bool(job.if_),
        continue_on_error=job.continue_on_error is True,
        fail_fast=job.strategy.fail_fast and job.strategy.job_total > 1,
        max_parallel=min(job.strategy.max_parallel, TASKS_MAX),
    )


def _whole_run(plan: Plan) -> TaskSpec:
    labels = tuple(dict.fromkeys(label for job in plan.jobs for label in job.labels))
    if len(labels) > LABELS_MAX:
        raise InvalidWorkflow(
            f"{plan.file}: its jobs ask for {len(labels)} labels together; one peer can be asked for {LABELS_MAX}",
            "Submit it with --placement job",
        )
    return TaskSpec(WHOLE_RUN, WHOLE_RUN, (), labels)
