"""What holds for the admission whatever is offered, withdrawn and released, in whatever order."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.engine.admission.admission import RESERVE_AFTER_S, Admission, Want

TOTAL = {"cpu": 4.0, "disk": 1.0}
EXECUTIONS = {"a": "w", "b": "w", "c": "v", "d": "u"}
"""Which workflow each belongs to."""

ASKS = (None, None, {"cpu": 1.0}, {"cpu": 4.0}, {"cpu": 0.3, "disk": 0.3}, {"disk": 1.0}, {"cpu": 0.0})

Wanted = dict[str, Any]
Operation = tuple[str, Any]

WANTS: st.SearchStrategy[Wanted] = st.fixed_dictionaries(
    {
        "execution": st.sampled_from(sorted(EXECUTIONS)),
        "priority": st.sampled_from([0.0, 3.0, 3.0, 3.0, 3.5, 9.0]),
        "key": st.sampled_from(["", "", "", "k", "l"]),
        "resources": st.sampled_from(ASKS),
    }
)
PLAIN: st.SearchStrategy[Wanted] = st.fixed_dictionaries({"execution": st.sampled_from(sorted(EXECUTIONS))})
NAMES = st.sampled_from([*EXECUTIONS, "w", "v"])


def operations(wants: st.SearchStrategy[Wanted]) -> st.SearchStrategy[list[Operation]]:
    return st.lists(
        st.one_of(
            st.tuples(st.just("offer"), wants),
            st.tuples(st.just("offer"), wants),
            st.tuples(st.just("withdraw"), st.integers(0, 50)),
            st.tuples(st.just("release"), st.integers(0, 50)),
            st.tuples(st.just("admit"), st.sampled_from([0.0, 1.0, RESERVE_AFTER_S, 100.0])),
            st.tuples(st.just("limit"), st.tuples(NAMES, st.integers(0, 2))),
            st.tuples(st.just("pause"), NAMES),
            st.tuples(st.just("resume"), NAMES),
        ),
        max_size=60,
    )


@dataclass
class House:
    """An admission, and what a simple mind knows of it."""

    room: int
    admission: Admission = field(init=False)
    waiting: list[Want] = field(default_factory=list[Want])
    running: list[Want] = field(default_factory=list[Want])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    paused: set[str] = field(default_factory=set[str])
    now_s: float = 0.0
    offered: int = 0

    def __post_init__(self) -> None:
        self.admission = Admission(self.room, TOTAL, ageing_s=60.0)

    def offer(
        self, execution: str, priority: float = 3.0, key: str = "", resources: dict[str, float] | None = None
    ) -> None:
        self.offered += 1
        want = Want((execution, self.offered), EXECUTIONS[execution], execution, priority, self.now_s, resources, key)
        self.admission.offer(want)
        self.waiting.append(want)

    def withdraw(self, number: int) -> None:
        if self.waiting:
            want = self.waiting.pop(number % len(self.waiting))
            assert self.admission.withdraw(want.ticket)

    def release(self, number: int) -> None:
        if self.running:
            self.admission.release(self.running.pop(number % len(self.running)).ticket)

    def admit(self, later_s: float) -> None:
        self.now_s += later_s
        for want in self.admission.admit(self.now_s):
            self.waiting.remove(want)
            self.running.append(want)
        assert self.broken_limits() == []
        assert [want for want in self.waiting if not self.kept_back(want)] == []

    def limit(self, named: tuple[str, int]) -> None:
        name, most = named
        # What already runs may be more than a new limit allows; then the limit is what runs, and sinks with it.
        most = most and max(most, self.count(name))
        self.limits[name] = most
        self.admission.set_limit(name, most)

    def pause(self, name: str) -> None:
        self.paused.add(name)
        self.admission.pause(name)

    def resume(self, name: str) -> None:
        self.paused.discard(name)
        self.admission.resume(name)

    def count(self, name: str) -> int:
        return sum(name in (want.execution, want.workflow) for want in self.running)

    def used(self, name: str) -> float:
        return sum((want.resources or {}).get(name, 0.0) for want in self.running)

    def broken_limits(self) -> list[str]:
        keys = Counter(want.key for want in self.running if want.key)
        return [
            *(["room"] if len(self.running) > self.room else []),
            *(name for name, most in self.limits.items() if most and self.count(name) > most),
            *(name for name, total in TOTAL.items() if self.used(name) > total + 1e-6),
            *(key for key, count in keys.items() if count > 1),
        ]

    def kept_back(self, want: Want) -> bool:
        """Is there a reason for which it waits?"""
        names = (want.execution, want.workflow)
        asked = (want.resources or {}).items()
        return (
            len(self.running) >= self.room
            or any(name in self.paused for name in names)
            or any(self.limits.get(name) and self.count(name) >= self.limits[name] for name in names)
            or any(want.key and other.key == want.key for other in self.running)
            or any(amount and self.used(name) + amount > TOTAL[name] + 1e-6 for name, amount in asked)
            or any(words in self.admission.why(want.ticket) for words in ("goes first", "kept for"))
        )

    def perform(self, operation: Operation) -> None:
        name, argument = operation
        if name == "offer":
            self.offer(**argument)
        else:
            getattr(self, name)(argument)
        assert self.admission.waiting == len(self.waiting)
        assert self.admission.running == len(self.running)


@settings(deadline=None)
@given(st.integers(1, 6), operations(WANTS))
def test_limits_hold_and_nothing_waits_without_a_reason(room: int, what: list[Operation]) -> None:
    house = House(room)
    for operation in what:
        house.perform(operation)
    house.admit(0.0)


@settings(deadline=None)
@given(st.integers(1, 6), operations(WANTS))
def test_with_finite_work_every_want_starts(room: int, what: list[Operation]) -> None:
    house = House(room)
    for operation in what:
        house.perform(operation)
    for name in list(house.paused):
        house.resume(name)
    steps = 2 * house.offered + 2
    for _ in range(steps):
        house.admit(1.0)
        house.release(0)
    assert house.waiting == []
    assert house.running == []
    assert set(house.admission.used.values()) == {0.0}


@settings(deadline=None)
@given(st.integers(1, 6), operations(PLAIN))
def test_who_has_the_fewest_running_goes_first(room: int, what: list[Operation]) -> None:
    house = House(room)
    for operation in what:
        before = Counter[str]()
        for want in house.running:
            before.update((want.execution, want.workflow))
        waited, ran = list(house.waiting), len(house.running)
        house.perform(operation)
        for want in house.running[ran:] if operation[0] == "admit" else []:
            rivals = [each for each in waited if _may_start(house, each, before)]
            assert before[want.workflow] == min(before[each.workflow] for each in rivals)
            mine = [each for each in rivals if each.workflow == want.workflow]
            assert before[want.execution] == min(before[each.execution] for each in mine)
            assert want is min(
                (each for each in mine if each.execution == want.execution), key=lambda each: each.ticket[1]
            )
            waited.remove(want)
            before.update((want.execution, want.workflow))


def _may_start(house: House, want: Want, running: Counter[str]) -> bool:
    names = (want.execution, want.workflow)
    full = any(house.limits.get(name) and running[name] >= house.limits[name] for name in names)
    return not full and not house.paused.intersection(names)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=200), st.integers(1, 4))
def test_two_with_enough_to_do_get_the_same(ends: list[tuple[int, bool]], half: int) -> None:
    """Whatever ends when, neither of two workflows is ever a full step behind in what it has running."""
    house = House(2 * half)
    for execution in ("c", "d"):
        for _ in range(300):
            house.offer(execution)
    house.admit(0.0)
    for number, _ in ends:
        house.release(number)
        house.admit(1.0)
        assert {house.count("v"), house.count("u")} == {half}


@settings(deadline=None)
@given(st.integers(2, 6), st.lists(st.sampled_from([1.0, 3.0]), min_size=20, max_size=60))
def test_a_big_want_is_not_overtaken_for_ever(room: int, small: list[float]) -> None:
    """New small wants come without end, one whenever one ends; the big one starts all the same."""
    house = House(room)
    for _ in range(room + 1):
        house.offer("a", resources={"cpu": 1.0})
    house.admit(0.0)
    house.offer("c", resources={"cpu": 4.0})
    big = house.waiting[-1]
    for later_s in small * 3:
        house.offer("a", resources={"cpu": 1.0})
        house.release(0)
        house.admit(later_s)
        if big in house.running:
            break
    assert big in house.running
    assert house.now_s <= RESERVE_AFTER_S + 3.0 * (room + 1)
