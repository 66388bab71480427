"""What is wrong with a workflow. Whole columns are looked at first; only a bad one is gone through step by step."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, cast

from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.planning import spec_values as values
from coterie.engine.planning.cycles import cycles
from coterie.engine.planning.spec_problems import SpecProblem, problem_of, shown, suggestion
from coterie.engine.planning.spec_steps import MERGES, PRIORITY_MAX, STEPS_MAX
from coterie.engine.planning.step_rows import Said, said_by

CYCLES_MAX: Final = 20
CYCLE_NAMES_MAX: Final = 24
SUGGESTIONS_MAX: Final = 20
"""Unknown names for which a known one is looked for: a file with more has another fault than spelling."""

TIMES: Final = ("timeout_s", "total_timeout_s", "queue_timeout_s", "heartbeat_timeout_s")
CONDITIONAL: Final = "conditional"

CheckStep = Callable[[StepSpec], list[str]]


def head_problems(spec: WorkflowSpec) -> list[SpecProblem]:
    """Of the workflow itself."""
    found: list[str] = []
    if not values.ID.fullmatch(spec.id):
        found.append(f"the workflow's id {shown(spec.id)} is none: {_ID_RULE}")
    if len(spec.steps) > STEPS_MAX:
        found.append(f"the workflow has {len(spec.steps)} steps; the limit is {STEPS_MAX}")
    if not _is_time(spec.timeout_s):
        found.append(f"the workflow's timeout_s is {spec.timeout_s}; {_TIME_RULE}")
    if not _is_priority(spec.priority):
        found.append(f"the workflow's priority is {spec.priority}; it must be from 0 to {PRIORITY_MAX:g}")
    if not 0 <= spec.max_parallel <= values.COUNT_MAX:
        found.append(f"the workflow's max_parallel is {spec.max_parallel}; it must be from 0 to {values.COUNT_MAX}")
    names = [each.name for each in spec.inputs]
    found += [f"the input {shown(name)} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    return [SpecProblem(message) for message in found]


def id_problems(steps: Sequence[StepSpec], ids: Sequence[str]) -> list[SpecProblem]:
    """Ids that are none, and ids that more than one step has."""
    first: dict[str, StepSpec] = {}
    found: list[SpecProblem] = []
    for step, id_ in zip(steps, ids, strict=True):
        if not values.ID.fullmatch(id_):
            found.append(problem_of(step, f"the step id {shown(id_)} is none: {_ID_RULE}"))
        if first.setdefault(id_, step) is not step:
            line = first[id_].line
            found.append(
                problem_of(
                    step, f"two steps have the id {shown(id_)}{f'; the first is in line {line}' if line else ''}"
                )
            )
    return found


_ID_RULE: Final = (
    f"letters, digits, '_' and '-', not beginning with a digit or '-', at most {values.ID_CHARS_MAX} characters"
)


def unknown_need_problems(steps: Sequence[StepSpec], ids: Collection[str]) -> list[SpecProblem]:
    """Needs of what does not exist."""
    known = list(dict.fromkeys(step.id for step in steps))  # in the order of the workflow, as a set has none
    unknown = [(step, need) for step in steps for need in dict.fromkeys(step.needs) if need not in ids]
    alike = {need: suggestion(need, known) for _, need in unknown[:SUGGESTIONS_MAX]}
    return [
        problem_of(step, f"step {shown(step.id)} needs {shown(need)}, which does not exist{alike.get(need, '')}")
        for step, need in unknown
    ]


def self_need_problems(steps: Iterable[StepSpec]) -> list[SpecProblem]:
    """Steps that need themselves."""
    return [problem_of(step, f"step {shown(step.id)} needs itself") for step in steps if step.id in step.needs]


def cycle_problems(steps: Sequence[StepSpec], stuck: Iterable[int], index: Mapping[str, int]) -> list[SpecProblem]:
    """Each independent circle once, as the path of its names; `stuck` holds all steps that are on one."""
    needs = {
        position: [index[need] for need in steps[position].needs if index.get(need, position) != position]
        for position in stuck
    }
    found = cycles(needs)
    told = [_cycle_problem(steps, cycle) for cycle in found[:CYCLES_MAX]]
    if len(found) > CYCLES_MAX:
        told.append(SpecProblem(f"… and {len(found) - CYCLES_MAX} more circles of steps that need each other"))
    return told


def _cycle_problem(steps: Sequence[StepSpec], cycle: tuple[int, ...]) -> SpecProblem:
    names = [steps[position].id for position in cycle]
    if len(names) > CYCLE_NAMES_MAX + 1:
        half = CYCLE_NAMES_MAX // 2
        names = [*names[:half], f"… {len(names) - 1 - 2 * half} more …", *names[-half - 1 :]]
    return problem_of(steps[cycle[0]], f"steps need each other in a circle: {' -> '.join(names)}")


def field_problems(steps: Sequence[StepSpec], said: Said, known_types: Collection[str] | None) -> list[SpecProblem]:
    """Fields whose values cannot be meant, whatever the other steps are."""
    if said.sound:
        return [] if known_types is None else _types(steps, known_types)
    found = _types(steps, known_types)
    for name in TIMES:
        if not all(map(_is_time, _distinct(steps, name))):
            found += _each(steps, name, _is_time, _TIME_RULE)
    if not all(map(_is_priority, _distinct(steps, "priority"))):
        found += _each(steps, "priority", _is_priority, f"it must be from 0 to {PRIORITY_MAX:g}")
    if not _distinct(steps, "merge") <= set(MERGES):
        found += _each(steps, "merge", lambda merge: merge in MERGES, f"it must be one of {', '.join(MERGES)}")
    if any(map(attrgetter("resources"), steps)):
        found += _each(steps, "resources", _are_amounts, "an amount must be a number, 0 or more")
    return found


_TIME_RULE: Final = f"it must be a number of seconds, from 0 to {values.SECONDS_MAX:g}"


def _distinct(steps: Sequence[StepSpec], name: str) -> set[Any]:
    return set(map(attrgetter(name), steps))


def _each(steps: Sequence[StepSpec], name: str, fits: Callable[[Any], bool], rule: str) -> list[SpecProblem]:
    bad = ((step, getattr(step, name)) for step in steps if not fits(getattr(step, name)))
    return [problem_of(step, f"step {shown(step.id)}: {name} is {_value(value)}; {rule}") for step, value in bad]


def _value(value: object) -> str:
    return shown(value) if isinstance(value, str) else str(value)


def _is_time(value: float | None) -> bool:
    return value is None or _is_number(value, values.SECONDS_MAX)


def _is_priority(value: float) -> bool:
    return _is_number(value, PRIORITY_MAX)


def _is_number(value: object, high: float) -> bool:
    return isinstance(value, int | float) and 0 <= value <= high  # NaN is in no order with anything


def _are_amounts(amounts: Mapping[str, float]) -> bool:
    return all(_is_number(amount, values.AMOUNT_MAX) for amount in amounts.values())


def _types(steps: Sequence[StepSpec], known: Collection[str] | None) -> list[SpecProblem]:
    used = _distinct(steps, "type")
    bad = {each for each in used if (each not in known if known is not None else not values.TYPE.fullmatch(each))}
    if not bad:
        return []
    rule = f"known are {', '.join(sorted(known))}" if known is not None else "a type is a word"
    like = {each: suggestion(each, known or ()) for each in sorted(bad)[:SUGGESTIONS_MAX]}
    return [
        problem_of(
            step, f"step {shown(step.id)} has the unknown type {shown(step.type)}{like.get(step.type, '')}; {rule}"
        )
        for step in steps
        if step.type in bad
    ]


def arm_problems(steps: Sequence[StepSpec], index: Mapping[str, int]) -> list[SpecProblem]:
    """Arms of steps that are no conditionals, that are not needed, or that have no such arm."""
    return [
        problem_of(step, f"step {shown(step.id)} {message}")
        for step in steps
        if step.arms
        for id_, arm in step.arms.items()
        for message in _arm(step, id_, arm, steps, index)
    ]


def _arm(step: StepSpec, id_: str, arm: str, steps: Sequence[StepSpec], index: Mapping[str, int]) -> list[str]:
    if id_ not in index:
        return [f"waits for an arm of {shown(id_)}, which does not exist{suggestion(id_, index)}"]
    chooser = steps[index[id_]]
    if chooser.type != CONDITIONAL:
        return [f"waits for an arm of {shown(id_)}, which is no {CONDITIONAL} step but of type {shown(chooser.type)}"]
    found = (
        [] if id_ in step.needs else [f"waits for an arm of {shown(id_)}, but does not need it: add it to its needs"]
    )
    known = arms_of(chooser)
    if known and arm not in known:
        names = ", ".join(map(shown, known))
        found.append(f"waits for the arm {shown(arm)} of {shown(id_)}, which has only {names}{suggestion(arm, known)}")
    return found


def arms_of(step: StepSpec) -> tuple[str, ...]:
    """The names of the arms of a conditional step; none where its config is not sound, which is told elsewhere."""
    branches = step.config.get("branches")
    if not isinstance(branches, list):
        return ()
    rows = [cast("dict[str, object]", row) for row in cast("list[object]", branches) if isinstance(row, dict)]
    return tuple(str(row["name"]) for row in rows if "name" in row)


def compensations(steps: Sequence[StepSpec]) -> list[StepSpec]:
    """The steps that undo others."""
    if "compensate" not in said_by(steps).fields:
        return []
    return [step.compensate for step in steps if step.compensate is not None]


def compensation_problems(steps: Sequence[StepSpec], known_types: Collection[str] | None) -> list[SpecProblem]:
    """Compensations of compensations, and what is wrong with their fields."""
    undoing = compensations(steps)
    if not undoing:
        return []
    nested = [step for step in undoing if step.compensate is not None]
    found = [
        problem_of(step, f"step {shown(step.id)} undoes another step, and cannot have a compensation of its own")
        for step in nested
    ]
    return found + field_problems(undoing, said_by(undoing), known_types)


def step_problems(steps: Iterable[StepSpec], check: CheckStep) -> list[SpecProblem]:
    """What `check` has to say of each step."""
    return [problem_of(step, f"step {shown(step.id)}: {sentence}") for step in steps for sentence in check(step)]
