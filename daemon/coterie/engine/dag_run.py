"""The state of one run of a graph, without any I/O: transitions in, what is to be started and stopped out.

Each transition costs the number of its dependents, so a run costs O(nodes + needs) (Kahn, 1962).
A run can be taken up again from its recorded transitions: `DagRun.resume`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import assert_never

from coterie.engine.graph import Graph, Outcome


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node was started."""

    id: str


@dataclass(frozen=True, slots=True)
class NodeEnded:
    """A node ended. A `tolerated` failure counts as a success for its dependents, its group and the run."""

    id: str
    outcome: Outcome
    tolerated: bool = False


Transition = NodeStarted | NodeEnded


@dataclass(frozen=True, slots=True)
class StartNode:
    """Start this node."""

    id: str


@dataclass(frozen=True, slots=True)
class StopNode:
    """Stop this running node; its `NodeEnded` follows."""

    id: str


Effect = StartNode | StopNode


class DagRun:
    """One run. `outcomes` has every node that ended, in the order in which they did."""

    def __init__(self, graph: Graph, max_concurrent: int) -> None:
        if max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1")
        self._graph = graph
        self._max_concurrent = max_concurrent
        self._rank = {id_: rank for rank, id_ in enumerate(graph.nodes)}
        self._missing = {id_: len(set(node.needs)) for id_, node in graph.nodes.items()}
        self._ready: list[tuple[int, str]] = []
        self._waiting_for_group: dict[str, deque[str]] = {name: deque() for name in graph.groups}
        self._running_in_group = dict.fromkeys(graph.groups, 0)
        self._members: dict[str, list[str]] = {name: [] for name in graph.groups}
        for node in graph.nodes.values():
            if node.group is not None:
                self._members[node.group].append(node.id)
        self._failed_groups: set[str] = set()
        self.running: dict[str, None] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.tolerated: set[str] = set()
        for id_, count in self._missing.items():
            if count == 0:
                heappush(self._ready, (self._rank[id_], id_))

    @classmethod
    def resume(cls, graph: Graph, max_concurrent: int, transitions: Iterable[Transition]) -> "DagRun":
        """The run as its record tells it; what was running when the record ends is to be started again."""
        run = cls(graph, max_concurrent)
        for transition in transitions:
            run.handle(transition)
        for id_ in list(run.running):
            run._leave(id_)
            heappush(run._ready, (run._rank[id_], id_))
        return run

    @property
    def finished(self) -> bool:
        """Has every node ended?"""
        return len(self.outcomes) == len(self._graph.nodes)

    @property
    def outcome(self) -> Outcome:
        """What the run came to: failure before cancelled before success."""
        counted = {outcome for id_, outcome in self.outcomes.items() if id_ not in self.tolerated}
        return "failure" if "failure" in counted else "cancelled" if "cancelled" in counted else "success"

    def due(self) -> list[Transition]:
        """What can happen now by itself: nodes that can start, and nodes that end unstarted. Apply them in order.

        They are proposed, not done, so that a driver can record each before it is acted on.
        """
        proposed: list[Transition] = []
        room = self._max_concurrent - len(self.running)
        taken = dict(self._running_in_group)
        held: dict[str, int] = {}
        while self._ready:
            rank, id_ = heappop(self._ready)
            if id_ in self.outcomes or id_ in self.running or id_ in held:
                continue  # done since it was put there, or there twice after a resumption
            held[id_] = rank
            ended = self._ends_unstarted(id_)
            if ended is not None:
                proposed.append(NodeEnded(id_, ended))
            elif room > 0 and self._fits(id_, taken):
                room -= 1
                proposed.append(NodeStarted(id_))
            elif room <= 0:
                break
            else:
                del held[id_]  # its group is full: it comes back when one of the group ends
                self._waiting_for_group[str(self._graph.nodes[id_].group)].append(id_)
        for id_, rank in held.items():
            heappush(self._ready, (rank, id_))
        return proposed

    def handle(self, transition: Transition) -> list[Effect]:
        """Takes a transition that is on record, and says what it asks for."""
        match transition:
            case NodeStarted():
                return self._start(transition.id)
            case NodeEnded():
                return self._end(transition)
            case _:
                assert_never(transition)

    def _start(self, id_: str) -> list[Effect]:
        self._leave(id_)  # a record may hold two starts of a node: one before an interruption, one after
        self.running[id_] = None
        group = self._graph.nodes[id_].group
        if group is not None:
            self._running_in_group[group] += 1
        return [StartNode(id_)]

    def _end(self, ended: NodeEnded) -> list[Effect]:
        self._leave(ended.id)
        self.outcomes[ended.id] = ended.outcome
        if ended.tolerated:
            self.tolerated.add(ended.id)
        for dependent in self._graph.dependents[ended.id]:
            self._missing[dependent] -= 1
            if self._missing[dependent] == 0:
                heappush(self._ready, (self._rank[dependent], dependent))
        group = self._graph.nodes[ended.id].group
        if group is None or not self._graph.groups[group].fail_fast:
            return []
        if ended.outcome != "failure" or ended.tolerated:
            return []
        self._failed_groups.add(group)
        return [StopNode(id_) for id_ in self._members[group] if id_ in self.running]

    def _leave(self, id_: str) -> None:
        if id_ not in self.running:
            return
        del self.running[id_]
        group = self._graph.nodes[id_].group
        if group is not None:
            self._running_in_group[group] -= 1
            self._wake(group)

    def _wake(self, group: str) -> None:
        waiting = self._waiting_for_group[group]
        while waiting:
            id_ = waiting.popleft()
            heappush(self._ready, (self._rank[id_], id_))

    def _fits(self, id_: str, taken: dict[str, int]) -> bool:
        group = self._graph.nodes[id_].group
        if group is None:
            return True
        limit = self._graph.groups[group].max_concurrent
        if limit and taken[group] >= limit:
            return False
        taken[group] += 1
        return True

    def _ends_unstarted(self, id_: str) -> Outcome | None:
        node = self._graph.nodes[id_]
        if node.group in self._failed_groups:
            return "cancelled"
        if node.when == "needs-succeeded" and not all(self._succeeded(need) for need in node.needs):
            return "skipped"
        return None

    def _succeeded(self, id_: str) -> bool:
        return self.outcomes[id_] == "success" or id_ in self.tolerated
