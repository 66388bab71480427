"""Who holds a task, and who takes it over when."""

from dataclasses import replace
from functools import cache
from typing import Final

import pytest

from coterie_protocols.ops import Care, Submit
from simulation.checkers import CheckFailed
from simulation.end import check_the_end
from simulation.faults import Crash, Cut, Fault
from simulation.runner import Attempt, Work
from simulation.swarm import Member, Swarm, SwarmSettings
from simulation.workloads import independent_submit

LONG: Final = Work(median_s=30.0, sigma=0.0)
SUBMITTED_AT_S: Final = 20.0
FAULT_AT_S: Final = 30.0
NAMES: Final = ("founder", "m1", "m2", "m3", "m4")


def one_task(swarm: Swarm, care: Care = "normal") -> Submit:
    return replace(independent_submit(swarm.blob("founder"), 1), care=care)


def attempts_after(
    fault: Fault | None, *, seed: int = 1, lease_s: float = 3.0, stop: bool = False, care: Care = "normal"
) -> list[Attempt]:
    """Plays one long task, a fault in the middle of it, and the rest; the task's attempts in the order of starts."""
    members = [Member(name, slots=1) for name in NAMES]
    settings = SwarmSettings(seed=seed, work=LONG, lease_s=lease_s, stop_when_isolated=stop)
    swarm = Swarm(settings, members, [] if fault is None else [fault])

    async def scene(swarm: Swarm) -> None:
        await swarm.until(SUBMITTED_AT_S)
        swarm.submit("founder", one_task(swarm, care))
        await swarm.until(FAULT_AT_S + 120)
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
    return swarm.journal.attempts


@cache
def holder(seed: int = 1) -> str:
    """Who takes the task of a seed, if nothing goes wrong."""
    return attempts_after(None, seed=seed)[0].machine


def test_the_task_starts_at_once_and_once() -> None:
    attempts = attempts_after(None)
    assert len(attempts) == 1
    assert attempts[0].started_s - SUBMITTED_AT_S < 0.1


def test_a_killed_holder_is_followed_within_five_seconds() -> None:
    for seed in range(5):
        fault = Crash(holder(seed), FAULT_AT_S, down_s=200.0, notice_s=60.0)
        first, second = attempts_after(fault, seed=seed)
        assert first.ended_s == FAULT_AT_S
        assert second.number == 2
        assert second.machine != first.machine
        assert second.started_s - FAULT_AT_S < 5.0


def test_a_holder_whose_restart_is_seen_gives_the_task_back_at_once() -> None:
    first, second = attempts_after(Crash(holder(), FAULT_AT_S, down_s=1.0), lease_s=60.0)
    assert first.ended_s == FAULT_AT_S
    assert second.started_s - FAULT_AT_S < 8.0


def test_an_isolated_holder_stops_before_anybody_follows() -> None:
    for seed in range(5):
        name = holder(seed)
        others = frozenset(NAMES) - {name}
        attempts = attempts_after(Cut(frozenset({name}), others, FAULT_AT_S, 100.0), seed=seed, stop=True)
        first, second = attempts[:2]
        assert first.machine == name
        assert first.ended_s is not None
        assert first.ended_s <= second.started_s
        assert second.machine in others
        assert len(attempts) == 2


def test_an_isolated_holder_goes_on_where_that_is_the_policy() -> None:
    name = holder()
    others = frozenset(NAMES) - {name}
    first, second = attempts_after(Cut(frozenset({name}), others, FAULT_AT_S, 32.0 + FAULT_AT_S))
    assert first.finished
    assert second.started_s < FAULT_AT_S + 5.0


def test_at_most_once_waits_for_its_holder() -> None:
    fault = Crash(holder(), FAULT_AT_S, down_s=60.0)
    first, second = attempts_after(fault, care="at-most-once")
    assert first.ended_s == FAULT_AT_S
    assert second.started_s >= FAULT_AT_S + 60.0


def test_nobody_follows_a_holder_that_is_alive() -> None:
    names = frozenset(NAMES)
    name = holder()
    bystander = min(names - {name})
    cut = Cut(frozenset({bystander}), frozenset({name}), FAULT_AT_S, FAULT_AT_S + 20.0)
    assert len(attempts_after(cut)) == 1  # what the bystander does not hear itself, the others pass on


def test_the_checkers_do_notice() -> None:
    """A checker that never fails checks nothing: here, a peace that cannot come."""
    settings = SwarmSettings(seed=1)

    async def scene(swarm: Swarm) -> None:
        await swarm.until(SUBMITTED_AT_S)
        op = independent_submit(swarm.blob("founder"), 1)
        impossible = replace(op, tasks=(replace(op.tasks[0], labels=("nobody-has-this",)),))
        swarm.submit("founder", impossible)
        await swarm.peace()

    with pytest.raises(CheckFailed, match="job0 of"):
        Swarm(settings, [Member("founder"), Member("m1")]).run(scene)


def test_a_coterie_of_one_runs_careful_tasks_to_their_end() -> None:
    swarm = Swarm(SwarmSettings(seed=1, work=LONG, lease_s=3.0), [Member("founder")])

    async def scene(swarm: Swarm) -> None:
        await swarm.until(SUBMITTED_AT_S)
        swarm.submit("founder", one_task(swarm, "careful"))
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
    assert [attempt.finished for attempt in swarm.journal.attempts] == [True]


def test_a_holder_that_does_not_notice_its_isolation_stops_in_time_all_the_same() -> None:
    """A cable is pulled: for fifteen seconds the connections seem to stand."""
    for seed in range(5):
        name = holder(seed)
        others = frozenset(NAMES) - {name}
        cut = Cut(frozenset({name}), others, FAULT_AT_S, 100.0, notice_s=15.0)
        first, second = attempts_after(cut, seed=seed, stop=True)[:2]
        assert first.machine == name
        assert first.ended_s is not None
        assert first.ended_s <= second.started_s
