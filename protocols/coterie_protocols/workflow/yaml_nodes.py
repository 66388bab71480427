"""A YAML document as nodes that know where they stand; lines and columns count from 1."""

from collections.abc import Iterable
from typing import NamedTuple

from coterie_protocols.workflow.model import Position


class Scalar(NamedTuple):
    """A single value. `text` is as written, `value` what the YAML 1.2 core schema makes of it.

    `style` is None for a plain scalar, else `'`, `"`, `|` or `>`.
    """

    value: bool | int | float | str | None
    text: str
    style: str | None
    line: int
    column: int

    @property
    def position(self) -> Position:
        """Where the scalar begins."""
        return Position(self.line, self.column)


class Sequence(NamedTuple):
    """A list."""

    items: "tuple[Node, ...]"
    line: int
    column: int

    @property
    def position(self) -> Position:
        """Where the list begins."""
        return Position(self.line, self.column)


class Entry(NamedTuple):
    """A key and its value."""

    key: Scalar
    value: "Node"


class Mapping(NamedTuple):
    """Keys and values in their order."""

    entries: tuple[Entry, ...]
    line: int
    column: int

    @property
    def position(self) -> Position:
        """Where the map begins."""
        return Position(self.line, self.column)


Node = Scalar | Sequence | Mapping


def descend(node: Node, path: Iterable[str | int]) -> Node:
    """The node that keys and indices lead to, or the deepest on the way there."""
    for step in path:
        below: Node | None = None
        if isinstance(node, Mapping):
            below = next((entry.value for entry in node.entries if entry.key.text == step), None)
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            below = node.items[step]
        if below is None:
            return node
        node = below
    return node
