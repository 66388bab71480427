"""What commands print: data on stdout, talk on stderr, colour only where a terminal shows it."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from coterie_protocols.errors import UserError

COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
SIGNS = {
    "success": ("✓", "green"),
    "failure": ("✗", "red"),
    "cancelled": ("■", "yellow"),
    "skipped": ("–", "dim"),
    "running": ("●", "cyan"),
    "queued": ("○", "dim"),
    "waiting": ("·", "dim"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "paused": ("‖", "yellow"),
    "asks": ("?", "yellow"),
    "ready": ("○", "dim"),
    "pending": ("·", "dim"),
}


def colourful(stream: TextIO) -> bool:
    """May `stream` get colour? NO_COLOR (no-color.org) and anything but a terminal say no."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in a colour of COLOURS, or as it is where colour is not wanted."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if text and colourful(stream or sys.stdout) else text


def print_json(document: Mapping[str, object]) -> None:
    """One JSON document on one line of stdout."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def say(text: str) -> None:
    """Talk, which never mixes with data."""
    print(text, file=sys.stderr, flush=True)


def print_error(error: UserError, as_json: bool) -> None:
    """The error on stderr: a line and a hint, or one JSON object."""
    if as_json:
        document: dict[str, object] = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        problems = _problems(error)
        if problems:
            document["problems"] = problems
        print(json.dumps({"schema": "coterie.error/1", "error": document}, ensure_ascii=False), file=sys.stderr)
        return
    for line in error.message.splitlines():
        say(f"{paint('error:', 'red', sys.stderr)} {line}")
    if error.hint:
        say(f"{paint('hint:', 'cyan', sys.stderr)} {error.hint}")


def _problems(error: UserError) -> list[dict[str, object]]:
    """Where a workflow is wrong; the class that knows is not imported for commands that cannot meet it."""
    return [
        {"message": problem.message, "line": problem.position.line, "column": problem.position.column}
        for problem in getattr(error, "problems", ())
    ]


def status_sign(status: str) -> str:
    """A sign and the word: the meaning is never in the colour alone."""
    sign, colour = SIGNS.get(status, ("?", "dim"))
    return paint(f"{sign} {status}", colour)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns, two spaces apart, the last one as long as it likes."""
    table = [[cell.upper() for cell in headings], *rows]
    widths = [max(visible_width(row[column]) for row in table) for column in range(len(headings))]
    for number, row in enumerate(table):
        cells = [cell + " " * (width - visible_width(cell)) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        print(paint(line, "dim") if number == 0 else line)


def print_fields(fields: Mapping[str, str]) -> None:
    """A heading and its value on each line; empty values are left out."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        if value:
            print(f"  {paint(name.ljust(width), 'dim')}  {value}")


def visible_width(text: str) -> int:
    """The columns that `text` takes in a terminal, colour codes not counted."""
    width, inside = 0, False
    for character in text:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        else:
            width += 1
    return width
