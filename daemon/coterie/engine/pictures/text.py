"""A plan in a terminal: on rails where they fit, else batch by batch with the needs in words."""

from collections.abc import Sequence
from typing import Final

from coterie.engine.pictures.drawing import Drawing, DrawnNode, collapsed
from coterie.engine.pictures.rails import RailLine, rail_lines
from coterie.engine.pictures.words import cells, cut, padded, printable, sign_of

NODES_MAX: Final = 200
COLUMNS: Final = 80
LABEL_COLUMNS_MIN: Final = 24
"""Columns that are left for names beside rails."""

_ASCII: Final = str.maketrans("│─├┤┼╰╯┴╭╮┬…–·�", "|-+++''^..v~-.?")


def text(drawing: Drawing, columns: int = COLUMNS, ascii_only: bool = False) -> str:
    """The drawing in lines of at most `columns` (at least 40). Over 200 nodes it says how many it leaves out."""
    columns = max(columns, 40)
    small = collapsed(drawing, NODES_MAX)
    rails = rail_lines(small, (columns - LABEL_COLUMNS_MIN) // 2)
    lines = _batches(small, columns, ascii_only) if rails is None else _rails(small, rails, columns, ascii_only)
    if small is not drawing:
        left_out = sum(node.stands_for for node in small.nodes)
        lines.append(f"({left_out:,} of {len(drawing.nodes):,} are not shown)")
    drawn = "\n".join(line.rstrip() for line in lines) + "\n"
    return drawn.translate(_ASCII).encode("ascii", "replace").decode() if ascii_only else drawn


def _marker(node: DrawnNode, ascii_only: bool) -> str:
    if node.stands_for:
        return ":" if ascii_only else "⋮"
    return sign_of(node.state).ascii if ascii_only else sign_of(node.state).text


def _rails(drawing: Drawing, lines: Sequence[RailLine], columns: int, ascii_only: bool) -> list[str]:
    gutter = max((len(line.rails.rstrip()) for line in lines), default=0) + 2
    labels = min(max((cells(printable(node.label)) for node in drawing.nodes), default=0), (columns - gutter) * 2 // 3)
    drawn: list[str] = []
    for line in lines:
        if line.node is None:
            drawn.append(line.rails)
            continue
        node = drawing.nodes[line.node]
        rails = line.rails.replace("*", _marker(node, ascii_only))
        drawn.append(padded(rails.rstrip(), gutter) + _named(node, labels, columns - gutter))
    return drawn


def _named(node: DrawnNode, label_columns: int, columns: int) -> str:
    label = padded(cut(printable(node.label), label_columns), label_columns)
    about = "  ".join(filter(None, (printable(node.detail), node.state or "")))
    return cut(f"{label}  {about}".rstrip(), columns)


def _batches(drawing: Drawing, columns: int, ascii_only: bool) -> list[str]:
    needs: list[list[str]] = [[] for _ in drawing.nodes]
    for need, needing in drawing.edges:
        needs[needing].append(printable(drawing.nodes[need].label))
    labels = min(max((cells(printable(node.label)) for node in drawing.nodes), default=0), columns // 3)
    drawn: list[str] = []
    for place, node in enumerate(drawing.nodes):
        if place == 0 or drawing.nodes[place - 1].batch != node.batch:
            drawn.append(f"batch {node.batch + 1}")
        state = f"  {node.state}" if node.state else ""
        label = padded(cut(printable(node.label), labels), labels)
        line = f"  {_marker(node, ascii_only)} {label}{state}"
        if needs[place]:
            line = f"{line}  needs "
            line += _listed(needs[place], columns - cells(line))
        drawn.append(line)
    return drawn


def _listed(names: Sequence[str], columns: int) -> str:
    """As many names as fit, and how many more there are."""
    joined = ", ".join(names)
    if cells(joined) <= columns:
        return joined
    shown = ""
    for number, name in enumerate(names):
        more = f", … and {len(names) - number - 1:,} more" if number < len(names) - 1 else ""
        longer = f"{shown}, {name}" if shown else name
        if cells(longer) + cells(more) > columns:
            rest = f"… and {len(names) - number:,} more"
            return cut(f"{shown}, {rest}" if shown else f"{len(names):,} others", columns)
        shown = longer
    return shown
