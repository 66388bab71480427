"""How pictures write names, times and states: signs beside words, so that no meaning is in a colour alone."""

import unicodedata
from dataclasses import dataclass
from typing import Final

CHARS_LOOKED_AT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Sign:
    """How a state looks: a character, the same in ASCII, and a path in SVG around (0, 0), 10 wide."""

    text: str
    ascii: str
    path: str
    filled: bool = False


_CIRCLE: Final = "M4.5 0A4.5 4.5 0 1 1 -4.5 0A4.5 4.5 0 1 1 4.5 0Z"
_CHECK: Final = Sign("✓", "+", "M-4.5 .5L-1.5 3.5L4.5 -3.5")
_CROSS: Final = Sign("✗", "x", "M-4 -4L4 4M4 -4L-4 4")
_RING: Final = Sign("○", "o", _CIRCLE)

SIGNS: Final[dict[str, Sign]] = {
    "completed": _CHECK,
    "success": _CHECK,
    "failed": _CROSS,
    "failure": _CROSS,
    "cancelled": Sign("■", "#", "M-4 -4H4V4H-4Z", filled=True),
    "skipped": Sign("–", "-", "M-4.5 0H4.5"),
    "running": Sign("●", "*", _CIRCLE, filled=True),
    "ready": _RING,
    "queued": _RING,
    "pending": Sign("·", ".", "M2.5 0A2.5 2.5 0 1 1 -2.5 0A2.5 2.5 0 1 1 2.5 0Z", filled=True),
}
UNKNOWN: Final = Sign("?", "?", "M0 -4V2M0 4V5")
PLAIN: Final = _RING


def sign_of(state: str | None) -> Sign:
    """The sign of a state; a plain node's where there is none."""
    return PLAIN if state is None else SIGNS.get(state, UNKNOWN)


def printable(text: str) -> str:
    """The text on one line, without what could command a terminal or is not allowed in XML."""
    cut = text[:CHARS_LOOKED_AT_MAX]
    return "".join(one if one.isprintable() else " " if one.isspace() else "�" for one in cut)


def cells(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """The text in at most `width` columns, with an ellipsis for what is left out."""
    if cells(text) <= width:
        return text
    left, kept = width - cells(ellipsis), ""
    for one in text:
        left -= _cells(one)
        if left < 0:
            break
        kept += one
    return kept + ellipsis if width >= cells(ellipsis) else "." * width


def padded(text: str, width: int) -> str:
    """The text with blanks up to `width` columns."""
    return text + " " * (width - cells(text))


def duration(ms: float) -> str:
    """A time for people: `340 ms`, `2.5 s`, `1m 20s`, `3h 05m`."""
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"
