"""What a picture shows, whatever it was made from: nodes in batches, and edges between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from coterie.engine.planning.plan import ExecutionPlan
from coterie_protocols.workflow.model import Plan

BATCHES_MAX: Final = 40
"""Batches that a picture shows; those in the middle of a longer plan are told as one."""

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A step or job. `detail` says in a word or two what it is; `state` is that of a run, None in a plan.

    `stands_for` counts the nodes that were left out in its favour; it is 0 where it is only itself.
    """

    id: str
    label: str
    detail: str = ""
    state: str | None = None
    batch: int = 0
    stands_for: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """Nodes in the order of the plan, and edges as (position of what is needed, position of what needs it)."""

    title: str
    nodes: Sequence[DrawnNode]
    edges: Sequence[Edge]


def drawing_of_plan(plan: ExecutionPlan, states: Mapping[str, str] | None = None) -> Drawing:
    """A planned workflow; with `states` (by step id), a run of it."""
    steps, known = plan.spec.steps, states or {}
    positions = list(chain.from_iterable(plan.order))
    place = {steps[position].id: number for number, position in enumerate(positions)}
    batch_of = [number for number, batch in enumerate(plan.order) for _ in batch]
    nodes = [
        DrawnNode(step.id, step.name or step.id, step.type, known.get(step.id), batch)
        for step, batch in zip((steps[position] for position in positions), batch_of, strict=True)
    ]
    edges = [
        (place[need], number)
        for number, position in enumerate(positions)
        for need in dict.fromkeys(steps[position].needs)
    ]
    return Drawing(plan.spec.name or plan.spec.id, nodes, edges)


def drawing_of_actions_plan(plan: Plan, states: Mapping[str, str] | None = None) -> Drawing:
    """A planned GitHub Actions file: its jobs and matrix cells; with `states` (by task id), a run of it."""
    known = states or {}
    place = {job.id: number for number, job in enumerate(plan.jobs)}
    nodes = [DrawnNode(job.id, job.id, ", ".join(job.labels), known.get(job.id), job.stage) for job in plan.jobs]
    edges = [(place[need], place[job.id]) for job in plan.jobs for need in job.needs]
    return Drawing(plan.name, nodes, edges)


def collapsed(drawing: Drawing, nodes_max: int) -> Drawing:
    """The drawing with at most about `nodes_max` nodes; one node in each batch stands for those that are left out.

    Edges of what is left out lead to and from the node that stands for it. O(nodes + edges).
    """
    if len(drawing.nodes) <= nodes_max:
        return drawing
    shown_batch = _batches_shown(max(node.batch for node in drawing.nodes) + 1)
    room = max(1, nodes_max // min(BATCHES_MAX, len(set(shown_batch))) - 1)
    nodes: list[DrawnNode] = []
    place: list[int] = []
    taken: dict[int, int] = {}
    rest: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for node in drawing.nodes:
        sizes[shown_batch[node.batch]] = sizes.get(shown_batch[node.batch], 0) + 1
    middle = next((batch for batch, many in _counts(shown_batch).items() if many > 1), -1)
    for node in drawing.nodes:
        batch = shown_batch[node.batch]
        fits = batch != middle and (taken.get(batch, 0) < room or sizes[batch] == room + 1)
        if fits:
            taken[batch] = taken.get(batch, 0) + 1
            place.append(len(nodes))
            nodes.append(DrawnNode(node.id, node.label, node.detail, node.state, batch))
            continue
        if batch not in rest:
            rest[batch] = len(nodes)
            left = sizes[batch] - (0 if batch == middle else room)
            nodes.append(_stand_in(batch, left, shown_batch.count(batch)))
        place.append(rest[batch])
    edges = dict.fromkeys((place[need], place[node]) for need, node in drawing.edges)
    return Drawing(drawing.title, nodes, [(need, node) for need, node in edges if need != node])


def _stand_in(batch: int, left_out: int, batches: int) -> DrawnNode:
    words = f"… {left_out:,} in {batches:,} batches" if batches > 1 else f"… and {left_out:,} more"
    return DrawnNode(f"…{batch}", words, "", None, batch, left_out)


def _batches_shown(count: int) -> list[int]:
    """For each batch the number under which it is shown: a stretch in the middle shares one."""
    if count <= BATCHES_MAX:
        return list(range(count))
    head = BATCHES_MAX // 2
    tail = BATCHES_MAX - head - 1
    return [min(batch, head) if batch < count - tail else batch - (count - BATCHES_MAX) for batch in range(count)]


def _counts(values: Sequence[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
