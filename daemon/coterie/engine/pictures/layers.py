"""Where nodes stand in a layered drawing: an order in each layer with few crossings, then places with straight edges.

Source: K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system structures", 1981
(barycenters); the places are a least-squares fit in the given order by pooling adjacent violators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from coterie.engine.pictures.drawing import Drawing

SWEEPS: Final = 8
BENDS_MAX: Final = 3000
"""Points at which long edges pass the layers between their ends; beyond, edges run straight."""

Neighbours = list[list[int]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Places across the layers, in units of one node. The first places are those of the nodes, then come bends.

    `paths` holds, for each edge of the drawing, the points that it runs through: (layer, place).
    """

    layers: int
    places: Sequence[float]
    paths: Sequence[Sequence[tuple[int, float]]]


def layout(drawing: Drawing) -> Layout:
    """Places the nodes of a drawing whose edges lead from lower batches to higher ones."""
    layer_of = [node.batch for node in drawing.nodes]
    spans = sum(layer_of[node] - layer_of[need] - 1 for need, node in drawing.edges)
    runs: list[list[int]] = []
    for need, node in drawing.edges:
        run = [need]
        if spans <= BENDS_MAX:
            for layer in range(layer_of[need] + 1, layer_of[node]):
                run.append(len(layer_of))
                layer_of.append(layer)
        runs.append([*run, node])
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for point, layer in enumerate(layer_of):
        layers[layer].append(point)
    before, after = _neighbours(len(layer_of), runs)
    _order(layers, before, after)
    places = _places(layers, before, after, len(drawing.nodes))
    paths = [[(layer_of[point], places[point]) for point in run] for run in runs]
    return Layout(len(layers), places, paths)


def _neighbours(count: int, runs: Sequence[Sequence[int]]) -> tuple[Neighbours, Neighbours]:
    before: Neighbours = [[] for _ in range(count)]
    after: Neighbours = [[] for _ in range(count)]
    for run in runs:
        for left, right in pairwise(run):
            after[left].append(right)
            before[right].append(left)
    return before, after


def _order(layers: list[list[int]], before: Neighbours, after: Neighbours) -> None:
    """Sorts each layer by the mean rank of neighbours, there and back; keeps the order with the fewest crossings."""
    rank = [0.0] * len(before)
    for layer in layers:
        _rank(layer, rank)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, after, rank)
    for sweep in range(SWEEPS):
        neighbours, todo = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        for layer in todo:
            wanted = {point: _mean(neighbours[point], rank, rank[point]) for point in layer}
            layer.sort(key=lambda point: wanted[point])
            _rank(layer, rank)
        crossings = _crossings(layers, after, rank)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, ordered in zip(layers, best, strict=True):
        layer[:] = ordered


def _rank(layer: Sequence[int], rank: list[float]) -> None:
    for place, point in enumerate(layer):
        rank[point] = float(place)


def _mean(points: Sequence[int], value: Sequence[float], otherwise: float) -> float:
    return sum(value[point] for point in points) / len(points) if points else otherwise


def _crossings(layers: Sequence[Sequence[int]], after: Neighbours, rank: Sequence[float]) -> int:
    """Pairs of edges between neighbouring layers that cross, counted as inversions with a binary indexed tree."""
    total = 0
    for layer in layers:
        ends = [int(end) for point in layer for end in sorted(rank[other] for other in after[point])]
        tree = [0] * (max(ends, default=-1) + 2)
        for seen, end in enumerate(ends):
            at, not_after = end + 1, 0
            while at:
                not_after += tree[at]
                at &= at - 1
            total += seen - not_after
            at = end + 1
            while at < len(tree):
                tree[at] += 1
                at += at & -at
    return total


def _places(layers: Sequence[Sequence[int]], before: Neighbours, after: Neighbours, nodes: int) -> list[float]:
    """Moves points towards the middle of their neighbours, a whole unit from the next node and half from a bend."""
    places = [0.0] * len(before)
    for layer in layers:
        for place, point in enumerate(layer):
            places[point] = place - (len(layer) - 1) / 2
    for sweep in range(SWEEPS):
        neighbours, todo = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        for layer in todo:
            _settle(layer, [_mean(neighbours[point], places, places[point]) for point in layer], places, nodes)
    least = min(places, default=0.0)
    return [place - least for place in places]


def _settle(layer: Sequence[int], wanted: Sequence[float], places: list[float], nodes: int) -> None:
    """The places nearest to `wanted` (least squares) that keep the order and the distances."""
    offsets: list[float] = []
    for number, point in enumerate(layer):
        gap = 0.0 if not number else 1.0 if point < nodes and layer[number - 1] < nodes else 0.6
        offsets.append((offsets[-1] if offsets else 0.0) + gap)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, size = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / size:
            total, size = total + pools[-1][0], size + pools[-1][1]
            pools.pop()
        pools.append((total, size))
    settled = [total / size for total, size in pools for _ in range(size)]
    for point, offset, base in zip(layer, offsets, settled, strict=True):
        places[point] = base + offset
