"""Values that are typed on a command line, as the JSON that is wanted."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coterie_protocols.errors import UserError

BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "1", "on"), True),
    **dict.fromkeys(("false", "no", "n", "0", "off"), False),
}


class Misfit(UserError):
    """A text that is not of the type that is wanted."""

    code = "bad-value"
    exit_code = 65


def typed(name: str, text: str, type_: str, options: Sequence[Any] = ()) -> Any:
    """`text` as a value of a JSON Schema type, or as one of `options`. Raises Misfit, which names it by `name`."""
    for option in options:
        if text == option or text == _shown(option):
            return option
    if options:
        raise Misfit(f"{name} must be one of {', '.join(map(_shown, options))}, not {text!r}")
    match type_:
        case "boolean":
            return _boolean(name, text)
        case "integer" | "number":
            return _number(name, text, int if type_ == "integer" else float)
        case "object" | "array":
            return _json(name, text, type_)
        case _:
            return text


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """K=V texts by name. Raises UserError where one has no `=`, or where a name is there twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UserError(f"{option}{text!r} is not of the form NAME=VALUE", f"for example: {option}target=prod")
        if name in found:
            raise UserError(f"{name} is given twice", "give it once")
        found[name] = value
    return found


def property_value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    """`text` as a value of a property of a JSON Schema. Raises Misfit."""
    return typed(name, text, str(schema.get("type", "string")), schema.get("enum", ()))


def _boolean(name: str, text: str) -> bool:
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        raise Misfit(f"{name} must be true or false, not {text!r}")
    return value


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    word = "a whole number" if kind is int else "a number"
    for read in (int, kind):  # 3 stays 3 where any number will do
        try:
            value = read(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    raise Misfit(f"{name} must be {word}, not {text!r}")


def _json(name: str, text: str, type_: str) -> Any:
    try:
        value: object = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict if type_ == "object" else list):
        raise Misfit(f"{name} must be a JSON {type_}, not {text!r}")
    return value  # pyright: ignore[reportUnknownVariableType]  # whatever JSON it is


def _shown(option: Any) -> str:
    return option if isinstance(option, str) else json.dumps(option, ensure_ascii=False)
