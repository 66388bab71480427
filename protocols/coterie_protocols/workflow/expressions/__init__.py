"""GitHub's expression language: `github.ref == 'refs/heads/main' && !cancelled()`."""

from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.expressions.evaluator import condition, evaluate
from coterie_protocols.workflow.expressions.functions import Function
from coterie_protocols.workflow.expressions.parser import parse_expression
from coterie_protocols.workflow.expressions.syntax import (
    Expression,
    contexts_used,
    functions_used,
    has_status_function,
)
from coterie_protocols.workflow.expressions.template import condition_source, evaluate_template, interpolate
from coterie_protocols.workflow.expressions.values import CaseSensitive, to_boolean, to_text

__all__ = [
    "CaseSensitive",
    "Expression",
    "ExpressionError",
    "Function",
    "condition",
    "condition_source",
    "contexts_used",
    "evaluate",
    "evaluate_template",
    "functions_used",
    "has_status_function",
    "interpolate",
    "parse_expression",
    "to_boolean",
    "to_text",
]
