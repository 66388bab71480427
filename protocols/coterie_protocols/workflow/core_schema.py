"""The YAML 1.2 core schema: what a scalar's text means. Source: yaml.org/spec/1.2.2, section 10.3.2."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

Value = None | bool | int | float | str

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY: Final = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER: Final = frozenset({".nan", ".NaN", ".NAN"})
_FIRST_OF_A_NUMBER: Final = frozenset("+-.0123456789")
_DIGITS_MAX: Final = 308
"""Longer integers are read as doubles, so that no text costs quadratic time."""


def resolve_plain(text: str) -> Value:
    """The value of a plain scalar."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in _FIRST_OF_A_NUMBER:
        return text
    integer = _integer(text)
    if integer is not None:
        return integer
    number = _float(text)
    return text if number is None else number


def _integer(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= _DIGITS_MAX else float(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    return int(text[2:], 16) if _HEX.fullmatch(text) else None


def _float(text: str) -> float | None:
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    return math.nan if text in _NOT_A_NUMBER else None


def _null(text: str) -> Value:
    if text not in _NULLS:
        raise ValueError(text)
    return None


def _boolean(text: str) -> Value:
    if text not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text]


def _tagged_integer(text: str) -> int | float:
    number = _integer(text)
    if number is None:
        raise ValueError(text)
    return number


def _tagged_float(text: str) -> float:
    number = _float(text)
    return float(_tagged_integer(text)) if number is None else number


TAGS: Final[Mapping[str, Callable[[str], Value]]] = {
    "tag:yaml.org,2002:null": _null,
    "tag:yaml.org,2002:bool": _boolean,
    "tag:yaml.org,2002:int": _tagged_integer,
    "tag:yaml.org,2002:float": _tagged_float,
    "tag:yaml.org,2002:str": str,
}
"""The scalar tags of the schema; each reads a text or raises ValueError."""
