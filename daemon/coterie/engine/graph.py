"""What is to be run: nodes, what each needs, and groups that share a limit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal

Outcome = Literal["success", "failure", "cancelled", "skipped"]
When = Literal["needs-succeeded", "needs-ended"]


class BadGraph(ValueError):
    """The nodes do not make a graph that can be run; the text names them."""


@dataclass(frozen=True, slots=True)
class Node:
    """One thing to run. `when` says what its needs must have come to; where they did not, it is skipped."""

    id: str
    needs: tuple[str, ...] = ()
    when: When = "needs-succeeded"
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that belong together. At most `max_concurrent` run at a time (0: no limit); with `fail_fast` a failure
    among them cancels the others."""

    max_concurrent: int = 0
    fail_fast: bool = False


class Graph:
    """Nodes in the order in which they are preferred when several could start. Raises BadGraph."""

    def __init__(self, nodes: Iterable[Node], groups: Mapping[str, Group] | None = None) -> None:
        listed = tuple(nodes)
        self.nodes: Mapping[str, Node] = {node.id: node for node in listed}
        self.groups: Mapping[str, Group] = dict(groups or {})
        if len(self.nodes) != len(listed):
            raise BadGraph("two nodes have the same id")
        dependents: dict[str, list[str]] = {id_: [] for id_ in self.nodes}
        for node in listed:
            if node.group is not None and node.group not in self.groups:
                raise BadGraph(f"{node.id} is of the unknown group {node.group}")
            for need in dict.fromkeys(node.needs):
                if need not in dependents:
                    raise BadGraph(f"{node.id} needs {need}, which does not exist")
                dependents[need].append(node.id)
        self.dependents: Mapping[str, tuple[str, ...]] = {id_: tuple(found) for id_, found in dependents.items()}
        try:
            TopologicalSorter({node.id: node.needs for node in listed}).prepare()
        except CycleError as error:
            raise BadGraph("the needs go round in a circle: " + " -> ".join(error.args[1])) from None
