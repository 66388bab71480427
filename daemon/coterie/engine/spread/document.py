"""Translates a workflow of the engine into a run of the coterie."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from coterie.engine.inputs import checked_inputs
from coterie.engine.model import Json, StepSpec, WorkflowSpec
from coterie.engine.planning.plan import make_plan
from coterie.engine.planning.spec_problems import InvalidSpec
from coterie.engine.spread import refusals
from coterie.engine.spread.conditions import job_condition
from coterie.engine.spread.payload import COMMAND, OUTPUT_NAMES, STEP_VARIABLE, payload_of
from coterie.engine.spread.references import steps_read
from coterie.engine.spread.refusals import CannotSpread, Placement
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.template_checks import reference_problems
from coterie.engine.templates import references

__all__ = ["CannotSpread", "Placement", "Spread", "spread"]

EVENT: Final = "workflow_dispatch"
ANY_PEER: Final = "self-hosted"
"""A label that every peer offers."""

JOB_MINUTES: Final = 7 * 24 * 60.0
"""The most that a job may take; a step has limits of its own, and none unless the workflow says so."""

WHOLE: Final = "workflow"
"""The job of a workflow that one peer carries out."""

OUTPUTS: Final = "outputs"
"""The job that evaluates the outputs of the workflow."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What to submit: `text` is a GitHub Actions document for EVENT, `payload` the event's.

    The run's own placement is always `job`. `notes` are sentences for people: what is done differently than asked.
    """

    text: str
    payload: Mapping[str, Json]
    notes: tuple[str, ...] = ()


def spread(spec: WorkflowSpec, inputs: Mapping[str, Json], *, placement: Placement, source: bool) -> Spread:
    """The run that carries out the workflow: each step a job of its own, or all of it one job (placement run).

    With `source` its jobs unpack the source tree that is submitted along. Raises InvalidWorkflow, BadInputs, and
    CannotSpread with everything that peers cannot do together.
    """
    make_plan(spec, check_step=StepExecutorFactory.check_step)
    problems = reference_problems(spec)
    if problems:
        raise InvalidSpec(problems)
    given = checked_inputs(spec, inputs)
    refusals.check(spec, placement)
    told = refusals.notes(spec, placement)
    whole = spec if placement == "run" else with_outputs(spec)
    jobs = {WHOLE: _job(spec.name or spec.id, source)} if placement == "run" else _jobs(whole, source)
    document = {"name": _plain(spec.name or spec.id), "on": EVENT, "jobs": jobs}
    return Spread(json.dumps(document, ensure_ascii=False, indent=1), payload_of(whole, given), told)


def with_outputs(spec: WorkflowSpec) -> WorkflowSpec:
    """The workflow with its outputs as a last step."""
    if not spec.outputs:
        return spec
    taken = {step.id.lower() for step in spec.steps}
    number, id_ = 1, OUTPUTS
    while id_ in taken:
        number += 1
        id_ = f"{OUTPUTS}-{number}"
    named = references(dict(spec.outputs)).steps
    needs = tuple(step.id for step in spec.steps if step.id in named)
    values: dict[str, Json] = {"values": dict(spec.outputs)}
    step = StepSpec(id_, "output", needs, "Outputs of the workflow", values, merge="ended")
    return replace(spec, steps=(*spec.steps, step), outputs={})


def _jobs(spec: WorkflowSpec, source: bool) -> dict[str, Any]:
    return {step.id: _step_job(step, spec, source) for step in spec.steps}


def _step_job(step: StepSpec, spec: WorkflowSpec, source: bool) -> dict[str, Any]:
    job = _job(step.name or step.id, source)
    needs = steps_read(step, spec)
    if needs:
        job["needs"] = list(needs)
        job["if"] = job_condition(step, spec)
    if step.tolerated:
        job["continue-on-error"] = True
    if spec.timeout_s is not None:
        job["timeout-minutes"] = min(JOB_MINUTES, spec.timeout_s / 60)
    job["steps"][-1]["env"] = {STEP_VARIABLE: step.id}
    return job


def _job(name: str, source: bool) -> dict[str, Any]:
    checkout = [{"uses": "actions/checkout@v4"}] if source else []
    return {
        "name": _plain(name),
        "runs-on": ANY_PEER,
        "timeout-minutes": JOB_MINUTES,
        "outputs": {output: f"${{{{ steps.step.outputs.{output} }}}}" for output in OUTPUT_NAMES},
        "steps": [*checkout, {"id": "step", "name": _plain(name), "run": COMMAND}],
    }


def _plain(name: str) -> str:
    """A name as it may stand in a document: without expressions, and of what can be printed."""
    return "".join(character if character.isprintable() else " " for character in name.replace("${{", "$ {{"))
