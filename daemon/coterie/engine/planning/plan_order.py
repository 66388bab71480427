"""Kahn's algorithm: batches in which each step comes after what it needs."""

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

Batch = Sequence[int]
"""Positions of steps in their workflow, ascending."""


@dataclass(frozen=True, slots=True)
class Edges:
    """For each step, by position: the steps that need it, and how many it needs. A need named twice counts twice."""

    dependents: list[list[int]]
    counts: list[int]


def edges_of(needs: Sequence[Collection[str]], ids: Iterable[str]) -> Edges:
    """The edges between steps with these needs and `ids`, in the same order. Raises KeyError for a need that is no id.

    The lists are found by name and then, as a dict keeps its order, by position: each name is looked up once, which
    is most of what planning costs. An id that is there twice has one list.
    """
    dependents: dict[str, list[int]] = {id_: [] for id_ in ids}
    for step, names in enumerate(needs):
        for need in names:
            dependents[need].append(step)
    return Edges(list(dependents.values()), list(map(len, needs)))


def batches_of(edges: Edges) -> list[Batch]:
    """Steps by the length of the longest chain of needs before them. O(steps + needs).

    Steps on a circle, and those that wait for one, are in no batch.
    Source: A. B. Kahn, "Topological sorting of large networks", 1962.
    """
    dependents, missing = edges.dependents, edges.counts.copy()
    ready = [step for step, left in enumerate(missing) if not left]
    batches: list[Batch] = []
    while ready:
        batches.append(array("i", ready))
        following: list[int] = []
        for step in ready:
            for dependent in dependents[step]:
                left = missing[dependent] = missing[dependent] - 1
                if not left:
                    following.append(dependent)
        following.sort()
        ready = following
    return batches
