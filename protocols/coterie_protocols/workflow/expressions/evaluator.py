"""Computes the value of an expression from contexts and functions."""

import math
from collections.abc import Mapping
from typing import Final, assert_never

from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.expressions.functions import BUILT_IN, Function
from coterie_protocols.workflow.expressions.parser import CONTEXTS, parse_expression
from coterie_protocols.workflow.expressions.syntax import (
    Call,
    Compare,
    CompareSign,
    Constant,
    Context,
    Expression,
    Filter,
    Index,
    Logical,
    Node,
    Not,
    has_status_function,
)
from coterie_protocols.workflow.expressions.values import (
    CaseSensitive,
    FilteredArray,
    equals,
    is_primitive,
    less,
    member,
    to_boolean,
    to_number,
    to_text,
)
from coterie_protocols.workflow.model import Json

NO_FUNCTIONS: Final[Mapping[str, Function]] = {}


def evaluate(
    expression: str | Expression,
    contexts: Mapping[str, Json],
    functions: Mapping[str, Function] = NO_FUNCTIONS,
) -> Json:
    """The value of an expression, given without `${{ }}`.

    `functions` supplies what depends on the job: success, failure, always, cancelled, hashFiles; names ignore case.
    A known context that is not supplied is null. Raises ExpressionError.
    """
    if isinstance(expression, str):
        expression = parse_expression(expression, CONTEXTS.union(name.lower() for name in contexts))
    if expression.tree is None:
        return None
    return _Evaluator(contexts, functions).value(expression.tree)


def condition(
    source: str | None,
    contexts: Mapping[str, Json],
    functions: Mapping[str, Function],
) -> bool:
    """Whether an `if` holds; without a status function in its tree it also asks for `success()`.

    `source` is an expression without `${{ }}`; None and the empty string ask for success alone.
    """
    expression = parse_expression(source or "", CONTEXTS.union(name.lower() for name in contexts))
    if expression.tree is None:
        return to_boolean(evaluate("success()", contexts, functions))
    if not has_status_function(expression) and not to_boolean(evaluate("success()", contexts, functions)):
        return False
    return to_boolean(evaluate(expression, contexts, functions))


class _Evaluator:
    __slots__ = ("_contexts", "_functions")

    def __init__(self, contexts: Mapping[str, Json], functions: Mapping[str, Function]) -> None:
        self._contexts = {name.lower(): value for name, value in contexts.items()}
        self._functions = {name.lower(): function for name, function in functions.items()}

    def value(self, node: Node) -> Json:
        match node:
            case Constant():
                return node.value
            case Context():
                return self._context(node.name.lower())
            case Index():
                index = self.value(node.index)
                return _item(self.value(node.target), index)
            case Filter():
                return _filtered(self.value(node.target))
            case Not():
                return not to_boolean(self.value(node.operand))
            case Compare():
                return self._compare(node)
            case Logical():
                return self._logical(node)
            case Call():
                return self._call(node)
            case _:
                assert_never(node)

    def _context(self, name: str) -> Json:
        value = self._contexts.get(name)
        if name == "env" and isinstance(value, dict) and not isinstance(value, CaseSensitive):
            value = self._contexts[name] = CaseSensitive(value)
        return value

    def _compare(self, node: Compare) -> Json:
        chain = [node]
        while isinstance(chain[-1].left, Compare):  # no limit of depth holds for `a == b == c == …`
            chain.append(chain[-1].left)
        value = self.value(chain[-1].left)
        for link in reversed(chain):
            value = _compared(link.sign, value, self.value(link.right))
        return value

    def _logical(self, node: Logical) -> Json:
        decides = node.sign == "||"
        result: Json = None
        for operand in node.operands:
            result = self.value(operand)
            if to_boolean(result) is decides:
                break
        return result

    def _call(self, node: Call) -> Json:
        if node.name == "case":
            return self._case(node)
        function = self._functions.get(node.name) or BUILT_IN.get(node.name)
        if function is None:
            raise ExpressionError("evaluation", f"The function '{node.name}' is not available here", node.offset)
        return function(*(self.value(argument) for argument in node.arguments))

    def _case(self, node: Call) -> Json:
        *pairs, default = node.arguments
        for predicate, value in zip(pairs[::2], pairs[1::2], strict=True):
            holds = self.value(predicate)
            if not isinstance(holds, bool):
                raise ExpressionError("evaluation", "case predicate must evaluate to a boolean value", node.offset)
            if holds:
                return self.value(value)
        return self.value(default)


def _compared(sign: CompareSign, left: Json, right: Json) -> bool:
    match sign:
        case "==":
            return equals(left, right)
        case "!=":
            return not equals(left, right)
        case "<":
            return less(left, right)
        case "<=":
            return equals(left, right) or less(left, right)
        case ">":
            return less(right, left)
        case ">=":
            return equals(left, right) or less(right, left)
        case _:
            assert_never(sign)


def _item(target: Json, index: Json) -> Json:
    if isinstance(target, FilteredArray):
        found = [_lookup(one, index) for one in target]
        return FilteredArray(value for present, value in found if present)
    return _lookup(target, index)[1]


def _lookup(target: Json, index: Json) -> tuple[bool, Json]:
    if isinstance(target, dict):
        return member(target, to_text(index)) if is_primitive(index) else (False, None)
    if not isinstance(target, list):
        return False, None
    place = to_number(index)
    if not 0 <= place < len(target):
        return False, None
    return True, target[math.floor(place)]


def _filtered(target: Json) -> FilteredArray:
    if isinstance(target, FilteredArray):
        return FilteredArray(item for one in target for item in _filtered_items(one))
    return FilteredArray(_filtered_items(target))


def _filtered_items(target: Json) -> list[Json]:
    if isinstance(target, dict):
        return list(target.values())
    return target if isinstance(target, list) else []
