"""YAML 1.2 with positions, from strangers."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.workflow.model import Position
from coterie_protocols.workflow.yaml_nodes import Mapping, Node, Scalar, Sequence, descend
from coterie_protocols.workflow.yaml_reader import ALIASED_NODES_MAX, FILE_BYTES_MAX, read_yaml_untrusted


def plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {entry.key.text: plain(entry.value) for entry in node.entries}


def read(text: str) -> Node:
    node, problems = read_yaml_untrusted(text)
    assert node is not None
    assert problems == ()
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("1_000", "1_000"),
        ("0o17", 15),
        ("0777", 777),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("+1", 1),
        ("1.2.3", "1.2.3"),
        ("12:30", "12:30"),
        ("2024-01-02", "2024-01-02"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("!!int 7", 7),
        ("!!float 7", 7.0),
        ("! 1", "1"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    got = plain(read(f"x: {text}"))["x"]
    assert got == value
    assert type(got) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(plain(read("x: .nan"))["x"])


def test_every_node_knows_where_it_begins() -> None:
    root = read("a:\n  - b: 'c'\n    d: [1, {e: f}]\n")
    assert descend(root, ["a"]).position == Position(2, 3)
    assert descend(root, ["a", 0, "b"]).position == Position(2, 8)
    assert descend(root, ["a", 0, "d", 1, "e"]).position == Position(3, 16)
    assert descend(root, ["a", 7, "x"]).position == Position(2, 3)


def test_an_anchor_may_be_defined_again() -> None:
    assert plain(read("a: &x 1\nb: *x\nc: &x 2\nd: *x\n")) == {"a": 1, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize(
    ("source", "message", "position"),
    [
        ("", "The file is empty", Position(1, 1)),
        (" \n\n", "The file is empty", Position(1, 1)),
        ("# only\n", "nothing but comments", Position(1, 1)),
        (b"ab\xff", "not text in UTF-8", Position(1, 3)),
        (b"\x7fELF\x02\x01", "U+007F", Position(1, 1)),
        ("a: 1\nb: \0", "U+0000", Position(2, 4)),
        ("a: \ud800", "U+D800", Position(1, 4)),
        ("a: 1\na: 2", "'a' is already defined", Position(2, 1)),
        ("a: !date 1", "Unexpected tag '!date'", Position(1, 4)),
        ("a: !!timestamp 2001-01-01", "Unexpected tag 'tag:yaml.org,2002:timestamp'", Position(1, 4)),
        ("a: !!set {}", "Unexpected tag", Position(1, 4)),
        ("a: !!int x", "The value 'x'", Position(1, 4)),
        ('a: !!int "1"', "The scalar style 'DoubleQuoted'", Position(1, 4)),
        ("a: &x [*x]", "stands within its own anchor", Position(1, 8)),
        ("a: *x", "has no anchor '&x'", Position(1, 4)),
        ("{a: 1}: 2", "A mapping was not expected", Position(1, 1)),
        ("? [a]\n: 1", "A sequence was not expected", Position(1, 3)),
        ("--- 1\n--- 2\n", "A second document", Position(2, 1)),
        ("a: [1", "Not YAML", Position(1, 6)),
        ("\ta: 1", "Not YAML", Position(1, 1)),
        ("[" * 60, "Maximum object depth exceeded", Position(1, 52)),
        ("x" * (FILE_BYTES_MAX + 1), "the limit is 1048576", Position(1, 1)),
    ],
)
def test_what_is_wrong_is_told_with_its_place(source: str | bytes, message: str, position: Position) -> None:
    _, problems = read_yaml_untrusted(source)
    assert message in problems[0].message
    assert problems[0].position == position


def test_aliases_cannot_grow_without_bound() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    node, problems = read_yaml_untrusted("\n".join(levels))
    assert node is None
    assert str(ALIASED_NODES_MAX) in problems[0].message


def test_a_deep_or_wide_file_is_answered_at_once() -> None:
    for text in ("[" * 500_000, "- " * 400_000, "{a: " * 200_000, "&a " * 300_000):
        node, problems = read_yaml_untrusted(text)
        assert node is None
        assert len(problems) == 1


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary(), st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t?,~")))
def test_nothing_is_ever_raised(source: str | bytes) -> None:
    node, problems = read_yaml_untrusted(source)
    assert isinstance(node, Scalar | Sequence | Mapping) or problems
