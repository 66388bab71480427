"""Cuts the source of an expression into tokens."""

import math
from enum import Enum
from typing import Final, NamedTuple

from coterie_protocols.workflow.expressions.errors import ExpressionError, located
from coterie_protocols.workflow.expressions.values import parse_number

SOURCE_CHARS_MAX: Final = 21_000


class Kind(Enum):
    """What a token is; the value of a sign is its spelling."""

    LEFT_PAREN = "("
    RIGHT_PAREN = ")"
    LEFT_BRACKET = "["
    RIGHT_BRACKET = "]"
    COMMA = ","
    DOT = "."
    STAR = "*"
    NOT = "!"
    NOT_EQUAL = "!="
    EQUAL = "=="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    AND = "&&"
    OR = "||"
    LITERAL = "literal"
    NAME = "name"
    END = "end"


class Token(NamedTuple):
    """One word of an expression; `offset` is where it begins in the source, from 0."""

    kind: Kind
    text: str
    offset: int
    value: bool | float | str | None = None


_SIGNS: Final = {kind.value: kind for kind in Kind if not kind.value.isalpha()}
_BOUNDARIES: Final = frozenset("([)],.!><=&|")
_DIGITS: Final = frozenset("0123456789")
_AFTER_A_VALUE: Final = frozenset({Kind.NAME, Kind.RIGHT_BRACKET, Kind.RIGHT_PAREN, Kind.STAR})
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME_CHARACTERS: Final = _LETTERS | _DIGITS | {"-"}
_KEYWORDS: Final[dict[str, bool | float | None]] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": math.nan,
    "Infinity": math.inf,
}


def tokens_of(source: str) -> list[Token]:
    """The tokens of `source`, an END token last. Raises ExpressionError of kind lexing, or parsing when too long."""
    if len(source) > SOURCE_CHARS_MAX:
        raise ExpressionError("parsing", f"Exceeded max expression length {SOURCE_CHARS_MAX}")
    tokens: list[Token] = []
    offset, length = 0, len(source)
    while offset < length:
        if source[offset].isspace():
            offset += 1
            continue
        token = _token_at(source, offset, tokens[-1].kind if tokens else Kind.END)
        tokens.append(token)
        offset += len(token.text)
    tokens.append(Token(Kind.END, "", length))
    return tokens


def _token_at(source: str, offset: int, before: Kind) -> Token:
    character = source[offset]
    if character == "'":
        return _string(source, offset)
    if character in _DIGITS or character in "+-" or (character == "." and before not in _AFTER_A_VALUE):
        return _number(source, offset)
    sign = source[offset : offset + 2]
    if sign in _SIGNS:
        return Token(_SIGNS[sign], sign, offset)
    if character in _SIGNS:
        return Token(_SIGNS[character], character, offset)
    return _name(source, offset, before)


def _word_end(source: str, offset: int, joins: str = "") -> int:
    """Where the word that begins at `offset` ends: at the next boundary character that is not in `joins`."""
    end = offset + 1
    while end < len(source):
        character = source[end]
        if (character in _BOUNDARIES and character not in joins) or character.isspace():
            break
        end += 1
    return end


def _number(source: str, offset: int) -> Token:
    text = source[offset : _word_end(source, offset, ".")]
    number = parse_number(text)
    if math.isnan(number):
        raise located("lexing", "Unexpected symbol", text, offset, source)
    return Token(Kind.LITERAL, text, offset, number)


def _string(source: str, offset: int) -> Token:
    end = offset + 1
    while True:
        end = source.find("'", end)
        if end < 0:
            raise located("lexing", "Unexpected symbol", source[offset:], offset, source)
        if source[end + 1 : end + 2] != "'":
            break
        end += 2
    text = source[offset : end + 1]
    return Token(Kind.LITERAL, text, offset, text[1:-1].replace("''", "'"))


def _name(source: str, offset: int, before: Kind) -> Token:
    text = source[offset : _word_end(source, offset)]
    if text in _KEYWORDS and before is not Kind.DOT:
        return Token(Kind.LITERAL, text, offset, _KEYWORDS[text])
    if text[0] not in _LETTERS or not _NAME_CHARACTERS.issuperset(text):
        raise located("lexing", "Unexpected symbol", text, offset, source)
    return Token(Kind.NAME, text, offset)
