"""Texts with `${{ … }}` in them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from coterie_protocols.workflow.expressions.errors import ExpressionError
from coterie_protocols.workflow.expressions.evaluator import NO_FUNCTIONS, evaluate
from coterie_protocols.workflow.expressions.functions import Function
from coterie_protocols.workflow.expressions.values import bounded, to_text
from coterie_protocols.workflow.model import Json

OPEN: Final = "${{"
CLOSE: Final = "}}"
TEMPLATES_MAX: Final = 1024
"""How many cut templates are remembered."""


class Part(NamedTuple):
    """A stretch of plain text, or the source of one expression; `offset` is where it begins in the template."""

    text: str
    is_expression: bool
    offset: int


@lru_cache(maxsize=TEMPLATES_MAX)
def parts_of(template: str) -> tuple[Part, ...]:
    """The template cut into text and expressions; `}}` within a string literal does not close an expression.

    Raises ExpressionError for an expression that is empty or not closed.
    """
    parts: list[Part] = []
    at = 0
    while (start := template.find(OPEN, at)) >= 0:
        if start > at:
            parts.append(Part(template[at:start], False, at))
        end = _close_of(template, start)
        source = template[start + len(OPEN) : end]
        stripped = source.strip()
        if not stripped:
            raise ExpressionError("parsing", "An expression was expected", start)
        parts.append(Part(stripped, True, start + len(OPEN) + source.index(stripped[0])))
        at = end + len(CLOSE)
    if at < len(template):
        parts.append(Part(template[at:], False, at))
    return tuple(parts)


def _close_of(template: str, start: int) -> int:
    at, in_string = start + len(OPEN), False
    while at < len(template):
        if template[at] == "'":
            in_string = not in_string
        elif not in_string and template.startswith(CLOSE, at):
            return at
        at += 1
    raise ExpressionError(
        "parsing",
        "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was not found.",
        start,
    )


def whole_expression(template: str) -> str | None:
    """The source of the one expression that the template consists of, without a blank around it; None otherwise."""
    if OPEN not in template:
        return None
    parts = parts_of(template)
    return parts[0].text if len(parts) == 1 and parts[0].is_expression else None


def evaluate_template(
    template: str, contexts: Mapping[str, Json], functions: Mapping[str, Function] = NO_FUNCTIONS
) -> Json:
    """The value of a template: any type where it is one whole expression, else a string. Raises ExpressionError."""
    if OPEN not in template:
        return template
    source = whole_expression(template)
    return interpolate(template, contexts, functions) if source is None else evaluate(source, contexts, functions)


def interpolate(template: str, contexts: Mapping[str, Json], functions: Mapping[str, Function] = NO_FUNCTIONS) -> str:
    """The template with every expression replaced by its value as text. Raises ExpressionError."""
    if OPEN not in template:
        return template
    texts: list[str] = []
    for part in parts_of(template):
        texts.append(to_text(evaluate(part.text, contexts, functions)) if part.is_expression else part.text)
    bounded(sum(map(len, texts)))
    return "".join(texts)


def condition_source(text: str) -> str:
    """The expression that an `if` stands for: `${{ }}` around the whole is optional.

    A mixture of text and expressions is a format string, hence true whenever it is not empty; GitHub does the same.
    """
    if OPEN not in text:
        return text.strip()
    source = whole_expression(text)
    return format_source(text) if source is None else source


def format_source(template: str) -> str:
    """The template as one `format('…', …)` expression."""
    pattern: list[str] = []
    arguments: list[str] = []
    for part in parts_of(template):
        if part.is_expression:
            pattern.append(f"{{{len(arguments)}}}")
            arguments.append(part.text)
        else:
            pattern.append(part.text.replace("'", "''").replace("{", "{{").replace("}", "}}"))
    return f"format('{''.join(pattern)}', {', '.join(arguments)})"
