"""The tree of an expression, and questions about what occurs in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, assert_never

STATUS_FUNCTIONS: Final = frozenset({"success", "failure", "cancelled", "always"})

CompareSign = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    value: bool | float | str | None


@dataclass(frozen=True, slots=True)
class Context:
    """A named value such as `github`; `name` as written."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Index:
    """`target.name` or `target[index]`."""

    target: "Node"
    index: "Node"


@dataclass(frozen=True, slots=True)
class Filter:
    """`target.*` or `target[*]`."""

    target: "Node"


@dataclass(frozen=True, slots=True)
class Not:
    """`!operand`."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison; a chain of them associates to the left."""

    sign: CompareSign
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Logical:
    """`a && b && …` or `a || b || …`: yields the operand that decides."""

    sign: Literal["&&", "||"]
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; `name` is in lower case."""

    name: str
    arguments: tuple["Node", ...]
    offset: int


Node = Constant | Context | Index | Filter | Not | Compare | Logical | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. `tree` is None for one that holds nothing, which evaluates to null."""

    source: str
    tree: Node | None


def walk(node: Node | None) -> Iterator[Node]:
    """`node` and all nodes below it."""
    pending = [] if node is None else [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(_children(current))


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Constant() | Context():
            return ()
        case Index():
            return (node.target, node.index)
        case Filter():
            return (node.target,)
        case Not():
            return (node.operand,)
        case Compare():
            return (node.left, node.right)
        case Logical():
            return node.operands
        case Call():
            return node.arguments
        case _:
            assert_never(node)


def contexts_used(expression: Expression) -> frozenset[str]:
    """The named values that the expression reads, in lower case."""
    return frozenset(node.name.lower() for node in walk(expression.tree) if isinstance(node, Context))


def functions_used(expression: Expression) -> frozenset[str]:
    """The functions that the expression calls, in lower case."""
    return frozenset(node.name for node in walk(expression.tree) if isinstance(node, Call))


def has_status_function(expression: Expression) -> bool:
    """True where success, failure, cancelled or always is called anywhere in the tree."""
    return not STATUS_FUNCTIONS.isdisjoint(functions_used(expression))
