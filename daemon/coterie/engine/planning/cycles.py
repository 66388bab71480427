"""Finds the circles in a graph that is to have none. Nodes are ints, edges lead from a node to what it needs."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

SEARCH_EDGES_MAX: Final = 2_000_000
"""Edges that the search for shorter cycles looks at in one component; what it found by then is told."""

Needs = Mapping[int, Sequence[int]]


def cycles(needs: Needs) -> list[tuple[int, ...]]:
    """One shortest cycle of every strongly connected component, as (a, b, c, a) from its least node, in that order.

    Edges to nodes that are no keys are not followed. Shortest is meant up to SEARCH_EDGES_MAX. O(nodes + edges) and the
    search. Source of the components: R. Tarjan, "Depth-first search and linear graph algorithms", 1972, without
    recursion.
    """
    found = [_from_least(_shortest(component, needs)) for component in components(needs)]
    return sorted(found)


def components(needs: Needs) -> list[list[int]]:
    """The strongly connected components that hold a cycle: of two nodes or more, or of one that needs itself."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    open_nodes: list[int] = []
    is_open: set[int] = set()
    found: list[list[int]] = []
    for root in needs:
        if root in number:
            continue
        number[root] = low[root] = len(number)
        open_nodes.append(root)
        is_open.add(root)
        path = [(root, iter(needs[root]))]
        while path:
            node, rest = path[-1]
            for need in rest:
                if need not in needs:
                    continue
                if need not in number:
                    number[need] = low[need] = len(number)
                    open_nodes.append(need)
                    is_open.add(need)
                    path.append((need, iter(needs[need])))
                    break
                if need in is_open:
                    low[node] = min(low[node], number[need])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == number[node]:
                    component = _closed(node, open_nodes, is_open)
                    if len(component) > 1 or node in needs[node]:
                        found.append(component)
    return found


def _closed(root: int, open_nodes: list[int], is_open: set[int]) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != root:
        component.append(open_nodes.pop())
        is_open.discard(component[-1])
    return component


def _shortest(component: list[int], needs: Needs) -> list[int]:
    """The nodes of a shortest cycle, by breadth-first searches that give up at the length of the best so far."""
    among = set(component)
    best: list[int] = []
    left = SEARCH_EDGES_MAX
    for start in sorted(component):
        cycle, looked = _through(start, among, needs, len(best) or len(component) + 1)
        left -= looked
        best = cycle or best
        if len(best) == 1 or left <= 0:
            break
        # Every cycle through this node is at least as long as the best: the others need not go through it.
        among.discard(start)
    return best


def _through(start: int, among: set[int], needs: Needs, limit: int) -> tuple[list[int], int]:
    """The shortest cycle through `start` of fewer than `limit` nodes, or none; and how many edges were looked at."""
    came_from = {start: start}
    depth = {start: 1}
    waiting, looked = deque([start]), 0
    while waiting:
        node = waiting.popleft()
        if depth[node] >= limit:
            break
        for need in needs[node]:
            looked += 1
            if need == start:
                return _path(start, node, came_from), looked
            if need in among and need not in came_from:
                came_from[need] = node
                depth[need] = depth[node] + 1
                waiting.append(need)
    return [], looked


def _path(start: int, end: int, came_from: Mapping[int, int]) -> list[int]:
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def _from_least(cycle: list[int]) -> tuple[int, ...]:
    first = cycle.index(min(cycle))
    return (*cycle[first:], *cycle[:first], cycle[first])
