"""The built-in functions of expressions."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, cast

from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.expressions.values import (
    bounded,
    equals,
    fold,
    is_primitive,
    tidy_number,
    to_text,
)
from coterie_protocols.workflow.model import Json

Function = Callable[..., Json]
"""Takes the evaluated arguments, one by one."""

ARGUMENTS_MAX: Final = 255
JSON_DEPTH_MAX: Final = 100

_INDEX = re.compile(r"[0-9]+")


def contains(search: Json, item: Json) -> bool:
    """True where the array holds an item equal to `item`, or the text of `search` that of `item`, ignoring case."""
    if isinstance(search, list):
        return any(equals(item, one) for one in search)
    return is_primitive(search) and is_primitive(item) and fold(to_text(item)) in fold(to_text(search))


def starts_with(text: Json, prefix: Json) -> bool:
    """True where the one text begins with the other, ignoring case."""
    return is_primitive(text) and is_primitive(prefix) and fold(to_text(text)).startswith(fold(to_text(prefix)))


def ends_with(text: Json, suffix: Json) -> bool:
    """True where the one text ends with the other, ignoring case."""
    return is_primitive(text) and is_primitive(suffix) and fold(to_text(text)).endswith(fold(to_text(suffix)))


def format_text(template: Json, *arguments: Json) -> str:
    """The template with `{0}`, `{1}`, … replaced; `{{` and `}}` stand for single braces."""
    text = to_text(template)
    parts: list[str] = []
    at = total = 0
    while at < len(text):
        brace = _next_brace(text, at)
        parts.append(text[at:brace])
        if brace == len(text):
            break
        if text[brace : brace + 2] in ("{{", "}}"):
            parts.append(text[brace])
            at = brace + 2
        else:
            index, at = _placeholder(text, brace)
            if index >= len(arguments):
                message = f"The following format string references more arguments than were supplied: {text}"
                raise ExpressionError("evaluation", message)
            parts.append(to_text(arguments[index]))
        total += len(parts[-1]) + len(parts[-2])
        bounded(total)
    return "".join(parts)


def _next_brace(text: str, at: int) -> int:
    found = [place for place in (text.find("{", at), text.find("}", at)) if place >= 0]
    return min(found, default=len(text))


def _placeholder(text: str, brace: int) -> tuple[int, int]:
    """The argument that `{n}` at `brace` names, and where the text goes on."""
    match = _INDEX.match(text, brace + 1)
    if text[brace] != "{" or match is None or text[match.end() : match.end() + 1] != "}" or len(match[0]) > 3:
        raise ExpressionError("evaluation", f"The following format string is invalid: {text}")
    return int(match[0]), match.end() + 1


def join(items: Json, separator: Json = ",") -> str:
    """The texts of an array's items with a separator between them; a single value is its own text."""
    if not isinstance(items, list):
        return to_text(items) if is_primitive(items) else ""
    between = to_text(separator) if is_primitive(separator) else ","
    texts = [to_text(item) for item in items]
    bounded(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def to_json(value: Json) -> str:
    """The value as JSON, indented by two spaces."""
    try:
        text = json.dumps(_plain(value), indent=2, ensure_ascii=False)
    except RecursionError:
        raise ExpressionError("evaluation", "The value is nested too deeply for toJSON") from None
    bounded(len(text))
    return text


def _plain(value: Json) -> Json:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return tidy_number(value)
    return value


def from_json(text: Json) -> Json:
    """The value that a JSON text spells; of keys that differ only in case the first counts."""
    source = to_text(text)
    if not source.strip():
        raise ExpressionError("evaluation", "empty input")
    try:
        value = cast(Json, json.loads(source, object_pairs_hook=_object, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        raise ExpressionError("evaluation", "Error parsing JSON when evaluating fromJson") from None
    if not _is_shallow(value):
        raise ExpressionError("evaluation", f"The JSON is nested more than {JSON_DEPTH_MAX} deep")
    return value


def _is_shallow(value: Json) -> bool:
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        below: list[Json] = []
        for item in level:
            if isinstance(item, list):
                below.extend(item)
            elif isinstance(item, dict):
                below.extend(item.values())
        if not below:
            return True
        level = below
    return False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    seen: set[str] = set()
    result: dict[str, Json] = {}
    for key, value in pairs:
        folded = fold(key)
        if folded not in seen:
            seen.add(folded)
            result[key] = value
    return result


ARITIES: Final[Mapping[str, tuple[int, int]]] = {
    "contains": (2, 2),
    "endswith": (2, 2),
    "format": (1, ARGUMENTS_MAX),
    "fromjson": (1, 1),
    "join": (1, 2),
    "startswith": (2, 2),
    "tojson": (1, 1),
    "case": (3, ARGUMENTS_MAX),
}
"""The built-in functions with their least and most argument counts. `case` is the evaluator's, as it is lazy."""

BUILT_IN: Final[Mapping[str, Function]] = {
    "contains": contains,
    "endswith": ends_with,
    "format": format_text,
    "fromjson": from_json,
    "join": join,
    "startswith": starts_with,
    "tojson": to_json,
}
