"""Performs a `DagRun` under trio: every transition is on record before anybody acts on it."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, assert_never

import trio

from coterie.engine.dag_run import DagRun, NodeEnded, StartNode, StopNode, Transition
from coterie.engine.graph import Graph, Outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """How a node ended. A `tolerated` failure does not count as one."""

    outcome: Outcome
    tolerated: bool = False


Execute = Callable[[str], Awaitable[Ended]]
"""Runs the node of that id. When cancelled it must clean up before it lets the cancellation through."""


class Journal(Protocol):
    """Where transitions are recorded."""

    def record(self, transition: Transition) -> None:
        """Returns once the transition is durable."""
        ...


class NoJournal:
    """For runs that another record covers: they start over when they are interrupted."""

    def record(self, transition: Transition) -> None:
        """Keeps nothing."""


async def run_graph(
    graph: Graph,
    execute: Execute,
    max_concurrent: int,
    journal: Journal,
    recorded: Iterable[Transition] = (),
) -> DagRun:
    """Runs the graph to its end, at most `max_concurrent` nodes at a time, and returns its final state.

    `recorded` are the transitions of an interrupted run: what ended is not run again, what was running is.
    What `execute` raises ends the run with it.
    """
    driver = _Driver(DagRun.resume(graph, max_concurrent, recorded), execute, journal)
    await driver.run()
    return driver.state


class _Driver:
    def __init__(self, state: DagRun, execute: Execute, journal: Journal) -> None:
        self.state = state
        self._execute = execute
        self._journal = journal
        self._scopes: dict[str, trio.CancelScope] = {}

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._advance(nursery)

    def _advance(self, nursery: trio.Nursery) -> None:
        # Each round ends nodes that others wait for, so there are at most as many rounds as nodes.
        while due := self.state.due():
            for transition in due:
                self._perform(transition, nursery)

    def _perform(self, transition: Transition, nursery: trio.Nursery) -> None:
        self._journal.record(transition)
        for effect in self.state.handle(transition):
            match effect:
                case StartNode(id=id_):
                    self._scopes[id_] = trio.CancelScope()
                    nursery.start_soon(self._run_node, id_, nursery, name=f"node {id_}")
                case StopNode(id=id_):
                    self._scopes[id_].cancel()
                case _:
                    assert_never(effect)

    async def _run_node(self, id_: str, nursery: trio.Nursery) -> None:
        ended = Ended("cancelled")
        with self._scopes[id_]:
            ended = await self._execute(id_)
        del self._scopes[id_]
        self._perform(NodeEnded(id_, ended.outcome, ended.tolerated), nursery)
        self._advance(nursery)
