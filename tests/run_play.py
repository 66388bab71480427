"""Drives the state machine of one execution by the names of its steps."""

from collections.abc import Iterable, Mapping

from coterie.engine.journal.port import StepRow
from coterie.engine.machine.run_machine import Ended, RunMachine
from coterie.engine.machine.step_graph import Children, Group, StepGraph
from coterie.engine.model import Merge, RunState, StepState

NOW_MS = 1_000


class Play:
    """Drives a machine by names. Effects come as `Ready a`, and only when asked for."""

    def __init__(self, machine: RunMachine, graph: StepGraph) -> None:
        self.machine = machine
        self.graph = graph
        self.rows: dict[int, StepRow] = {}
        self.now_ms = NOW_MS

    def at(self, name: str) -> int:
        """The position of `a`, or of `a[1][0]`."""
        id_, *indices = name.replace("]", "").split("[")
        position = self.graph.position[id_]
        for index in indices:
            position = self.machine.expansion(position)[0] + int(index)
        return position

    def begin(self) -> list[str]:
        self.machine.begin(self.now_ms)
        return self.effects()

    def effects(self) -> list[str]:
        told: list[str] = []
        for effect in self.machine.take_effects():
            what = effect.state if isinstance(effect, Ended) else self.machine.name(effect.position)
            told.append(f"{type(effect).__name__} {what}")
        self.keep()
        return told

    def keep(self) -> None:
        """Writes the rows that changed, as the driver does before it acts."""
        for position in self.machine.take_changed():
            row = self.machine.row(position)
            if row.state in ("completed", "failed", "skipped", "cancelled"):
                row.ended_ms = self.now_ms
            self.rows[position] = row

    def start(self, *names: str) -> list[str]:
        for name in names:
            self.machine.started(self.at(name), self.now_ms)
        return self.effects()

    def complete(self, name: str, arm: str | None = None) -> list[str]:
        self._running(name)
        self.machine.completed(self.at(name), self.now_ms, arm=arm)
        return self.effects()

    def fail(self, name: str, reason: str = "boom", tolerated: bool = False) -> list[str]:
        self._running(name)
        self.machine.failed(self.at(name), reason, self.now_ms, tolerated=tolerated)
        return self.effects()

    def stopped(self, name: str) -> list[str]:
        self.machine.cancelled(self.at(name), self.now_ms)
        return self.effects()

    def expand(self, name: str, count: int) -> list[str]:
        self._running(name)
        self.machine.expanded(self.at(name), count, self.now_ms)
        return self.effects()

    def skip(self, name: str, reason: str = "") -> list[str]:
        self.machine.skip_by_hand(self.at(name), reason, self.now_ms)
        return self.effects()

    def retry(self, name: str | None = None) -> list[str]:
        self.machine.retry_by_hand(None if name is None else self.at(name), self.now_ms)
        return self.effects()

    def cancel(self, reason: str = "enough") -> list[str]:
        self.machine.cancel(reason, self.now_ms)
        return self.effects()

    def state(self, name: str) -> StepState:
        return self.machine.state(self.at(name))

    def states(self) -> str:
        """The first letters of the states of all steps, `k` for skipped and `x` for cancelled."""
        letters = {"skipped": "k", "cancelled": "x", "ready": "R"}
        count = sum(self.machine.counts().values())
        return "".join(letters.get(state := self.machine.state(place), state[0]) for place in range(count))

    def run_state(self) -> RunState:
        return self.machine.run_state

    def why(self, name: str) -> str:
        return self.machine.why(self.at(name))

    def reason(self, name: str) -> str:
        return self.machine.row(self.at(name)).reason

    def _running(self, name: str) -> None:
        if self.state(name) == "ready":
            self.start(name)


def graph_of(
    steps: str,
    merge: Mapping[str, Merge] | None = None,
    arms: Mapping[str, Mapping[str, str]] | None = None,
    children: Mapping[str, Children] | None = None,
    groups: Mapping[str, Group] | None = None,
) -> StepGraph:
    """`a b:a c:a,b` are three steps, of which b needs a; `x@g` is of group g."""
    ids: list[str] = []
    needs: list[tuple[str, ...]] = []
    group_of: list[int] = []
    names = list(groups or {})
    for step in steps.split():
        id_, _, needed = step.partition(":")
        id_, _, group = id_.partition("@")
        ids.append(id_)
        needs.append(tuple(filter(None, needed.split(","))))
        group_of.append(names.index(group) if group else -1)
    return StepGraph(
        ids,
        needs,
        [(merge or {}).get(id_, "none-failed") for id_ in ids],
        {ids.index(id_): found for id_, found in (arms or {}).items()},
        group_of if groups else None,
        tuple((groups or {}).values()),
        {ids.index(id_): found for id_, found in (children or {}).items()},
    )


def play_of(
    steps: str | StepGraph,
    merge: Mapping[str, Merge] | None = None,
    arms: Mapping[str, Mapping[str, str]] | None = None,
    *,
    fail_fast: bool = False,
    undoable: str = "",
) -> Play:
    graph = steps if isinstance(steps, StepGraph) else graph_of(steps, merge, arms)
    compensable = [graph.position[id_] for id_ in undoable.split()]
    return Play(RunMachine(graph, fail_fast, compensable), graph)


def restarted(
    play: Play,
    *,
    fail_fast: bool = False,
    paused: bool = False,
    cancelled: bool = False,
    undoable: str = "",
    expansions: Iterable[str] = (),
) -> Play:
    """What the rows that were written make of the execution after a restart."""
    machine = RunMachine.restore(
        play.graph,
        play.rows.values(),
        play.now_ms,
        fail_fast=fail_fast,
        paused=paused,
        cancelled=cancelled,
        expansions={play.at(name): play.machine.expansion(play.at(name)) for name in expansions},
        compensable=[play.graph.position[id_] for id_ in undoable.split()],
    )
    after = Play(machine, play.graph)
    after.rows = dict(play.rows)
    after.now_ms = play.now_ms
    return after
