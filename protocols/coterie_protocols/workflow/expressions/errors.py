"""What can be wrong with an expression, in GitHub's words."""

from typing import Literal

from coterie_protocols.errors import UserError

ErrorKind = Literal["lexing", "parsing", "evaluation"]


class ExpressionError(UserError):
    """An expression that cannot be read or evaluated.

    `kind` says in which phase it failed; `offset` counts characters from the start of the expression, from 0, and
    is None where no place is to blame.
    """

    code = "expression"
    exit_code = 65

    def __init__(self, kind: ErrorKind, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.offset = offset


def located(kind: ErrorKind, what: str, symbol: str, offset: int, source: str) -> ExpressionError:
    """The error that names a symbol and its place; the place is counted from 1 in the text, as GitHub does."""
    text = f"{what}: '{symbol}'. Located at position {offset + 1} within expression: {source}"
    return ExpressionError(kind, text, offset)
