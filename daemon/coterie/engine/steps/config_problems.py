"""What is wrong with the configuration of a step, in sentences for whoever wrote it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from coterie.engine.model import Json
from coterie.engine.templates import Path, has_template

SHOWN_CHARS_MAX: Final = 80
"""How much of a wrong value is told."""

_SHOULD: Final = "Input should be "
_SHOULD_BE: Final = " should be "
_CONTINUES: Final = ("should ", "is ", "has ", "cannot ")
"""How a message begins that is the rest of a sentence about its field."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """What is wrong and where: keys and indices from the configuration down. `at_key`: the last key itself is wrong."""

    path: Path
    message: str
    at_key: bool = False


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the known name that is most like it, or nothing."""
    found = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""


def problems_of(
    error: ValidationError,
    value: Json,
    *,
    known: Collection[str] = (),
    skip_templates: bool = True,
    raw_fields: Collection[str] = (),
) -> list[ConfigProblem]:
    """The errors of a model as problems, by default less those of values that hold templates: they are not known yet.

    `known` are the names that the model has at its top, for hints; templates in `raw_fields` stay as they are.
    """
    found: list[ConfigProblem] = []
    for detail in error.errors(include_url=False):
        path, reached, templated = _walk(value, detail)
        if not (templated and skip_templates and path[0] not in raw_fields):
            _add(found, _problem(detail, path, reached, known))
    return found


def field_names(model: type[BaseModel]) -> list[str]:
    """The names of a model's fields as people write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def path_text(path: Path) -> str:
    """`headers.Accept` or `branches[0].then`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _walk(value: Json, detail: ErrorDetails) -> tuple[Path, Json, bool]:
    """Where an error is, the value there, and whether that value or one around it holds a template.

    pydantic's own path names the members of unions too; what the value does not have is left out.
    """
    path: list[str | int] = []
    missing = detail["type"] == "missing"
    for part in detail["loc"]:
        if isinstance(value, str) and has_template(value):
            return tuple(path), value, True
        found, below = _below(value, part)
        if found:
            value = below
        if found or (missing and part == detail["loc"][-1]):
            path.append(part)
    return tuple(path), value, bool(path) and not missing and has_template(value)


def _below(value: Json, part: str | int) -> tuple[bool, Json]:
    if isinstance(value, Mapping):
        mapping = cast(Mapping[str | int, Json], value)
        return part in mapping, mapping.get(part)
    if isinstance(value, list | tuple) and isinstance(part, int):
        items = cast(list[Json], value)
        return (True, items[part]) if part < len(items) else (False, None)
    return False, None


def _problem(detail: ErrorDetails, path: Path, value: Json, known: Collection[str]) -> ConfigProblem:
    where = path_text(path)
    match detail["type"]:
        case "missing":
            return ConfigProblem(path[:-1], f"'{where}' is missing")
        case "extra_forbidden":
            hint = near(str(path[-1]), known) if len(path) == 1 else ""
            return ConfigProblem(path, f"'{where}' is not known here{hint}", at_key=True)
        case "model_type" | "dict_type" | "model_attributes_type":
            return ConfigProblem(path, f"'{where}'{_SHOULD_BE}a map, not {_shown(value)}")
        case "string_pattern_mismatch":
            pattern = detail.get("ctx", {}).get("pattern", "")
            return ConfigProblem(path, f"'{where}' should match {pattern}, not {_shown(value)}")
        case _:
            return ConfigProblem(path, _sentence(where, detail["msg"], value))


def _sentence(where: str, message: str, value: Json) -> str:
    """What pydantic or a validator says, with its place as the subject where it is the rest of a sentence."""
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should have ", "should have ")
    if message.startswith(_SHOULD):
        wanted = message.removeprefix(_SHOULD).replace("a valid integer", "an integer").replace("a valid ", "a ")
        message = f"should be {wanted}, not {_shown(value)}"
    if not where:
        return message
    continues = message.startswith(_CONTINUES)
    return f"'{where}' {message}" if continues else f"'{where}': {message}"


def _add(found: list[ConfigProblem], problem: ConfigProblem) -> None:
    """A union complains once for every member: of its complaints one is kept, the deepest or all in one sentence."""
    for index, other in enumerate(found):
        if _is_vague(other, problem):
            found[index] = problem
            return
        if _is_vague(problem, other):
            return
        if other.path == problem.path and _SHOULD_BE in other.message and _SHOULD_BE in problem.message:
            found[index] = ConfigProblem(other.path, _either(other.message, problem.message))
            return
    found.append(problem)


def _is_vague(problem: ConfigProblem, other: ConfigProblem) -> bool:
    """Says it that a map or a list is none of the kind, where the other says what is wrong within?"""
    within = len(other.path) > len(problem.path) and other.path[: len(problem.path)] == problem.path
    return within and problem.message.endswith((", not a map", ", not a list"))


def _either(first: str, second: str) -> str:
    """`'x' should be an integer or a list, not 'y'` of the two sentences."""
    head, _, rest = first.partition(_SHOULD_BE)
    other = second.partition(_SHOULD_BE)[2].rpartition(", not ")[0]
    wanted, _, shown = rest.rpartition(", not ")
    return first if other in wanted else f"{head}{_SHOULD_BE}{wanted} or {other}, not {shown}"


def _shown(value: Json) -> str:
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    text = "nothing" if value is None else "true" if value is True else "false" if value is False else repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"
