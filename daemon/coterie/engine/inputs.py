"""Checks what a submitter gave against what a workflow asks for."""

from collections.abc import Mapping
from typing import Final

from coterie.engine.model import InputSpec, Json, WorkflowSpec
from coterie_protocols.errors import UserError

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


class BadInputs(UserError):
    """The inputs do not fit the workflow."""

    code = "bad-inputs"
    exit_code = 65


def checked_inputs(spec: WorkflowSpec, given: Mapping[str, Json]) -> dict[str, Json]:
    """The inputs with their defaults; a workflow that declares none takes any. Raises BadInputs with all problems."""
    if not spec.inputs:
        return dict(given)
    known = {declared.name: declared for declared in spec.inputs}
    problems = [f"{name!r} is no input of {spec.id}" for name in given if name not in known]
    values: dict[str, Json] = {}
    for name, declared in known.items():
        if name in given:
            values[name] = given[name]
            problems += _problems(declared, given[name])
        elif declared.required:
            problems.append(f"{name!r} is required")
        else:
            values[name] = declared.default
    if problems:
        raise BadInputs("; ".join(problems), f"inputs of {spec.id}: {', '.join(known)}")
    return values


def _problems(declared: InputSpec, value: Json) -> list[str]:
    fits = isinstance(value, _TYPES[declared.type]) and (declared.type == "boolean" or not isinstance(value, bool))
    if not fits:
        return [f"{declared.name!r} must be a {declared.type}, not {value!r}"]
    if declared.options and value not in declared.options:
        return [f"{declared.name!r} must be one of {', '.join(map(str, declared.options))}, not {value!r}"]
    return []
