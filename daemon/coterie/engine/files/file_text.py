"""The text of a workflow file as plain values, and where in the text each of them stands."""

import json
import math
from typing import Any, Final

from coterie.engine.model import Json
from coterie.engine.planning.spec_values import check_json
from coterie.engine.templates import CONTEXTS
from coterie_protocols.workflow.expressions.template import OPEN
from coterie_protocols.workflow.model import Position, Problem
from coterie_protocols.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence
from coterie_protocols.workflow.yaml_reader import FILE_BYTES_MAX, read_yaml_untrusted

START: Final = Position(1, 1)

Path = tuple[str | int, ...]


class FileText:
    """One file. `value` is what it holds; `problems` is why it could not be read, or what is wrong with its form.

    JSON takes the fast way through the standard library; where something in it is wrong, it is read once more as the
    YAML that it is, for the places.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.value: Json = None
        self.problems: tuple[Problem, ...] = ()
        self._root: Node | None = None
        if not self._read_json():
            self._root, self.problems = read_yaml_untrusted(text)
            if self._root is not None:
                self.value = self._value(self._root)

    def position(self, path: Path, at_key: bool = False) -> Position:
        """Where the value at the end of a path begins, or its key; of the deepest there is on the way."""
        node, position = self.node(()), START
        for index, part in enumerate(path):
            entry = _entry(node, part)
            if entry is None:
                break
            key, node = entry
            position = key if index == len(path) - 1 and at_key else node.position
        return position if path else START

    def node(self, path: Path) -> Node:
        """The node at the end of a path, or the deepest on the way there."""
        if self._root is None:
            self._root = read_yaml_untrusted(self.text)[0] or Scalar(None, "", None, 1, 1)
        node = self._root
        for part in path:
            entry = _entry(node, part)
            if entry is None:
                break
            node = entry[1]
        return node

    def fault_position(self, path: Path, otherwise: Position) -> Position:
        """Where in the text at a path a template or an `if` cannot be read; `otherwise` where all of it can."""
        node, condition = self.node(path), path[-1] == "if"
        if not isinstance(node, Scalar) or not (condition or OPEN in node.text):
            return otherwise
        from coterie_protocols.workflow.availability import Scope
        from coterie_protocols.workflow.reading import Reading

        reading = Reading(self.text)
        _ = reading.condition(node, Scope(CONTEXTS)) if condition else reading.template(node, Scope(CONTEXTS))
        faults = [problem.position for problem in reading.problems if problem.severity == "error"]
        return faults[0] if faults else otherwise

    def places(self, path: Path) -> dict[str, Position]:
        """Where the keys of the map at a path stand; of JSON, which is only read for places where needed, none."""
        node = self.node(path) if self._root is not None else None
        return {entry.key.text: entry.key.position for entry in node.entries} if isinstance(node, Mapping) else {}

    def _read_json(self) -> bool:
        """False where it is not quite clean JSON: YAML's reader then says what is wrong and where."""
        if not self.text.lstrip("\ufeff \t\r\n").startswith("{") or len(self.text) > FILE_BYTES_MAX // 4:
            return False
        try:
            self.value = json.loads(self.text.removeprefix("\ufeff"), object_pairs_hook=_unique, parse_constant=_refuse)
            check_json([self.value])
        except (ValueError, RecursionError):
            return False
        return True

    def _value(self, node: Node) -> Json:
        match node:
            case Scalar(value=value):
                if isinstance(value, float) and not math.isfinite(value):
                    self._complain(node, f"'{node.text}' cannot be kept as JSON")
                return value
            case Sequence(items=items):
                return [self._value(item) for item in items]
            case Mapping(entries=entries):
                return {entry.key.text: self._value(entry.value) for entry in entries}

    def _complain(self, node: Node, message: str) -> None:
        self.problems = (*self.problems, Problem(message, node.position))


def _entry(node: Node, part: str | int) -> tuple[Position, Node] | None:
    if isinstance(node, Mapping):
        found: Entry | None = next((entry for entry in node.entries if entry.key.text == part), None)
        return None if found is None else (found.key.position, found.value)
    if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
        return node.items[part].position, node.items[part]
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is there twice")
    return result


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
