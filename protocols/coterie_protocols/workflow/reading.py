"""Takes a file's nodes for what a key expects, and collects every complaint with its place."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from coterie_protocols.workflow import yaml_nodes
from coterie_protocols.workflow.availability import Scope
from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.expressions.lexer import SOURCE_CHARS_MAX
from coterie_protocols.workflow.expressions.parser import parse_expression
from coterie_protocols.workflow.expressions.syntax import Expression, contexts_used
from coterie_protocols.workflow.expressions.template import (
    OPEN,
    condition_source,
    format_source,
    parts_of,
    whole_expression,
)
from coterie_protocols.workflow.expressions.values import fold, to_text
from coterie_protocols.workflow.model import Expr, Position, Problem
from coterie_protocols.workflow.yaml_nodes import Entry, Node, Scalar, Sequence

PROBLEMS_MAX: Final = 100
"""More problems of one file than a person would read are only counted."""

INSERT: Final = re.compile(r"\$\{\{\s*insert\s*\}\}")
"""The key whose value, a map, takes its place among the entries."""

_KINDS: Final = {Scalar: "scalar", Sequence: "sequence", yaml_nodes.Mapping: "mapping"}


class Reading:
    """One reading of one file."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._problems: list[Problem] = []
        self._left_out = 0
        self._warned: set[str] = set()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was complained about so far, in the order of the file."""
        ordered = sorted(self._problems, key=lambda one: (one.position.line, one.position.column))
        if self._left_out:
            ordered.append(Problem(f"… and {self._left_out} more problems", ordered[-1].position))
        return tuple(ordered)

    @property
    def failed(self) -> bool:
        """True once there was an error."""
        return any(problem.severity == "error" for problem in self._problems)

    def error(self, at: Node | Position, message: str) -> None:
        """Notes what is wrong."""
        self.add(Problem(message, at if isinstance(at, Position) else at.position))

    def add(self, problem: Problem) -> None:
        """Notes a problem, or counts it when there are too many."""
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)
        else:
            self._left_out += 1

    def warning(self, at: Node | Position, message: str) -> None:
        """Notes once what is harmless but should be known."""
        if message not in self._warned:
            self._warned.add(message)
            self.add(Problem(message, at if isinstance(at, Position) else at.position, "warning"))

    def refuse(self, at: Node | Position, feature: str) -> None:
        """Notes that `feature` is known to GitHub and not supported here yet."""
        self.error(at, f"{feature} is not supported yet")

    def mapping(self, node: Node) -> dict[str, Entry]:
        """The entries of a map with any keys; keys that differ only in case are errors."""
        if not isinstance(node, yaml_nodes.Mapping):
            self.unexpected(node)
            return {}
        result: dict[str, Entry] = {}
        folded: set[str] = set()
        for entry in node.entries:
            name = self.key(entry)
            if name is None:
                continue
            key = fold(name)
            if key in folded:
                self.error(entry.key, f"'{name}' is already defined")
            else:
                folded.add(key)
                result[name] = entry
        return result

    def key(self, entry: Entry) -> str | None:
        """A key as text; an expression there is an error."""
        name = to_text(entry.key.value)
        if INSERT.fullmatch(name):
            self.refuse(entry.key, "'${{ insert }}' here")
            return None
        if OPEN in name:
            self.error(entry.key, "A template expression is not allowed in this context")
            return None
        return name

    def fields(self, node: Node, known: Collection[str]) -> dict[str, Entry]:
        """The entries of a map whose keys are all known."""
        found = self.mapping(node)
        for name, entry in found.items():
            if name not in known:
                self.unknown(entry.key, name, known)
        return {name: entry for name, entry in found.items() if name in known}

    def unknown(self, at: Node, name: str, known: Iterable[str]) -> None:
        """Complains of a word, naming the known one that is most like it."""
        near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        self.error(at, f"Unexpected value '{name}'{hint}")

    def unexpected(self, node: Node) -> None:
        """Complains of a node of the wrong shape."""
        if isinstance(node, Scalar):
            self.error(node, f"Unexpected value '{to_text(node.value)}'")
        else:
            self.error(node, f"A {_KINDS[type(node)]} was not expected")

    def text(self, node: Node) -> str | None:
        """A scalar as text, without expressions."""
        if not isinstance(node, Scalar):
            self.unexpected(node)
            return None
        text = to_text(node.value)
        if OPEN in text:
            self.error(node, "A template expression is not allowed in this context")
            return None
        return text

    def name(self, node: Node) -> str | None:
        """The same, not empty."""
        text = self.text(node)
        if text == "":
            self.error(node, "Unexpected value ''")
            return None
        return text

    def texts(self, node: Node) -> list[tuple[str, Node]]:
        """One text or a list of them, each with its node."""
        items = node.items if isinstance(node, Sequence) else (node,)
        found = [(self.name(item), item) for item in items]
        return [(text, item) for text, item in found if text is not None]

    def template(self, node: Node, scope: Scope) -> str | None:
        """A scalar that may hold expressions, each checked against what `scope` allows."""
        if not isinstance(node, Scalar):
            self.unexpected(node)
            return None
        text = to_text(node.value)
        if OPEN in text and not self._check_template(node, text, scope):
            return None
        return text

    def templates(self, node: Node, scope: Scope) -> Mapping[str, str]:
        """A map of such scalars."""
        if isinstance(node, Scalar):
            if node.value is None:
                return {}
            if isinstance(node.value, str) and OPEN in node.value:
                self.refuse(node, "A whole map given by an expression")
                return {}
        found = {name: self.template(entry.value, scope) for name, entry in self.mapping(node).items()}
        return {name: text for name, text in found.items() if text is not None}

    def boolean(self, node: Node, scope: Scope | None = None) -> bool | Expr | None:
        """True, false, or where `scope` is given one whole expression."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        return self._expression(node, scope)

    def number(self, node: Node, scope: Scope | None = None) -> float | Expr | None:
        """A number, or where `scope` is given one whole expression."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
        return self._expression(node, scope)

    def condition(self, node: Node, scope: Scope) -> str | None:
        """The source of an `if`."""
        if not isinstance(node, Scalar):
            self.unexpected(node)
            return None
        text = to_text(node.value)
        try:
            source = condition_source(text)
            self._check(parse_expression(source, scope.contexts, scope.functions), node)
        except ExpressionError as error:
            self._complain(node, text, 0 if OPEN in text else text.find(text.strip()), error)
            return None
        if OPEN in text and whole_expression(text) is None:
            message = "Text around ${{ }} makes this condition a string, which is always true"
            self.warning(node, message)
        return source

    def _expression(self, node: Node, scope: Scope | None) -> Expr | None:
        text = node.value if isinstance(node, Scalar) else None
        if scope is None or not isinstance(text, str) or OPEN not in text:
            self.unexpected(node)
            return None
        if not self._check_template(node, text, scope):
            return None
        source = whole_expression(text)
        if source is None:
            self.unexpected(node)
            return None
        return Expr(source)

    def _check_template(self, node: Node, text: str, scope: Scope) -> bool:
        start = 0
        try:
            parts = parts_of(text)
            if len(text) > SOURCE_CHARS_MAX / 2 and len(format_source(text)) > SOURCE_CHARS_MAX:
                raise ExpressionError("parsing", f"Exceeded max expression length {SOURCE_CHARS_MAX}")
            for part in parts:
                if part.is_expression:
                    start = part.offset
                    self._check(parse_expression(part.text, scope.contexts, scope.functions), node)
        except ExpressionError as error:
            self._complain(node, text, start, error)
            return False
        return True

    def _check(self, expression: Expression, node: Node) -> None:
        used = contexts_used(expression)
        if "secrets" in used:
            self.refuse(node, "The secrets context")
        if "vars" in used:
            self.warning(node, "There are no configuration variables here yet: the vars context is empty")

    def _complain(self, node: Node, text: str, start: int, error: ExpressionError) -> None:
        position = node.position
        if isinstance(node, Scalar) and text == node.text:
            position = self._locate(node, start + (error.offset or 0))
        self.add(Problem(error.message, position, holder=None if position == node.position else node.position))

    def _locate(self, node: Scalar, offset: int) -> Position:
        """Where the character at `offset` of a scalar stands, as far as its style lets that be known."""
        before = node.text[:offset]
        if node.style == "|":
            line = node.line + 1 + before.count("\n")
            start = before.rfind("\n") + 1
            content = node.text[start:].split("\n", 1)[0]
            if line <= len(self._lines) and self._lines[line - 1].endswith(content):
                indent = len(self._lines[line - 1]) - len(content)
                return Position(line, indent + offset - start + 1)
        elif node.style != ">" and node.line <= len(self._lines):
            found = self._lines[node.line - 1].find(node.text, node.column - 1)
            if found >= 0:
                return Position(node.line, found + offset + 1)
        return node.position
