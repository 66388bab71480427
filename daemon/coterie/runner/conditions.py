"""Decides `if`, and says what it saw."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coterie_protocols.ops import Status
from coterie_protocols.workflow.expressions import (
    Expression,
    ExpressionError,
    Function,
    condition,
    condition_source,
    evaluate,
    has_status_function,
    parse_expression,
)
from coterie_protocols.workflow.expressions.syntax import Constant, Context, Index, Node, walk
from coterie_protocols.workflow.model import Json

Progress = Literal["success", "failure", "cancelled"]
_SHOWN_CHARS_MAX = 80
_SHOWN_MAX = 6


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to go on, and why in one line, with the values that the condition read."""

    holds: bool
    why: str


def status_functions(progress: Progress) -> dict[str, Function]:
    """success, failure, cancelled and always, as they stand."""
    return {
        "success": lambda *_: progress == "success",
        "failure": lambda *_: progress == "failure",
        "cancelled": lambda *_: progress == "cancelled",
        "always": lambda *_: True,
    }


def needs_functions(results: Mapping[str, Status]) -> dict[str, Function]:
    """The status functions of a job that has not begun, from the results of all jobs before it, by key."""

    def named(names: tuple[Json, ...]) -> list[Status]:
        keys = {str(name).lower() for name in names}
        return [result for key, result in results.items() if not keys or key.lower() in keys]

    return {
        "success": lambda *names: all(result == "success" for result in named(names)),
        "failure": lambda *names: "failure" in named(names),
        "cancelled": lambda *_: False,  # it asks for the run: of a cancelled run nothing is started
        "always": lambda *_: True,
    }


def decide(if_: str | None, contexts: Mapping[str, Json], functions: Mapping[str, Function]) -> Decision:
    """Evaluates an `if`; absent, or without a status function, it asks for success. Raises ExpressionError."""
    source = condition_source(if_ or "")
    holds = condition(source, contexts, functions)
    return Decision(holds, _explain(source, holds, contexts, functions))


def _explain(source: str, holds: bool, contexts: Mapping[str, Json], functions: Mapping[str, Function]) -> str:
    expression = parse_expression(source)
    implied = not has_status_function(expression)
    asked = source if not implied else f"success() && ({source})" if source else "success()"
    seen = [f"success() is {_show(evaluate('success()', contexts, functions))}"] if source and implied else []
    seen += [f"{path} is {_show(value)}" for path, value in _values_read(expression, contexts).items()]
    because = f" ({', '.join(seen[:_SHOWN_MAX])})" if seen else ""
    return f"the condition {asked} is {_show(holds)}{because}"


def _values_read(expression: Expression, contexts: Mapping[str, Json]) -> dict[str, Json]:
    """The paths like `needs.build.result` in an expression, and what they stand for."""
    nodes = list(walk(expression.tree))
    inner = {id(node.target) for node in nodes if isinstance(node, Index)}
    found: dict[str, Json] = {}
    for node in nodes:
        path = _path(node) if id(node) not in inner else None
        if path is not None:
            try:
                found[path] = evaluate(Expression(path, node), contexts)
            except ExpressionError:
                continue  # the condition as a whole had a value; a side branch may have none
    return found


def _path(node: Node) -> str | None:
    match node:
        case Context():
            return node.name
        case Index(target=target, index=Constant(value=str(name))):
            base = _path(target)
            return None if base is None else f"{base}.{name}"
        case _:
            return None


def _show(value: Json) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"
