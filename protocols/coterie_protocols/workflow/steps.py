"""Reads the steps of a job."""

from collections.abc import Mapping
from typing import Final

from coterie_protocols.workflow.actions import check_inputs, check_uses
from coterie_protocols.workflow.availability import STEP, STEP_IF
from coterie_protocols.workflow.model import Expr, Step
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.step_ids import StepIds
from coterie_protocols.workflow.yaml_nodes import Entry, Node, Sequence
from coterie_protocols.workflow.yaml_nodes import Mapping as MappingNode

STEPS_MAX: Final = 1_000

_RUN_KEYS: Final = frozenset({"run", "shell", "working-directory"})
_USES_KEYS: Final = frozenset({"uses", "with"})
_COMMON_KEYS: Final = frozenset({"id", "name", "if", "env", "timeout-minutes", "continue-on-error"})
_LATER_KEYS: Final = frozenset({"background", "wait", "wait-all", "cancel", "parallel"})
_KEYS: Final = _RUN_KEYS | _USES_KEYS | _COMMON_KEYS | _LATER_KEYS

Fields = dict[str, Entry]


def read_steps(reading: Reading, node: Node) -> tuple[Step, ...]:
    """The steps, each with an id; those without one of their own are named after all others are known."""
    if not isinstance(node, Sequence):
        reading.unexpected(node)
        return ()
    if len(node.items) > STEPS_MAX:
        reading.error(node, f"There are {len(node.items)} steps; the limit is {STEPS_MAX}")
        return ()
    ids = StepIds()
    read = [(item, reading.fields(item, _KEYS)) for item in node.items]
    given = [_given_id(reading, ids, fields) for _, fields in read]
    steps: list[Step] = []
    for (item, fields), name in zip(read, given, strict=True):
        step = _step(reading, ids, item, fields, name)
        if step is not None:
            steps.append(step)
    return tuple(steps)


def _given_id(reading: Reading, ids: StepIds, fields: Fields) -> str | None:
    if "id" not in fields:
        return None
    name = reading.name(fields["id"].value)
    problem = None if name is None else ids.claim(name)
    if problem:
        reading.error(fields["id"].value, problem)
    return name


def _step(reading: Reading, ids: StepIds, node: Node, fields: Fields, name: str | None) -> Step | None:
    if not _has_one_kind(reading, node, fields):
        return None
    uses = reading.name(fields["uses"].value) if "uses" in fields else None
    if uses is not None:
        check_uses(reading, fields["uses"].value, uses)
    with_ = _templates(reading, fields, "with")
    if uses is not None and with_:
        check_inputs(reading, fields["with"], uses, with_)
    return Step(
        id=ids.generate(uses) if name is None else name,
        position=node.position,
        name=_template(reading, fields, "name"),
        run=_template(reading, fields, "run"),
        uses=uses,
        with_=with_,
        env=_templates(reading, fields, "env"),
        if_=reading.condition(fields["if"].value, STEP_IF) if "if" in fields else None,
        shell=_template(reading, fields, "shell"),
        working_directory=_template(reading, fields, "working-directory"),
        timeout_minutes=_timeout(reading, fields),
        continue_on_error=_continue_on_error(reading, fields),
    )


def _has_one_kind(reading: Reading, node: Node, fields: Fields) -> bool:
    """Whether the step is a `run` or a `uses` and nothing else; complains when not."""
    later = [name for name in fields if name in _LATER_KEYS]
    if later:
        reading.refuse(fields[later[0]].key, f"'{later[0]}' of a step")
        return False
    if "run" in fields or (_RUN_KEYS & fields.keys() and "uses" not in fields):
        required, foreign = "run", _USES_KEYS
    elif _USES_KEYS & fields.keys():
        required, foreign = "uses", _RUN_KEYS
    else:
        if isinstance(node, MappingNode):
            reading.error(
                node, "There's not enough info to determine what you meant. Add one of these properties: run, uses"
            )
        return False
    for name in fields.keys() & foreign:
        reading.error(fields[name].key, f"Unexpected value '{name}': a step has either 'run' or 'uses'")
    if required not in fields:
        reading.error(node, f"Required property is missing: {required}")
    return required in fields


def _template(reading: Reading, fields: Fields, name: str) -> str | None:
    return reading.template(fields[name].value, STEP) if name in fields else None


def _templates(reading: Reading, fields: Fields, name: str) -> Mapping[str, str]:
    return reading.templates(fields[name].value, STEP) if name in fields else {}


def _timeout(reading: Reading, fields: Fields) -> float | Expr | None:
    return reading.number(fields["timeout-minutes"].value, STEP) if "timeout-minutes" in fields else None


def _continue_on_error(reading: Reading, fields: Fields) -> bool | Expr:
    if "continue-on-error" not in fields:
        return False
    value = reading.boolean(fields["continue-on-error"].value, STEP)
    return False if value is None else value
