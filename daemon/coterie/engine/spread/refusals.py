"""What a workflow may ask of one engine and not of a coterie: refused, or told where it is done differently."""

from collections.abc import Iterator
from typing import Final, Literal

from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.planning.plan_checks import arms_of
from coterie.engine.spread.references import with_nested
from coterie_protocols.errors import UserError
from coterie_protocols.ops import TASKS_MAX
from coterie_protocols.workflow.step_ids import id_problem

Placement = Literal["job", "run"]
NAMED_MAX: Final = 5
MACHINE: Final = frozenset({"cpu", "memory", "disk"})
"""Resources that bound what runs beside a step on a machine; others are of the user's own making."""


class CannotSpread(UserError):
    """The workflow asks for what only an engine that runs all of it can do."""

    code = "cannot-spread"
    exit_code = 65


def check(spec: WorkflowSpec, placement: Placement) -> None:
    """Raises CannotSpread that names every reason."""
    problems = list(_run_problems(spec) if placement == "run" else _job_problems(spec))
    if problems:
        raise CannotSpread(
            f"{spec.id} cannot be spread with placement {placement}: {'; '.join(dict.fromkeys(problems))}",
            "submit it with placement local, where one engine does all of it",
        )


def notes(spec: WorkflowSpec, placement: Placement) -> tuple[str, ...]:
    """What is carried out, but differently than one engine would."""
    return () if placement == "run" else tuple(_job_notes(spec))


def _run_problems(spec: WorkflowSpec) -> Iterator[str]:
    if not spec.steps:
        yield "it has no steps"
    for step, inner in _all(spec):
        reason = _conversation(inner)
        if reason is None and inner.type == "workflow" and inner.config.get("document") is None:
            reason = "names a workflow that only an engine with a store knows: give its document"
        if reason is not None:
            yield f"step '{step.id}' {reason}"


def _job_problems(spec: WorkflowSpec) -> Iterator[str]:
    if not spec.steps:
        yield "it has no steps"
    if len(spec.steps) + bool(spec.outputs) > TASKS_MAX:
        yield f"it has {len(spec.steps)} steps, and a run can have {TASKS_MAX} jobs (use map, or placement run)"
    yield from _id_problems(spec)
    for step, inner in _all(spec):
        reason = _conversation(inner)
        if reason is None and inner.type == "workflow":
            reason = "runs another workflow: submit that by itself, or use placement run"
        reasons = [*([] if reason is None else [reason]), *_step_problems(inner)]
        yield from (f"step '{step.id}' {each}" for each in reasons)


def _conversation(step: StepSpec) -> str | None:
    if step.type == "input":
        return "asks a person, and nobody can answer a job: make the answer an input of the workflow"
    if step.type == "wait" and step.config.get("signal") is not None:
        return "waits for a signal, and none can be sent to a job"
    if step.type == "wait" and step.config.get("execution") is not None:
        return "waits for an execution that only the engine of one machine knows"
    return None


def _step_problems(step: StepSpec) -> Iterator[str]:
    if step.merge == "first" and len(step.needs) > 1:
        yield "starts with the first of its needs (merge: first), and a job starts when all have ended: use any"
    if step.compensate is not None:
        yield "has a compensation, and no peer sees the whole run to undo it: use placement run"
    if step.key:
        yield f"runs alone among the steps of the key '{step.key}', which peers do not agree on: use placement run"
    others = sorted(step.resources.keys() - MACHINE)
    if others:
        yield f"takes {', '.join(others)}, of which each peer would have its own: use placement run, or labels"
    # Expressions of runs compare texts without regard to case.
    arms = arms_of(step) if step.type == "conditional" else ()
    folded = [arm.lower() for arm in arms]
    alike = [arm for arm in arms if folded.count(arm.lower()) > 1]
    if alike:
        yield f"tells its arms {' and '.join(alike)} apart by case alone: rename one"


def _id_problems(spec: WorkflowSpec) -> Iterator[str]:
    folded: dict[str, str] = {}
    for step in spec.steps:
        if id_problem(step.id) is not None:
            yield f"the step id '{step.id}' cannot be that of a job (100 characters, or beginning with __): rename it"
        other = folded.setdefault(step.id.lower(), step.id)
        if other != step.id:
            yield f"the ids '{other}' and '{step.id}' differ by case alone: rename one"


def _job_notes(spec: WorkflowSpec) -> Iterator[str]:
    if spec.max_parallel:
        yield "max_parallel bounds the steps of one engine: on peers their slots bound them"
    if spec.fail_fast:
        yield "fail_fast is not done: after a failure steps that do not need the failed one still run"
    if spec.timeout_s is not None:
        yield f"the time limit of {spec.timeout_s:g} s holds for each step by itself"
    unlike = {
        "priority: all steps of a run have that of the run": [
            step.id for step in spec.steps if step.priority != spec.priority
        ],
        "queue_timeout: a step waits for a peer for as long as it takes": [
            step.id for step in spec.steps if step.queue_timeout_s is not None
        ],
        "resources: peers have slots instead": [step.id for step in spec.steps if step.resources],
    }
    for text, named in unlike.items():
        if named:
            yield f"{text} (of {', '.join(named[:NAMED_MAX])}{', …' if len(named) > NAMED_MAX else ''})"


def _all(spec: WorkflowSpec) -> Iterator[tuple[StepSpec, StepSpec]]:
    """Each step with itself, and with what it runs for each item."""
    return ((step, inner) for step in spec.steps for inner in with_nested(step))
