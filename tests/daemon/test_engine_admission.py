"""Who may start, and why the others wait."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import pytest

from coterie.engine.admission.accounts import ASKS_MAX, IDLE_MAX
from coterie.engine.admission.admission import RESERVE_AFTER_S, Admission, NeverFits, Want
from coterie_protocols.errors import UserError

AGEING_S = 60.0


def want(
    name: str,
    *,
    workflow: str = "",
    priority: float = 3.0,
    since_s: float = 0.0,
    key: str = "",
    **resources: float,
) -> Want:
    """`a7` is step 7 of execution `a`."""
    execution, position = name[0], int(name[1:])
    return Want((execution, position), workflow or execution, execution, priority, since_s, resources or None, key)


def offer(admission: Admission, *names: str, **fields: Any) -> None:
    for name in names:
        admission.offer(want(name, **fields))


def admit(admission: Admission, now_s: float = 0.0) -> list[str]:
    return [f"{each.ticket[0]}{each.ticket[1]}" for each in admission.admit(now_s)]


def end(admission: Admission, name: str, now_s: float = 0.0) -> list[str]:
    admission.release((name[0], int(name[1:])))
    return admit(admission, now_s)


def why(admission: Admission, name: str) -> str:
    return admission.why((name[0], int(name[1:])))


# --- room ---


def test_as_many_start_as_there_is_room_for() -> None:
    admission = Admission(2)
    offer(admission, "a1", "a2", "a3")
    assert admit(admission) == ["a1", "a2"]
    assert admit(admission) == []
    assert (admission.running, admission.waiting) == (2, 1)
    assert why(admission, "a3") == "waits for room: 2 of 2 steps run"
    assert end(admission, "a1") == ["a3"]
    assert (admission.running, admission.waiting) == (2, 0)


def test_before_it_was_asked_it_waits_for_its_turn() -> None:
    admission = Admission(2)
    offer(admission, "a1")
    assert why(admission, "a1") == "waits for its turn"
    assert admit(admission) == ["a1"]
    assert why(admission, "a1") == ""
    assert why(admission, "b1") == ""


@pytest.mark.parametrize(("room", "ageing_s"), [(0, 60.0), (1, 0.0), (1, float("inf")), (1, float("nan"))])
def test_limits_that_would_start_nothing_are_refused(room: int, ageing_s: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Admission(room, ageing_s=ageing_s)


def test_one_ticket_is_there_once() -> None:
    admission = Admission(1)
    offer(admission, "a1", "a2")
    admit(admission)
    for name in ("a1", "a2"):
        with pytest.raises(ValueError, match=f"run a step {name[1:]} is offered a second time"):
            offer(admission, name)
    with pytest.raises(KeyError):
        admission.release(("a", 2))


def test_the_same_want_may_come_again_after_it_ended_or_was_withdrawn() -> None:
    admission = Admission(1)
    again, other = want("a1"), want("a2")
    admission.offer(again)
    admission.offer(other)
    assert admission.withdraw(("a", 1))
    admission.offer(again)
    assert admit(admission) == ["a2"]
    assert end(admission, "a2") == ["a1"]
    assert end(admission, "a1") == []
    admission.offer(again)
    assert admit(admission) == ["a1"]


def test_withdrawn_wants_never_start() -> None:
    admission = Admission(1)
    offer(admission, "a1", "a2", "a3")
    assert admission.withdraw(("a", 1))
    assert not admission.withdraw(("a", 1))
    assert admit(admission) == ["a2"]
    assert not admission.withdraw(("a", 2))
    assert admission.waiting == 1


# --- the order ---


def test_in_an_execution_the_longest_ready_goes_first() -> None:
    admission = Admission(1)
    offer(admission, "a1", since_s=2.0)
    offer(admission, "a2", since_s=1.0)
    offer(admission, "a3", since_s=3.0)
    offer(admission, "a4", since_s=0.5)
    assert admit(admission, 4.0) == ["a4"]
    assert [*end(admission, "a4"), *end(admission, "a2"), *end(admission, "a1")] == ["a2", "a1", "a3"]


def test_the_smaller_priority_goes_first_however_long_the_backlog() -> None:
    admission = Admission(1)
    offer(admission, *(f"a{n}" for n in range(5)), priority=3.0, since_s=0.0)
    offer(admission, "a7", priority=1.0, since_s=1000.0)
    offer(admission, "b1", priority=2.0, since_s=1000.0)
    admission.offer(want("c1", priority=9.0, since_s=1000.0))
    assert admit(admission, 10.0) == ["a7"]
    assert end(admission, "a7", 10.0) == ["b1"]
    assert end(admission, "b1", 10.0) == ["a0"]


def test_within_a_class_fractions_of_priority_count_as_time() -> None:
    admission = Admission(1, ageing_s=AGEING_S)
    offer(admission, "a1", priority=3.5, since_s=0.0)
    offer(admission, "a2", priority=3.0, since_s=29.0)
    offer(admission, "a3", priority=3.0, since_s=31.0)
    assert admit(admission, 32.0) == ["a2"]
    assert end(admission, "a2", 32.0) == ["a1"]


def test_a_class_that_is_not_served_becomes_better() -> None:
    admission = Admission(1, ageing_s=AGEING_S)
    offer(admission, *(f"a{n}" for n in range(20)), priority=1.0)
    offer(admission, *(f"b{n}" for n in range(3)), priority=3.0)
    (current,) = admit(admission, 0.0)
    started: list[str] = []
    for second in range(10, 301, 10):
        (current,) = end(admission, current, float(second)) or ["a19"]
        started.append(current)
        if len(started) == 20:
            break
    # Two classes worse: one start every two minutes, while class 1 is served every ten seconds.
    assert started.index("b0") == 11
    assert "b1" not in started


def test_priorities_out_of_range_belong_to_the_first_or_last_class() -> None:
    admission = Admission(1)
    offer(admission, "a1", priority=1e6)
    offer(admission, "a2", priority=-1e6)
    offer(admission, "a3", priority=0.0)
    assert admit(admission) == ["a2"]
    assert end(admission, "a2") == ["a3"]
    assert end(admission, "a3") == ["a1"]


def test_a_short_run_does_not_wait_for_a_long_one() -> None:
    admission = Admission(4)
    offer(admission, *(f"a{n}" for n in range(1000)), since_s=0.0)
    assert admit(admission) == ["a0", "a1", "a2", "a3"]
    offer(admission, "b1", "b2", "b3", since_s=3600.0)
    assert end(admission, "a0") == ["b1"]
    assert end(admission, "a1") == ["b2"]
    assert end(admission, "a2") == ["a4"]  # two each
    assert end(admission, "b1") == ["b3"]


def test_executions_of_one_workflow_share_what_it_gets() -> None:
    admission = Admission(4)
    offer(admission, *(f"a{n}" for n in range(9)), workflow="w")
    offer(admission, *(f"b{n}" for n in range(9)), workflow="w")
    offer(admission, *(f"c{n}" for n in range(9)), workflow="v")
    assert sorted(name[0] for name in admit(admission)) == ["a", "b", "c", "c"]


def test_one_slot_goes_round() -> None:
    admission = Admission(1)
    for execution in "abc":
        offer(admission, *(f"{execution}{n}" for n in range(3)))
    (current,) = admit(admission)
    order = [current]
    while started := end(admission, current):
        (current,) = started
        order.append(current)
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


# --- limits of workflows and executions ---


def test_an_execution_keeps_to_its_limit() -> None:
    admission = Admission(10)
    admission.set_limit("a", 2)
    offer(admission, "a1", "a2", "a3", workflow="w")
    offer(admission, "b1", "b2", "b3", workflow="w")
    assert sorted(admit(admission)) == ["a1", "a2", "b1", "b2", "b3"]
    assert why(admission, "a3") == "waits for run limit 2: 2 steps of a run"
    assert end(admission, "b1") == []
    assert end(admission, "a1") == ["a3"]


def test_a_workflow_keeps_to_its_limit() -> None:
    admission = Admission(10)
    offer(admission, "a1", "a2", workflow="w")
    offer(admission, "b1", "b2", workflow="w")
    offer(admission, "c1", "c2", workflow="v", cpu=0.0)
    admission.set_limit("w", 2)
    assert sorted(admit(admission)) == ["a1", "b1", "c1", "c2"]
    assert why(admission, "a2") == "waits for workflow limit 2: 2 steps of w run"
    admission.set_limit("w", 3)
    assert admit(admission) == ["a2"]
    admission.set_limit("w", 0)
    assert admit(admission) == ["b2"]


def test_a_limit_below_what_runs_holds_from_then_on() -> None:
    admission = Admission(10)
    offer(admission, "a1", "a2", "a3", "a4")
    admission.set_limit("a", 3)
    assert admit(admission) == ["a1", "a2", "a3"]
    admission.set_limit("a", 1)
    assert end(admission, "a1") == []
    assert end(admission, "a2") == []
    assert end(admission, "a3") == ["a4"]


def test_what_is_paused_waits() -> None:
    admission = Admission(10)
    admission.pause("a")
    offer(admission, "a1", "b1")
    assert admit(admission) == ["b1"]
    assert why(admission, "a1") == "waits because run a is paused"
    admission.resume("a")
    admission.pause("b")
    offer(admission, "b2", "b3")
    assert admit(admission) == ["a1"]
    assert end(admission, "b1") == []
    admission.forget("b")
    assert admit(admission) == ["b2", "b3"]


def test_a_limit_goes_with_its_execution() -> None:
    admission = Admission(10)
    admission.set_limit("a", 1)
    admission.forget("a")
    offer(admission, "a1", "a2")
    assert admit(admission) == ["a1", "a2"]


# --- resources ---


def test_resources_are_shared() -> None:
    admission = Admission(10, {"cpu": 4.0, "memory": 8 * 2**30})
    offer(admission, "a1", "a2", cpu=1.5, memory=2**30)
    offer(admission, "a3", cpu=2.0, memory=2**29)
    assert admit(admission) == ["a1", "a2"]
    assert admission.used == {"cpu": 3.0, "memory": 2 * 2**30}
    assert why(admission, "a3") == "waits for cpu: asks 2 of 4, 1 is free"
    offer(admission, "a4", cpu=0.5, memory=7 * 2**30)
    assert admit(admission) == []
    assert why(admission, "a4") == "waits for memory: asks 7 GiB of 8 GiB, 6 GiB is free"
    assert end(admission, "a1") == ["a3"]
    assert end(admission, "a3") == ["a4"]
    assert end(admission, "a4") == []
    assert end(admission, "a2") == []
    assert admission.used == {"cpu": 0.0, "memory": 0.0}


def test_tenths_add_up_to_a_whole() -> None:
    admission = Admission(100, {"cpu": 1.0})
    offer(admission, *(f"a{n}" for n in range(11)), cpu=0.1)
    assert len(admit(admission)) == 10
    for n in range(10):
        end(admission, f"a{n}")
    end(admission, "a10")
    assert admission.used == {"cpu": 0.0}


@pytest.mark.parametrize(
    ("asked", "words", "hint"),
    [
        ({"cpu": 5.0}, "asks for 5 of cpu, and this engine has 4", "ask for less"),
        ({"disk": 2.0**31}, "asks for 2 GiB of disk, and this engine has 512 MiB", "ask for less"),
        ({"gpu": 1.0}, "asks for gpu, which this engine does not have", "it has cpu, disk"),
    ],
)
def test_what_could_never_start_is_refused(asked: Mapping[str, float], words: str, hint: str) -> None:
    admission = Admission(10, {"cpu": 4.0, "disk": 2.0**29})
    with pytest.raises(NeverFits, match=words) as caught:
        offer(admission, "a1", **asked)
    assert hint in caught.value.hint
    assert admission.waiting == 0
    offer(admission, "a1")
    assert admit(admission) == ["a1"]


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_what_is_no_amount_is_refused(amount: float) -> None:
    with pytest.raises(UserError, match="cannot ask for"):
        offer(Admission(1, {"cpu": 4.0}), "a1", cpu=amount)
    with pytest.raises(UserError, match="cannot have"):
        Admission(1, {"cpu": amount})


def test_an_engine_without_resources_says_so() -> None:
    with pytest.raises(NeverFits) as caught:
        offer(Admission(1), "a1", cpu=1.0)
    assert caught.value.hint == "it has no resources at all"
    offer(Admission(1), "a1", cpu=0.0)


def test_small_wants_overtake_a_big_one_but_not_for_ever() -> None:
    admission = Admission(10, {"cpu": 2.0})
    offer(admission, *(f"a{n}" for n in range(2)), cpu=1.0)
    offer(admission, "b0", cpu=2.0)
    assert admit(admission, 0.0) == ["a0", "a1"]
    offer(admission, *(f"a{n}" for n in range(2, 100)), cpu=1.0)
    assert end(admission, "a0", 10.0) == ["a2"]
    assert end(admission, "a1", 10.0 + RESERVE_AFTER_S - 20.0) == ["a3"]
    assert end(admission, "a2", RESERVE_AFTER_S) == []
    assert why(admission, "b0") == "waits for cpu: asks 2 of 2, 1 is free"
    assert why(admission, "a4") == (
        "waits for cpu: asks 1 of 2, 1 is free but kept for run b step 0, which waits longer"
    )
    offer(admission, "c0")
    assert admit(admission, RESERVE_AFTER_S) == ["c0"]  # takes nothing that is kept
    assert end(admission, "a3", RESERVE_AFTER_S) == ["b0"]
    assert why(admission, "a4") == "waits for cpu: asks 1 of 2, 0 is free"
    assert end(admission, "b0", RESERVE_AFTER_S) == ["a4", "a5"]


def test_what_is_more_urgent_takes_what_is_kept_for_others() -> None:
    admission = Admission(10, {"cpu": 2.0}, ageing_s=1000.0)
    offer(admission, "a0", "a1", cpu=1.0)
    assert admit(admission, 0.0) == ["a0", "a1"]
    offer(admission, "b0", cpu=2.0, priority=5.0)
    offer(admission, "b1", cpu=1.0, priority=5.0)
    assert admit(admission, 0.0) == []
    assert end(admission, "a0", RESERVE_AFTER_S + 1.0) == []
    offer(admission, "c0", cpu=1.0, priority=1.0)
    assert admit(admission, RESERVE_AFTER_S + 1.0) == ["c0"]


def test_what_is_left_besides_what_is_kept_may_be_taken() -> None:
    admission = Admission(10, {"cpu": 4.0, "disk": 1.0})
    offer(admission, "a0", disk=1.0)
    assert admit(admission, 0.0) == ["a0"]
    offer(admission, "b0", disk=1.0, cpu=2.0)
    assert admit(admission, 0.0) == []
    offer(admission, "a1", "a2", "a3", cpu=1.0)
    assert admit(admission, RESERVE_AFTER_S) == ["a1", "a2"]


def test_of_two_that_wait_long_the_longer_one_is_kept_for() -> None:
    admission = Admission(10, {"cpu": 4.0})
    offer(admission, "a0", cpu=1.0)
    assert admit(admission, 0.0) == ["a0"]
    offer(admission, "b0", cpu=4.0)
    assert admit(admission, 0.0) == []
    offer(admission, "c0", cpu=3.5)
    assert admit(admission, 1.0) == []
    offer(admission, "d0", cpu=1.0)
    assert admit(admission, RESERVE_AFTER_S + 1.0) == []
    assert end(admission, "a0", RESERVE_AFTER_S + 1.0) == ["b0"]


def test_many_different_asks_share_lines() -> None:
    admission = Admission(10_000, {"cpu": 1000.0})
    asks = 4 * ASKS_MAX
    for n in range(asks):
        offer(admission, f"a{n}", cpu=1000.0 - n)
    started = admit(admission)
    count = 0
    while started:
        count += len(started)
        assert admission.used["cpu"] <= 1000.0
        started = [name for each in started for name in end(admission, each)]
    assert count == asks


# --- keys ---


def test_steps_of_one_key_run_one_at_a_time() -> None:
    admission = Admission(10)
    offer(admission, "a1", "a2", "b1", key="db")
    offer(admission, "c1")
    assert admit(admission) == ["a1", "c1"]
    assert why(admission, "a2") == "waits for key 'db': held by run a step 1"
    assert why(admission, "b1") == "waits for key 'db': held by run a step 1"
    assert end(admission, "a1") == ["b1"]
    assert end(admission, "b1") == ["a2"]
    assert end(admission, "a2") == []


def test_another_key_is_another_matter() -> None:
    admission = Admission(10)
    for n in range(3):
        offer(admission, f"a{n}", key=f"key {n}")
    assert len(admit(admission)) == 3


def test_a_key_goes_to_the_more_urgent() -> None:
    admission = Admission(10)
    offer(admission, "a1", key="db")
    assert admit(admission) == ["a1"]
    offer(admission, "a2", "b2", key="db", priority=5.0)
    offer(admission, "a3", key="db", priority=1.0)
    assert admit(admission) == []
    assert end(admission, "a1") == ["a3"]
    assert end(admission, "a3") == ["b2"]


def test_a_more_urgent_want_takes_the_place_of_a_candidate() -> None:
    admission = Admission(1)
    offer(admission, "b1")
    assert admit(admission) == ["b1"]
    offer(admission, "a1", key="db", priority=5.0)
    offer(admission, "a2", key="db", priority=4.0)
    offer(admission, "a3", key="db", priority=6.0)
    assert why(admission, "a1") == "waits for key 'db': run a step 2 goes first"
    assert why(admission, "a2") == "waits for room: 1 of 1 steps run"
    assert end(admission, "b1") == ["a2"]


def test_a_paused_execution_does_not_keep_a_key_from_others() -> None:
    admission = Admission(10)
    offer(admission, "a1", "b1", key="db")
    admission.pause("a")
    assert admit(admission) == ["b1"]
    assert end(admission, "b1") == []
    admission.resume("a")
    assert admit(admission) == ["a1"]


def test_wants_for_a_key_may_be_withdrawn_anywhere() -> None:
    admission = Admission(10)
    offer(admission, "a1", "a2", "a3", "a4", key="db")
    assert admission.withdraw(("a", 1))  # the candidate
    assert admit(admission) == ["a2"]
    assert admission.withdraw(("a", 3))  # parked
    assert end(admission, "a2") == ["a4"]
    assert end(admission, "a4") == []
    offer(admission, "a5", key="db")
    assert admission.withdraw(("a", 5))
    assert admit(admission) == []
    offer(admission, "b5", key="db")
    assert admit(admission) == ["b5"]


# --- cost ---


def calls(work: Any) -> int:
    """How many Python functions `work` calls."""
    count = 0

    def tally(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(tally)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("waiting", [100, 10_000])
@pytest.mark.parametrize("blocked_by", ["key", "resource", "limit", "room"])
def test_what_is_blocked_is_not_looked_at_again(waiting: int, blocked_by: str) -> None:
    admission = Admission(1 if blocked_by == "room" else 10, {"cpu": 1.0})
    if blocked_by == "limit":
        admission.set_limit("a", 1)
    by: dict[str, dict[str, Any]] = {"key": {"key": "db"}, "resource": {"cpu": 1.0}}
    fields = by.get(blocked_by, {})
    for n in range(waiting):
        offer(admission, f"a{n}", **fields)
    assert admit(admission) == ["a0"]
    assert calls(lambda: admission.admit(0.0)) < 20
    assert calls(lambda: admission.release(("a", 0))) < 30
    assert calls(lambda: admission.admit(0.0)) < 60
    for n in range(2, waiting):
        admission.withdraw(("a", n))
    assert calls(lambda: admission.release(("a", 1))) < 30
    assert admission.waiting == 0


def test_what_ended_is_forgotten() -> None:
    admission = Admission(10)
    most = 0
    for n in range(10 * IDLE_MAX):
        admission.offer(Want((f"x{n}", 0), f"w{n}", f"x{n}", 3.0, 0.0, key=f"k{n}"))
        (started,) = admission.admit(0.0)
        admission.release(started.ticket)
        held: Any = admission
        most = max(most, len(held._accounts._executions), len(held._accounts._workflows))
        assert not held._keys
    assert most <= IDLE_MAX


def test_what_still_waits_is_not_forgotten() -> None:
    admission = Admission(1, {"cpu": 1.0})
    offer(admission, "a0", key="db", cpu=1.0)
    offer(admission, "a1", key="db")
    offer(admission, "b1", key="db")
    assert admit(admission) == ["a0"]
    for n in range(3 * IDLE_MAX):
        admission.offer(Want((f"x{n}", 0), f"w{n}", f"x{n}", 3.0, 0.0))
        admission.withdraw((f"x{n}", 0))
    admission.pause("b")
    assert end(admission, "a0") == ["a1"]
    assert end(admission, "a1") == []
    admission.resume("b")
    assert admit(admission) == ["b1"]
