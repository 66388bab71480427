"""Every complaint about a field is a BadMessage that names it."""

import math
from collections.abc import Callable

import pytest

from coterie_protocols.errors import BadMessage
from coterie_protocols.fields import Fields

MAP: dict[str, object] = {
    "text": "abc",
    "null": None,
    "hex": "00ff",
    "HEX": "00FF",
    "int": 5,
    "float": 5.5,
    "nan": math.nan,
    "flag": True,
    "list": ["a", "b"],
    "mixed": ["a", 1],
    "map": {"k": "v"},
    "mixed map": {"k": 1},
}


def f() -> Fields:
    """The map under test."""
    return Fields(MAP, "thing")


def test_what_is_read() -> None:
    assert f().raw("absent") is None
    assert f().text("text", 3) == f().optional_text("text") == f().choice("text", frozenset({"abc"})) == "abc"
    assert f().optional_text("null") is f().optional_text("absent") is None
    assert f().hex("hex", 2) == b"\x00\xff"
    assert f().integer("int", 5, 5) == 5
    assert f().number("int", 0, 9) == 5.0
    assert type(f().number("int", 0, 9)) is float
    assert f().number("float", 5.5, 5.5) == 5.5
    assert f().flag("flag") is True
    assert f().texts("list", 2, 1) == ("a", "b")
    assert f().texts("absent", 0) == ()
    assert f().text_map("map", 1, 1) == {"k": "v"}
    assert f().text_map("absent", 0, 0) == {}


BAD: dict[str, Callable[[], object]] = {
    "too long": lambda: f().text("text", 2),
    "text is null": lambda: f().text("null"),
    "text is absent": lambda: f().text("absent"),
    "text is a number": lambda: f().optional_text("int"),
    "another word": lambda: f().choice("text", frozenset({"abd", "x"})),
    "hex of another length": lambda: f().hex("hex", 1),
    "hex too short": lambda: f().hex("hex", 3),
    "upper-case hex": lambda: f().hex("HEX", 2),
    "not hex": lambda: f().hex("text", 2),
    "integer too small": lambda: f().integer("int", 6, 9),
    "integer too large": lambda: f().integer("int", 0, 4),
    "integer is a float": lambda: f().integer("float", 0, 9),
    "integer is true": lambda: f().integer("flag", 0, 9),
    "number is true": lambda: f().number("flag", 0, 9),
    "number is NaN": lambda: f().number("nan", 0, 9),
    "number is text": lambda: f().number("text", 0, 9),
    "flag is a number": lambda: f().flag("int"),
    "flag is absent": lambda: f().flag("absent"),
    "too many": lambda: f().texts("list", 1),
    "item too long": lambda: f().texts("list", 2, 0),
    "item is no text": lambda: f().texts("mixed", 2),
    "list is a map": lambda: f().texts("map", 9),
    "list is null": lambda: f().texts("null", 9),
    "map is a list": lambda: f().text_map("list", 9, 9),
    "map too large": lambda: f().text_map("map", 0, 9),
    "value too long": lambda: f().text_map("map", 1, 0),
    "value is no text": lambda: f().text_map("mixed map", 1, 9),
    "not a map at all": lambda: Fields(["a"], "thing"),
}


@pytest.mark.parametrize("read", BAD.values(), ids=BAD)
def test_what_is_refused(read: Callable[[], object]) -> None:
    with pytest.raises(BadMessage, match=r"^thing: "):
        read()
