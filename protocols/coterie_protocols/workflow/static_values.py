"""Evaluates what is known before a run starts: matrices, labels, names."""

from collections.abc import Mapping
from typing import assert_never

from coterie_protocols.workflow.availability import Scope
from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.expressions.evaluator import evaluate
from coterie_protocols.workflow.expressions.parser import parse_expression
from coterie_protocols.workflow.expressions.syntax import contexts_used
from coterie_protocols.workflow.expressions.template import OPEN, parts_of, whole_expression
from coterie_protocols.workflow.expressions.values import bounded, to_text
from coterie_protocols.workflow.model import Json, Position
from coterie_protocols.workflow.reading import INSERT, Reading
from coterie_protocols.workflow.yaml_nodes import Entry, Node, Scalar, Sequence
from coterie_protocols.workflow.yaml_nodes import Mapping as MappingNode


class NotStatic(Exception):
    """A value cannot be known now; the reading already holds the reason."""


class StaticValues:
    """Evaluates nodes of one place in a file with the contexts that are known before the run."""

    def __init__(self, reading: Reading, scope: Scope, contexts: Mapping[str, Json]) -> None:
        self._reading = reading
        self._scope = scope
        self._contexts = contexts

    def value(self, node: Node) -> Json:
        """The node with every expression replaced by its value. Raises NotStatic."""
        match node:
            case Scalar():
                return self._scalar(node)
            case Sequence():
                return self._sequence(node)
            case MappingNode():
                return self._mapping(node)
            case _:
                assert_never(node)

    def expression(self, source: str, at: Node | Position) -> Json:
        """The value of one expression. Raises NotStatic."""
        try:
            expression = parse_expression(source, self._scope.contexts, self._scope.functions)
            if "needs" in contexts_used(expression):
                self._reading.refuse(at, "'needs' here (what is known only while the run goes on)")
                raise NotStatic
            return evaluate(expression, self._contexts)
        except ExpressionError as error:
            self._reading.error(at, error.message)
            raise NotStatic from None

    def template(self, text: str, at: Node | Position) -> Json:
        """The value of a text that may hold expressions. Raises NotStatic."""
        if OPEN not in text:
            return text
        try:
            source = whole_expression(text)
            if source is not None:
                return self.expression(source, at)
            texts = [
                to_text(self.expression(part.text, at)) if part.is_expression else part.text for part in parts_of(text)
            ]
            bounded(sum(map(len, texts)))
            return "".join(texts)
        except ExpressionError as error:
            self._reading.error(at, error.message)
            raise NotStatic from None

    def _scalar(self, node: Scalar) -> Json:
        return self.template(node.value, node) if isinstance(node.value, str) else node.value

    def _sequence(self, node: Sequence) -> Json:
        items: list[Json] = []
        for item in node.items:
            value = self.value(item)
            if isinstance(value, list) and isinstance(item, Scalar):
                items.extend(value)  # a list that an expression yields is spliced in
            else:
                items.append(value)
        return items

    def _mapping(self, node: MappingNode) -> Json:
        result: dict[str, Json] = {}
        for entry in node.entries:
            if self._is_insert(entry):
                value = self.value(entry.value)
                if not isinstance(value, dict):
                    self._reading.error(entry.value, "A mapping was expected")
                    raise NotStatic
                result.update(value)
            else:
                result[to_text(self._scalar(entry.key))] = self.value(entry.value)
        return result

    def _is_insert(self, entry: Entry) -> bool:
        key = entry.key.value
        return isinstance(key, str) and INSERT.fullmatch(key) is not None
