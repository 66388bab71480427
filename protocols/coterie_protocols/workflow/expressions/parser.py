"""Reads the tree of an expression by recursive descent, with GitHub's limits and messages."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, cast

from coterie_protocols.workflow.expressions.errors import ExpressionError, located
from coterie_protocols.workflow.expressions.functions import ARGUMENTS_MAX, ARITIES
from coterie_protocols.workflow.expressions.lexer import Kind, Token, tokens_of
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
)

DEPTH_MAX: Final = 50
PARSED_MAX: Final = 4096
"""How many parsed expressions are remembered: a matrix evaluates the same few again and again."""

Arity = tuple[int, int]

CONTEXTS: Final = frozenset(
    {
        "github",
        "env",
        "vars",
        "job",
        "jobs",
        "steps",
        "runner",
        "secrets",
        "strategy",
        "matrix",
        "needs",
        "inputs",
    }
)
HOST_FUNCTIONS: Final[Mapping[str, Arity]] = {
    "success": (0, ARGUMENTS_MAX),
    "failure": (0, ARGUMENTS_MAX),
    "always": (0, 0),
    "cancelled": (0, 0),
    "hashfiles": (1, ARGUMENTS_MAX),
}
"""Functions that whoever evaluates must supply, as they ask about the job and its files."""

_EQUALITIES: Final = frozenset({Kind.EQUAL, Kind.NOT_EQUAL})
_ORDERS: Final = frozenset({Kind.LESS, Kind.LESS_EQUAL, Kind.GREATER, Kind.GREATER_EQUAL})


def parse_expression(
    source: str,
    contexts: Collection[str] = CONTEXTS,
    functions: Mapping[str, Arity] = HOST_FUNCTIONS,
) -> Expression:
    """The tree of `source`, given without `${{ }}`.

    `contexts` are the named values that may occur, `functions` those beyond the built-in ones with their least and
    most argument counts; both are named in lower case. Raises ExpressionError of kind lexing or parsing.
    """
    return _parse(source, frozenset(contexts), tuple(sorted(functions.items())))


@lru_cache(maxsize=PARSED_MAX)
def _parse(source: str, contexts: frozenset[str], functions: tuple[tuple[str, Arity], ...]) -> Expression:
    return _Parser(source, contexts, {**ARITIES, **dict(functions)}).parse()


class _Parser:
    __slots__ = ("_at", "_contexts", "_depth", "_functions", "_source", "_tokens")

    def __init__(self, source: str, contexts: frozenset[str], functions: Mapping[str, Arity]) -> None:
        self._source = source
        self._tokens = tokens_of(source)
        self._contexts = contexts
        self._functions = functions
        self._at = 0
        self._depth = 0

    def parse(self) -> Expression:
        if self._peek().kind is Kind.END:
            return Expression(self._source, None)
        tree = self._expression()
        if self._peek().kind is not Kind.END:
            raise self._unexpected()
        return Expression(self._source, tree)

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _match(self, kind: Kind) -> bool:
        found = self._peek().kind is kind
        self._at += found
        return found

    def _expect(self, kind: Kind) -> None:
        if not self._match(kind):
            raise self._unexpected()

    def _unexpected(self) -> ExpressionError:
        token = self._peek()
        if token.kind is not Kind.END:
            return located("parsing", "Unexpected symbol", token.text, token.offset, self._source)
        last = self._tokens[self._at - 1]
        return located("parsing", "Unexpected end of expression", last.text, last.offset, self._source)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionError("parsing", f"Exceeded max expression depth {DEPTH_MAX}", self._peek().offset)

    def _expression(self) -> Node:
        self._deeper()
        node = self._or()
        self._depth -= 1
        return node

    def _or(self) -> Node:
        first = self._and()
        if self._peek().kind is not Kind.OR:
            return first
        self._deeper()
        operands = [first]
        while self._match(Kind.OR):
            operands.append(self._and())
        self._depth -= 1
        return Logical("||", tuple(operands))

    def _and(self) -> Node:
        first = self._equality()
        if self._peek().kind is not Kind.AND:
            return first
        self._deeper()
        operands = [first]
        while self._match(Kind.AND):
            operands.append(self._equality())
        self._depth -= 1
        return Logical("&&", tuple(operands))

    def _equality(self) -> Node:
        node = self._order()
        while self._peek().kind in _EQUALITIES:
            sign = cast(CompareSign, self._next().text)
            node = Compare(sign, node, self._order())
        return node

    def _order(self) -> Node:
        node = self._unary()
        while self._peek().kind in _ORDERS:
            sign = cast(CompareSign, self._next().text)
            node = Compare(sign, node, self._unary())
        return node

    def _unary(self) -> Node:
        if not self._match(Kind.NOT):
            return self._indexed()
        self._deeper()
        node = Not(self._unary())
        self._depth -= 1
        return node

    def _indexed(self) -> Node:
        depth = self._depth
        node, indexable = self._primary()
        while indexable:
            if self._match(Kind.LEFT_BRACKET):
                node = self._bracket(node)
            elif self._match(Kind.DOT):
                node = self._dot(node)
            else:
                break
            self._deeper()
        self._depth = depth
        return node

    def _bracket(self, target: Node) -> Node:
        node = Filter(target) if self._match(Kind.STAR) else Index(target, self._expression())
        self._expect(Kind.RIGHT_BRACKET)
        return node

    def _dot(self, target: Node) -> Node:
        if self._match(Kind.STAR):
            return Filter(target)
        if self._peek().kind is not Kind.NAME:
            raise self._unexpected()
        return Index(target, Constant(self._next().text))

    def _primary(self) -> tuple[Node, bool]:
        """A value, and whether `.` or `[` may follow it."""
        token = self._peek()
        if self._match(Kind.LITERAL):
            return Constant(token.value), False
        if self._match(Kind.NAME):
            return (self._call(token) if self._match(Kind.LEFT_PAREN) else self._context(token)), True
        if not self._match(Kind.LEFT_PAREN):
            raise self._unexpected()
        node = self._expression()
        self._expect(Kind.RIGHT_PAREN)
        return node, True

    def _context(self, token: Token) -> Node:
        if token.text.lower() not in self._contexts:
            raise located("parsing", "Unrecognized named-value", token.text, token.offset, self._source)
        return Context(token.text, token.offset)

    def _call(self, token: Token) -> Node:
        arguments: list[Node] = []
        if not self._match(Kind.RIGHT_PAREN):
            arguments.append(self._expression())
            while self._match(Kind.COMMA):
                arguments.append(self._expression())
            self._expect(Kind.RIGHT_PAREN)
        self._check_call(token, len(arguments))
        return Call(token.text.lower(), tuple(arguments), token.offset)

    def _check_call(self, token: Token, count: int) -> None:
        arity = self._functions.get(token.text.lower())
        if arity is None:
            problem = "Unrecognized function"
        elif count < arity[0]:
            problem = "Too few parameters supplied"
        elif count > arity[1]:
            problem = "Too many parameters supplied"
        elif token.text.lower() == "case" and count % 2 == 0:
            problem = "Even number of parameters supplied, requires an odd number of parameters"
        else:
            return
        raise located("parsing", problem, token.text, token.offset, self._source)
