"""Gives the inputs of a run the types that the workflow declares for them."""

import math
from collections.abc import Mapping
from typing import assert_never

from coterie_protocols.errors import UserError
from coterie_protocols.workflow.expressions.values import fold, parse_number, tidy_number
from coterie_protocols.workflow.model import InputSpec, Json


def typed_inputs(specs: Mapping[str, InputSpec], given: Mapping[str, str], *, require: bool = True) -> dict[str, Json]:
    """The `inputs` context: every declared input, typed, from what was given and the defaults.

    Names ignore case. Without `require` a missing required input takes its type's empty value. Raises UserError for
    an unknown input, a missing one, and a value that does not fit.
    """
    declared = {fold(name): name for name in specs}
    unknown = [name for name in given if fold(name) not in declared]
    if unknown:
        known = "its inputs are " + ", ".join(specs) if specs else "it has none"
        raise UserError(f"The workflow has no input '{unknown[0]}'; {known}", "Give inputs as --input NAME=VALUE")
    values = {declared[fold(name)]: value for name, value in given.items()}
    return {name: _typed(name, spec, values.get(name), require) for name, spec in specs.items()}


def _typed(name: str, spec: InputSpec, given: str | None, require: bool) -> Json:
    text = spec.default if given is None else given
    if text is None:
        if spec.required and require and spec.type not in ("boolean", "choice"):
            raise UserError(f"The input '{name}' is required", f"Add --input {name}=VALUE")
        return _empty(spec)
    problem = input_problem(name, spec, text)
    if problem:
        raise UserError(problem, f"Correct --input {name}=VALUE")
    match spec.type:
        case "boolean":
            return text.lower() == "true"
        case "number":
            return tidy_number(parse_number(text))
        case "string" | "choice" | "environment":
            return text
        case _:
            assert_never(spec.type)


def _empty(spec: InputSpec) -> Json:
    match spec.type:
        case "boolean":
            return False
        case "number":
            return 0
        case "choice":
            return spec.options[0] if spec.options else ""
        case "string" | "environment":
            return ""
        case _:
            assert_never(spec.type)


def input_problem(name: str, spec: InputSpec, text: str) -> str | None:
    """Why `text` is no value for the input, in one sentence; None where it is one."""
    if spec.type == "choice" and text not in spec.options:
        return f"The input '{name}' must be one of {', '.join(spec.options)}, not '{text}'"
    if spec.type == "boolean" and text.lower() not in ("true", "false"):
        return f"The input '{name}' must be true or false, not '{text}'"
    if spec.type == "number" and (not text.strip() or not math.isfinite(parse_number(text))):
        return f"The input '{name}' must be a number, not '{text}'"
    return None
