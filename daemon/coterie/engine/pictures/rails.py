"""A graph on rails, as `git log --graph` draws it: a node on each line, an edge wherever lines meet.

A rail runs down from each node to the last node that needs it. On a line where a node's needs come together, a corner
or a tee joins a rail to the node below the turn; a rail that only passes is drawn unbroken, and joins nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coterie.engine.pictures.drawing import Drawing


@dataclass(frozen=True, slots=True)
class RailLine:
    """One line: rails (two columns each, the gap after each included), and the node that stands on it, if any."""

    rails: str
    node: int | None = None


def rail_lines(drawing: Drawing, rails_max: int) -> list[RailLine] | None:
    """The lines, the marker of each node as `*`; None where more than `rails_max` rails would run side by side."""
    needs: list[list[int]] = [[] for _ in drawing.nodes]
    last = list(range(len(drawing.nodes)))
    for need, node in drawing.edges:
        needs[node].append(need)
        last[need] = max(last[need], node)
    rails: list[int | None] = []
    column: dict[int, int] = {}
    lines: list[RailLine] = []
    above: int | None = None
    for node in range(len(drawing.nodes)):
        joined = sorted(column[need] for need in needs[node])
        ending = {at for at in joined if last[_source(rails, at)] == node}
        own = _place(rails, ending, None if joined else above)
        if len(rails) > rails_max:
            return None
        if joined and joined != [own]:
            lines.append(RailLine(_join(rails, joined, ending, own)))
        for at in ending:
            rails[at] = None
        lines.append(RailLine(_stand(rails, own), node))
        column[node] = above = own
        rails[own] = node if last[node] > node else None
        while rails and rails[-1] is None:
            rails.pop()
    return lines


def _source(rails: Sequence[int | None], at: int) -> int:
    source = rails[at]
    assert source is not None, "a rail is kept until the last node that needs it"
    return source


def _place(rails: list[int | None], ending: set[int], above: int | None) -> int:
    """The column of a node: a rail that ends in it, else the first that is free, but not right below `above`."""
    if ending:
        return min(ending)
    free = next((at for at, rail in enumerate(rails) if rail is None and at != above), len(rails))
    free += free == above
    rails += [None] * (free + 1 - len(rails))
    return free


def _stand(rails: Sequence[int | None], own: int) -> str:
    return "".join("* " if at == own else "  " if rail is None else "│ " for at, rail in enumerate(rails))


def _join(rails: Sequence[int | None], joined: Sequence[int], ending: set[int], own: int) -> str:
    left, right = min(joined[0], own), max(joined[-1], own)
    drawn = ""
    for at, rail in enumerate(rails):
        inside = left <= at < right
        if at == own or at in joined:
            up, down = at in joined, at == own or at not in ending
            drawn += _CORNERS[(up, down, at > left, at < right)]
        elif rail is not None:
            drawn += "│"
        else:
            drawn += "─" if left < at < right else " "
        drawn += "─" if inside else " "
    return drawn


_CORNERS = {
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (True, True, True, True): "┼",
    (True, False, False, True): "╰",
    (True, False, True, False): "╯",
    (True, False, True, True): "┴",
    (False, True, False, True): "╭",
    (False, True, True, False): "╮",
    (False, True, True, True): "┬",
}
"""By where lines go from the corner: up, down, left, right."""
