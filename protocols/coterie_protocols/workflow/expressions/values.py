"""The values of expressions and how one type becomes another.

Values are plain JSON values of Python; numbers are doubles to an expression, whether they are held as int or float.
Source of the rules: docs.github.com, "Evaluate expressions in workflows and actions", and GitHub's own test data.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.model import Json

RESULT_CHARS_MAX: Final = 10 * 1024 * 1024
"""How long a text an expression may build; nested `format` calls double it with every level."""

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_OCTAL = re.compile(r"0o[0-7]+")
_INFINITIES: Final = {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}
_DIGITS = 15


class FilteredArray(list[Json]):
    """What `.*` yields: a further `.name` or `[n]` applies to each of its items."""

    __slots__ = ()


class CaseSensitive(dict[str, Json]):
    """An object whose keys are found by their exact spelling; the `env` context is one."""

    __slots__ = ()


def is_primitive(value: Json) -> bool:
    """True for null, booleans, numbers and strings."""
    return not isinstance(value, list | dict)


def to_boolean(value: Json) -> bool:
    """False for null, false, 0, NaN and the empty string; everything else is true."""
    if isinstance(value, list | dict):
        return True
    return bool(value) and value == value


def to_number(value: Json) -> float:
    """The double that `value` coerces to; NaN where it does not."""
    if value is None:
        return 0.0
    if isinstance(value, bool | int | float):
        return _double(value)
    return parse_number(value) if isinstance(value, str) else math.nan


def parse_number(text: str) -> float:
    """The double that `text` spells, surrounding blanks aside; '' is 0, what is no number NaN."""
    text = text.strip()
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _HEX.fullmatch(text):
        return _double(int(text[2:], 16))
    if _OCTAL.fullmatch(text):
        return _double(int(text[2:], 8))
    return _INFINITIES.get(text, math.nan)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def to_text(value: Json) -> str:
    """The string that `value` coerces to: null is '', objects are 'Object', arrays 'Array'."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_to_text(value)
    return "Array" if isinstance(value, list) else "Object"


def number_to_text(number: float) -> str:
    """The number in .NET's format G15: 15 significant digits, exponents as in 1.5E+18 and 1E-05."""
    number = _double(number)
    if number == 0:
        return "0"
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    mantissa, _, exponent = format(number, f".{_DIGITS}g").partition("e")
    return f"{mantissa}E{exponent}" if exponent else mantissa


def tidy_number(number: float) -> int | float:
    """An int where the double is a whole number that JSON and Python can show as one."""
    whole = math.isfinite(number) and number == math.floor(number) and abs(number) < 2**53
    return int(number) if whole else number


def fold(text: str) -> str:
    """The key under which two strings are equal ignoring case: upper case, one character for one.

    As .NET's OrdinalIgnoreCase: no character grows (ß), and none outside ASCII falls together with one inside (ı, ſ).
    """
    if text.isascii():
        return text.upper()
    return "".join(_fold_character(character) for character in text)


def _fold_character(character: str) -> str:
    upper = character.upper()
    crosses = upper.isascii() and not character.isascii()
    return character if len(upper) != 1 or crosses else upper


def equals(left: Json, right: Json) -> bool:
    """GitHub's loose equality: strings ignore case, unlike types become numbers, objects are equal to themselves."""
    if isinstance(left, str) and isinstance(right, str):
        return left == right or fold(left) == fold(right)
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        return left is right
    if left is None and right is None:
        return True
    return to_number(left) == to_number(right)


def less(left: Json, right: Json) -> bool:
    """True where `left` comes before `right`; never for objects and NaN."""
    if isinstance(left, str) and isinstance(right, str):
        return _utf16(fold(left)) < _utf16(fold(right))
    return to_number(left) < to_number(right)


def _utf16(text: str) -> bytes:
    """The bytes by which .NET orders strings: by UTF-16 code unit."""
    return text.encode("utf-16-be", "surrogatepass")


def member(container: Mapping[str, Json], name: str) -> tuple[bool, Json]:
    """Whether `container` has `name`, and its value; names ignore case unless the object minds it."""
    if name in container:
        return True, container[name]
    if isinstance(container, CaseSensitive):
        return False, None
    folded = fold(name)
    for key, value in container.items():
        if fold(key) == folded:
            return True, value
    return False, None


def bounded(length: int) -> None:
    """Refuses a text that has grown beyond RESULT_CHARS_MAX."""
    if length > RESULT_CHARS_MAX:
        raise ExpressionError("evaluation", f"The expression yields a text of more than {RESULT_CHARS_MAX} characters")
