"""Plans a workflow file: from its text to the tasks of a run, with every problem told at once."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

from coterie_protocols.errors import UserError
from coterie_protocols.ops import TASKS_MAX
from coterie_protocols.workflow.cells import Cells, plan_cells
from coterie_protocols.workflow.expressions.values import fold
from coterie_protocols.workflow.inputs import typed_inputs
from coterie_protocols.workflow.model import Json, Plan, PlannedJob
from coterie_protocols.workflow.parser import parse_workflow_untrusted
from coterie_protocols.workflow.problems import UnplannableWorkflow
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.stages import cycles, stages
from coterie_protocols.workflow.workflow_file import JobFile, WorkflowFile

__all__ = ["UnplannableWorkflow", "plan_workflow", "typed_inputs"]

DISPATCH: Final = "workflow_dispatch"
_NOTHING: Final[Mapping[str, Json]] = {}
_NO_INPUTS: Final[Mapping[str, str]] = {}

Needs = Mapping[str, tuple[str, ...]]


def plan_workflow(
    file_name: str,
    text: str | bytes,
    *,
    event: str | None = DISPATCH,
    inputs: Mapping[str, str] = _NO_INPUTS,
    github: Mapping[str, Json] = _NOTHING,
    require_inputs: bool = True,
) -> Plan:
    """The plan of a run of the file.

    `event` None takes workflow_dispatch where the workflow listens to it, else its first event. `github` is what is
    known of that context. Without `require_inputs` missing inputs are taken as empty, to look at a plan.
    Raises UnplannableWorkflow (an InvalidWorkflow) with every problem of the file, and UserError where the event or
    the inputs are wrong.
    """
    workflow, reading = parse_workflow_untrusted(text)
    if workflow is None:
        raise UnplannableWorkflow(file_name, reading.problems)
    needs = _needs(reading, workflow)
    stage = _stages(reading, workflow.jobs, needs)
    try:
        event = _event(file_name, workflow, event)
        typed = _inputs(workflow, event, inputs, require_inputs)
    except UserError:
        _stop_on_errors(file_name, reading)
        raise
    contexts: dict[str, Json] = {"github": {"event_name": event, **github}, "inputs": typed, "vars": {}}
    cells = [plan_cells(reading, job, contexts) for job in workflow.jobs]
    _check_tasks(reading, cells)
    _stop_on_errors(file_name, reading)
    return Plan(
        file=file_name,
        name=workflow.name or file_name,
        run_name=workflow.run_name,
        events=workflow.events,
        inputs=workflow.inputs,
        env=workflow.env,
        defaults=workflow.defaults,
        jobs=_joined(cells, needs, stage),
        warnings=reading.problems,
    )


def _stop_on_errors(file_name: str, reading: Reading) -> None:
    if reading.failed:
        raise UnplannableWorkflow(file_name, reading.problems)


def _event(file_name: str, workflow: WorkflowFile, event: str | None) -> str:
    if event in workflow.events:
        return event
    if not workflow.events:
        raise UserError(f"{file_name} listens to no event")
    if event is None:
        return DISPATCH if DISPATCH in workflow.events else workflow.events[0]
    listens = ", ".join(workflow.events)
    hint = f"Submit it with --event {workflow.events[0]}, or add '{event}' to its 'on'"
    raise UserError(f"{file_name} does not listen to {event}; it listens to {listens}", hint)


def _inputs(workflow: WorkflowFile, event: str, given: Mapping[str, str], require: bool) -> dict[str, Json]:
    if event == DISPATCH:
        return typed_inputs(workflow.inputs, given, require=require)
    if given:
        raise UserError(f"The event {event} takes no inputs", f"Inputs belong to {DISPATCH}")
    return {}


def _needs(reading: Reading, workflow: WorkflowFile) -> Needs:
    """What every readable job needs, by the keys as the jobs themselves are written."""
    keys = {fold(key): key for key in workflow.job_keys}
    readable = {job.key for job in workflow.jobs}
    found: dict[str, tuple[str, ...]] = {}
    for job in workflow.jobs:
        known: dict[str, None] = {}
        for need in job.needs:
            key = keys.get(fold(need.job))
            if key is None:
                reading.error(need.position, f"Job '{job.key}' depends on unknown job '{need.job}'.")
            elif key in readable:
                known[key] = None
        found[job.key] = tuple(known)
    return found


def _stages(reading: Reading, jobs: tuple[JobFile, ...], needs: Needs) -> Mapping[str, int]:
    stage, stuck = stages(needs)
    files = {job.key: job for job in jobs}
    if jobs and not stage:
        reading.error(jobs[0].position, "The workflow must contain at least one job with no dependencies.")
    for cycle in cycles(needs, stuck):
        for waiting, needed in pairwise(cycle):
            position = next(need.position for need in files[waiting].needs if fold(need.job) == fold(needed))
            reading.error(
                position,
                f"Job '{waiting}' depends on job '{needed}' which creates a cycle in the dependency graph. "
                f"({' -> '.join(cycle)})",
            )
    return stage


def _check_tasks(reading: Reading, cells: list[Cells]) -> None:
    total = sum(len(one.jobs) for one in cells)
    if total > TASKS_MAX:
        largest = max(cells, key=lambda one: len(one.jobs))
        message = f"The run has {total} jobs with all matrices; a run can have {TASKS_MAX}. Split the workflow."
        reading.error(largest.file.position, message)


def _joined(cells: list[Cells], needs: Needs, stage: Mapping[str, int]) -> tuple[PlannedJob, ...]:
    """All tasks in an order in which needs come first, each with the ids of the tasks that it waits for."""
    ids = {one.file.key: tuple(job.id for job in one.jobs) for one in cells}
    joined: list[PlannedJob] = []
    for one in sorted(cells, key=lambda one: stage[one.file.key]):
        key = one.file.key
        waits = tuple(task for needed in needs[key] for task in ids[needed])

        joined.extend(replace(job, needs=waits, needs_jobs=needs[key], stage=stage[key]) for job in one.jobs)
    return tuple(joined)
