"""Random executions: what becomes of every step, a slow model of that, and a driver that checks every promise."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, cast

from coterie.engine.journal.port import StepRow
from coterie.engine.machine.run_machine import Compensate, Ended, Gather, Ready, RunMachine, Stop, Withdraw
from coterie.engine.machine.step_graph import Children, Group, StepGraph
from coterie.engine.model import STEP_ENDED, Merge, StepState
from coterie_protocols.errors import UserError

End = Literal["completed", "failed", "tolerated", "skipped", "cancelled"]
MERGES: tuple[Merge, ...] = ("none-failed", "all", "any", "first", "ended")
ENDS: tuple[End, ...] = ("completed", "completed", "completed", "failed", "tolerated", "skipped", "cancelled")
ARMS = ("left", "right")
ROUNDS_MAX = 2_000


@dataclass
class Fate:
    """What a step comes to when it runs: after some failed tries, at once or by way of children."""

    end: End
    arm: str
    tries: int = 0
    children: list["Fate"] = field(default_factory=list["Fate"])
    is_map: bool = False


@dataclass
class Plan:
    """A graph and what becomes of its steps."""

    graph: StepGraph
    fates: list[Fate]
    compensable: list[int]


def fate_of(random: Random, depth: int = 0) -> Fate:
    fate = Fate(random.choice(ENDS), random.choice(ARMS), random.choice((0, 0, 1, 2)))
    if depth < 2 and random.random() < 0.25:
        fate.is_map = True
        fate.children = [fate_of(random, depth + 1) for _ in range(random.randrange(4))]
    return fate


def plan_of(random: Random) -> Plan:
    """Up to ten steps, in no particular order, with every merge rule, arms, groups and limited maps."""
    count = random.randrange(1, 11)
    order = list(range(count))
    random.shuffle(order)  # order[k] needs only steps among order[:k]
    needs: list[tuple[str, ...]] = [()] * count
    for place, node in enumerate(order):
        found = random.sample(order[:place], min(place, random.choice((0, 1, 1, 2, 3))))
        needs[node] = tuple(map(str, found))
    arms = {
        node: {random.choice(named): random.choice(ARMS)}
        for node, named in enumerate(needs)
        if named and random.random() < 0.2
    }
    limits = [Group(random.randrange(3)) for _ in range(2)]
    inner = Children(Group(random.randrange(3)))
    graph = StepGraph(
        map(str, range(count)),
        needs,
        [random.choice(MERGES) for _ in range(count)],
        arms,
        [random.choice((-1, 0, 1)) for _ in range(count)] if random.random() < 0.5 else None,
        limits,
        {node: Children(Group(random.randrange(3)), random.random() < 0.5, inner) for node in range(count)},
    )
    compensable = [node for node in range(count) if random.random() < 0.3]
    return Plan(graph, [fate_of(random) for _ in range(count)], compensable)


# --- the slow model ---


def expected(plan: Plan) -> list[StepState]:
    """What every step of the plan comes to, worked out one after another."""
    graph = plan.graph
    come_to: dict[int, End] = {}
    arm: dict[int, str] = {}
    while len(come_to) < len(graph.ids):
        for node, fate in enumerate(plan.fates):
            if node in come_to or not all(need in come_to for need in graph.needs[node]):
                continue
            ends: list[End] = [come_to[need] for need in graph.needs[node]]
            if runs(graph.merge[node], ends) and all(arm.get(need) == name for need, name in graph.arms.get(node, ())):
                come_to[node] = end_of(fate)
                if come_to[node] == "completed":
                    arm[node] = fate.arm
            else:
                come_to[node] = "skipped"
    states: dict[End, StepState] = {"completed": "completed", "skipped": "skipped", "cancelled": "cancelled"}
    return [states.get(come_to[node], "failed") for node in range(len(graph.ids))]


def runs(merge: Merge, ends: Sequence[End]) -> bool:
    if not ends or merge == "ended":
        return True
    good = [end in ("completed", "tolerated") for end in ends]
    if merge == "all":
        return all(good)
    if merge in ("any", "first"):
        return any(good)
    return any(good) and "failed" not in ends and "cancelled" not in ends


def end_of(fate: Fate) -> End:
    if not fate.is_map or fate.end == "skipped":
        return fate.end
    good = all(end_of(child) in ("completed", "tolerated") for child in fate.children)
    return "completed" if good else "tolerated" if fate.end == "tolerated" else "failed"


# --- the driver's part ---


class World:
    """Drives a machine at random, keeps what is to be kept, and checks every promise on the way."""

    def __init__(self, plan: Plan, random: Random, fail_fast: bool = False) -> None:
        self.plan = plan
        self.random = random
        self.fail_fast = fail_fast
        self.now_ms = 1_000
        self.rows: dict[int, StepRow] = {}
        self.expansions: dict[int, tuple[int, int]] = {}
        self.fates: dict[int, Fate] = dict(enumerate(plan.fates))
        self.parent: dict[int, int] = {}
        self.tried: Counter[int] = Counter()
        self.cancelled = False
        self.machine = RunMachine(plan.graph, fail_fast, plan.compensable)
        self._forget()
        self.machine.begin(self.now_ms)
        self.settle()

    def _forget(self) -> None:
        """What lives only as long as the engine."""
        self.told: set[int] = set()
        self.running: set[int] = set()
        self.stopping: set[int] = set()
        self.gather: set[int] = set()
        self.undoing: int | None = None
        self.ended: str | None = None

    def restart(self) -> None:
        """The engine dies and comes back. What was paused is not any more."""
        before = self.states()
        kept = {position for position, state in before.items() if state in STEP_ENDED}
        self.machine = RunMachine.restore(
            self.plan.graph,
            list(self.rows.values()),
            self.now_ms,
            fail_fast=self.fail_fast,
            cancelled=self.cancelled,
            expansions=self.expansions,
            compensable=self.plan.compensable,
        )
        self._forget()
        self.machine.begin(self.now_ms)
        self.settle()
        assert all(self.machine.state(position) == before[position] for position in kept)

    def states(self) -> dict[int, StepState]:
        return {position: self.machine.state(position) for position in self.fates}

    def settle(self) -> None:
        """Takes effects and rows, and checks that they make sense."""
        for effect in self.machine.take_effects():
            match effect:
                case Ready(position):
                    assert position not in self.told | self.running
                    assert not (position in self.rows and self.rows[position].state == "completed")
                    self.told.add(position)
                case Withdraw(position):
                    self.told.remove(position)
                case Stop(position):
                    assert position in self.running - self.stopping
                    self.stopping.add(position)
                case Gather(position):
                    assert self.machine.state(position) == "running"
                    assert all(self.machine.state(child) in STEP_ENDED for child in self.children(position))
                    self.gather.add(position)
                case Compensate(position):
                    assert self.machine.state(position) == "completed"
                    assert not self.rows[position].compensation
                    assert self.undoing is None
                    self.undoing = position
                case Ended(state):
                    assert self.ended is None
                    self.ended = state
        for position in self.machine.take_changed():
            row = self.machine.row(position)
            if row.state in STEP_ENDED:
                before = self.rows.get(position)
                kept = before is not None and before.state == row.state and row.compensation
                row.ended_ms = before.ended_ms if before is not None and kept else self.now_ms
            self.rows[position] = row
        self.check()

    def check(self) -> None:
        states = self.states()
        assert Counter({state: count for state, count in self.machine.counts().items() if count}) == Counter(
            states.values()
        )
        assert self.told == {position for position, state in states.items() if state == "ready"}
        alive = {position for position, state in states.items() if state == "running"}
        assert self.running == alive - set(self.expansions)
        for group, members in self.groups():
            if group.max_concurrent:
                assert len((self.told | alive) & set(members)) <= group.max_concurrent
        for position, state in states.items():
            if state in STEP_ENDED:
                row = self.rows[position]
                assert (row.state, row.reason) == (state, self.machine.row(position).reason)
                assert row.reason or state in ("completed", "failed")
            assert self.machine.why(position)
        if self.ended is not None:
            assert set(states.values()) <= STEP_ENDED
            assert self.machine.run_state == self.ended
            self.check_outcome(states)
        elif self.machine.run_state != "paused":
            due_ms = self.machine.next_due_ms()
            going = self.told | self.running | self.gather
            assert going or due_ms is not None or self.undoing is not None, "nothing can ever happen any more"

    def check_outcome(self, states: dict[int, StepState]) -> None:
        size = len(self.plan.graph.ids)
        bad = {state for position, state in states.items() if position < size and not self.rows[position].tolerated}
        match self.ended:
            case "completed":
                assert not bad & {"failed", "cancelled"}
            case "failed":
                assert "failed" in bad
            case _:
                assert self.cancelled or "cancelled" in bad

    def groups(self) -> Iterator[tuple[Group, Sequence[int]]]:
        graph = self.plan.graph
        if graph.group_of is not None:
            for index, group in enumerate(graph.groups):
                yield group, [place for place, its in enumerate(graph.group_of) if its == index]
        for owner in self.expansions:
            yield self.rule(owner).group, self.children(owner)

    def rule(self, owner: int) -> Children:
        if owner not in self.parent:
            return self.plan.graph.children[owner]
        return self.rule(self.parent[owner]).inner or Children()

    def children(self, owner: int) -> range:
        first, count = self.machine.expansion(owner)
        return range(first, first + count)

    # --- what happens ---

    def step(self) -> None:
        """One thing happens that can happen."""
        self.now_ms += self.random.randrange(3)
        choices: list[str] = (
            ["start"] * bool(self.told) + ["land"] * bool(self.running) + ["gather"] * bool(self.gather)
        )
        choices += ["undone"] * (self.undoing is not None) + ["wake"] * (self.machine.next_due_ms() is not None)
        match self.random.choice(choices):
            case "start":
                self.start(self.random.choice(sorted(self.told)))
            case "land":
                self.land(self.random.choice(sorted(self.running)))
            case "gather":
                self.gathered(self.random.choice(sorted(self.gather)))
            case "undone":
                position, self.undoing = cast(int, self.undoing), None
                self.machine.compensated(position, self.random.random() < 0.7, "cannot", self.now_ms)
            case _:
                self.now_ms = max(self.now_ms, cast(int, self.machine.next_due_ms()))
                self.machine.wake(self.now_ms)
        self.settle()

    def start(self, position: int) -> None:
        self.told.remove(position)
        if self.fates[position].end == "skipped":
            self.machine.skipped(position, "its condition is false", self.now_ms)
            return
        self.machine.started(position, self.now_ms)
        self.running.add(position)

    def land(self, position: int) -> None:
        """The attempt ends."""
        fate = self.fates[position]
        self.running.remove(position)
        if position in self.stopping and self.random.random() < 0.7:
            self.stopping.remove(position)
            self.machine.cancelled(position, self.now_ms)
            return
        self.stopping.discard(position)
        if self.tried[position] < fate.tries:
            self.tried[position] += 1
            self.machine.retry_at(position, self.now_ms + self.random.randrange(5), self.now_ms, reason="refused")
        elif fate.is_map:
            self.expand(position, fate)
        else:
            self.finish(position, fate.end)

    def expand(self, position: int, fate: Fate) -> None:
        first = self.machine.expanded(position, len(fate.children), self.now_ms)
        self.expansions[position] = (first, len(fate.children))
        for index, child in enumerate(fate.children):
            self.fates[first + index] = child
            self.parent[first + index] = position

    def gathered(self, position: int) -> None:
        self.gather.remove(position)
        good = all(self.machine.succeeded(child) for child in self.children(position))
        bad: End = "tolerated" if self.fates[position].end == "tolerated" else "failed"
        self.finish(position, "completed" if good else bad)

    def finish(self, position: int, end: End) -> None:
        match end:
            case "completed":
                arm = self.fates[position].arm if position < len(self.plan.graph.ids) else None
                self.machine.completed(position, self.now_ms, arm=arm)
            case "failed" | "tolerated":
                self.machine.failed(position, "boom", self.now_ms, tolerated=end == "tolerated")
            case _:
                self.machine.cancelled(position, self.now_ms, reason="went away")

    def finish_all(self) -> None:
        if self.machine.run_state == "paused":
            self.machine.resume(self.now_ms)
            self.settle()
        for _ in range(ROUNDS_MAX):
            if self.ended is not None:
                return
            self.step()
        raise AssertionError("it does not end")

    # --- what people do ---

    def command(self) -> None:
        position = self.random.choice([None, *self.fates])
        try:
            match self.random.randrange(8):
                case 0:
                    self.machine.pause(self.now_ms)
                case 1 | 2:
                    self.machine.resume(self.now_ms)
                case 3 if self.random.random() < 0.3:
                    self.machine.cancel("enough", self.now_ms)
                    self.cancelled = self.machine.run_state == "cancelled"
                case 4 | 5 if position is not None:
                    self.machine.skip_by_hand(position, "not needed", self.now_ms)
                    self.ended = None
                case _:
                    self.machine.retry_by_hand(position, self.now_ms)
                    self.cancelled, self.ended = False, None
                    self.mend(position)
        except UserError:
            assert not self.machine.take_effects()
            assert not self.machine.take_changed()
            return
        self.settle()

    def mend(self, position: int | None) -> None:
        """Perhaps what failed will do better now."""
        for place in self.fates if position is None else [position]:
            if self.random.random() < 0.5:
                self.fates[place].end = "completed"
