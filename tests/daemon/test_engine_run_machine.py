"""One execution as a state machine: needs, attempts, pauses, cancellation, and how it stands."""

from collections.abc import Callable

import pytest

from coterie.engine.journal.port import StepRow
from coterie.engine.machine.run_machine import BadTransition, RunMachine
from coterie.engine.machine.step_graph import Group, StepGraph
from coterie.engine.model import RunState
from run_play import NOW_MS, Play, graph_of, play_of

# --- needs ---


def test_a_step_is_ready_when_its_own_needs_have_completed() -> None:
    play = play_of("a b:a c:a d:b,c slow")
    assert play.begin() == ["Ready a", "Ready slow"]
    assert play.complete("a") == ["Ready b", "Ready c"]
    assert play.complete("b") == []
    assert play.complete("c") == ["Ready d"]
    assert play.complete("d") == []
    assert play.complete("slow") == ["Ended completed"]


def test_a_failure_skips_what_needs_it_and_what_needs_that() -> None:
    play = play_of("a b:a c:b d:a,x x after:c", {"after": "ended"})
    play.begin()
    assert play.fail("a", "no disk") == ["Ready after"]
    assert play.states() == "fkkpRR"
    assert play.complete("x") == []
    assert (play.state("d"), play.reason("d")) == ("skipped", "a failed")
    assert play.reason("a") == "no disk"
    assert play.reason("c") == "b was skipped"
    assert play.complete("after") == ["Ended failed"]


def test_a_tolerated_failure_counts_as_completed() -> None:
    play = play_of("a b:a c:b", {"b": "all", "c": "any"})
    play.begin()
    assert play.fail("a", tolerated=True) == ["Ready b"]
    assert play.state("a") == "failed"
    assert play.machine.succeeded(0)
    assert play.machine.row(0).tolerated
    play.complete("b")
    assert play.complete("c") == ["Ended completed"]


def test_a_condition_of_its_own_skips_a_step_before_it_starts() -> None:
    play = play_of("a b:a c:a d:b,c")
    play.begin()
    play.complete("a")
    play.machine.skipped(play.at("b"), "its condition is false", NOW_MS)
    assert play.effects() == []
    assert play.reason("b") == "its condition is false"
    assert play.complete("c") == ["Ready d"]


def test_a_run_in_which_everything_was_skipped_is_completed() -> None:
    play = play_of("a b:a")
    play.begin()
    play.machine.skipped(0, "no", NOW_MS)
    assert play.effects() == ["Ended completed"]
    assert play.states() == "kk"


def test_an_execution_without_steps_completes_at_once() -> None:
    play = play_of("")
    assert play.run_state() == "pending"
    assert play.begin() == ["Ended completed"]
    assert play.run_state() == "completed"


def test_a_long_chain_is_skipped_without_recursion() -> None:
    count = 5_000
    graph = StepGraph(map(str, range(count)), [(), *[(str(place),) for place in range(count - 1)]])
    play = Play(RunMachine(graph), graph)
    play.begin()
    assert play.fail("0") == ["Ended failed"]
    assert play.machine.counts()["skipped"] == count - 1


# --- attempts ---


def test_another_try_waits_for_its_time() -> None:
    play = play_of("a b")
    play.begin()
    play.start("a", "b")
    play.machine.retry_at(0, 1_500, NOW_MS, reason="connection refused")
    play.machine.retry_at(1, 1_200, NOW_MS)
    assert play.effects() == []
    assert play.states() == "pp"
    assert play.machine.row(0) == StepRow(0, "pending", attempt=1, due_ms=1_500, reason="connection refused")
    assert play.machine.next_due_ms() == 1_200
    play.machine.wake(1_199)
    assert play.effects() == []
    play.machine.wake(1_200)
    assert play.effects() == ["Ready b"]
    assert play.machine.next_due_ms() == 1_500
    play.machine.wake(2_000)
    assert play.effects() == ["Ready a"]
    assert play.machine.next_due_ms() is None
    play.start("a")
    assert play.machine.row(0) == StepRow(0, "running", attempt=2)


def test_a_time_that_has_gone_is_no_time() -> None:
    play = play_of("a b")
    play.begin()
    play.start("a")
    play.machine.retry_at(0, 1_500, NOW_MS)
    play.cancel()
    assert play.machine.next_due_ms() is None
    play.machine.wake(2_000)
    assert play.effects() == []


def test_a_step_may_fail_or_be_tried_again_without_having_started() -> None:
    play = play_of("a b c:b")
    play.begin()
    play.machine.retry_at(0, 2_000, NOW_MS)
    play.machine.failed(1, "no room in time", NOW_MS)
    assert play.effects() == []
    assert play.states() == "pfk"
    assert play.machine.row(0).attempt == 0


@pytest.mark.parametrize("what", ["started", "completed", "failed", "retry_at", "skipped", "cancelled", "expanded"])
def test_what_cannot_have_happened_is_our_own_bug(what: str) -> None:
    play = play_of("a b:a")
    play.begin()
    calls: dict[str, Callable[[], object]] = {
        "started": lambda: play.machine.started(1, NOW_MS),
        "completed": lambda: play.machine.completed(1, NOW_MS),
        "failed": lambda: play.machine.failed(1, "", NOW_MS),
        "retry_at": lambda: play.machine.retry_at(1, 0, NOW_MS),
        "skipped": lambda: play.machine.skipped(1, "", NOW_MS),
        "cancelled": lambda: play.machine.cancelled(1, NOW_MS),
        "expanded": lambda: play.machine.expanded(1, 1, NOW_MS),
    }
    with pytest.raises(BadTransition, match=f"b waits for a: it cannot be {what}"):
        calls[what]()


def test_it_begins_once() -> None:
    play = play_of("a")
    play.begin()
    with pytest.raises(BadTransition, match="begun"):
        play.machine.begin(NOW_MS)


def test_a_step_that_is_cancelled_by_itself_cancels_the_execution_unless_something_failed() -> None:
    play = play_of("a b:a c")
    play.begin()
    play.start("a")
    play.machine.cancelled(0, NOW_MS, reason="the worker went away")
    assert play.reason("a") == "the worker went away"
    assert play.reason("b") == "a was cancelled"
    assert play.complete("c") == ["Ended cancelled"]
    play = play_of("a c")
    play.begin()
    play.start("a")
    play.stopped("a")
    assert play.fail("c") == ["Ended failed"]


# --- pause and cancel ---


def test_a_pause_starts_nothing_more() -> None:
    play = play_of(graph_of("a b c:a g1@g g2@g", groups={"g": Group(1)}))
    play.begin()
    play.start("a")
    play.machine.pause(NOW_MS)
    play.machine.pause(NOW_MS)
    assert play.effects() == ["Withdraw b", "Withdraw g1"]
    assert play.run_state() == "paused"
    assert play.complete("a") == []
    assert play.why("c") == "waits for the execution to be resumed: it is paused"
    play.machine.resume(NOW_MS)
    assert play.effects() == ["Ready b", "Ready c", "Ready g1"]
    assert play.run_state() == "running"
    play.machine.resume(NOW_MS)
    assert play.effects() == []


def test_an_execution_may_end_while_it_is_paused() -> None:
    play = play_of("a")
    play.begin()
    play.start("a")
    play.machine.pause(NOW_MS)
    assert play.complete("a") == ["Ended completed"]


def test_a_cancellation_ends_everything() -> None:
    play = play_of("a b c:a d")
    play.begin()
    play.start("a", "d")
    assert play.cancel("changed my mind") == ["Stop a", "Withdraw b", "Stop d"]
    assert play.machine.run_state == "cancelled"
    assert play.reason("c") == "changed my mind"
    assert play.cancel() == []
    assert play.complete("a") == []
    assert play.stopped("d") == ["Ended cancelled"]
    assert play.states() == "cxxx"


def test_a_paused_execution_can_be_cancelled_and_a_cancelled_one_not_paused() -> None:
    play = play_of("a b")
    play.begin()
    play.start("a")
    play.machine.pause(NOW_MS)
    assert play.effects() == ["Withdraw b"]
    assert play.cancel() == ["Stop a"]
    play.machine.pause(NOW_MS)
    assert play.machine.run_state == "cancelled"
    assert play.fail("a") == ["Ended cancelled"]


def test_a_stopped_step_is_not_tried_again() -> None:
    play = play_of("a b:a")
    play.begin()
    play.start("a")
    play.cancel()
    play.machine.retry_at(0, 5_000, NOW_MS)
    assert play.effects() == ["Ended cancelled"]
    assert play.states() == "xx"


def test_what_has_ended_is_not_cancelled_any_more() -> None:
    play = play_of("a")
    play.begin()
    play.complete("a")
    assert play.cancel() == []
    assert play.machine.run_state == "completed"


def test_an_execution_can_be_cancelled_before_it_begins() -> None:
    play = play_of("a b:a")
    assert play.cancel() == ["Ended cancelled"]
    assert play.begin() == []


# --- how it stands ---


def test_counts_and_states() -> None:
    play = play_of("a b:a c d e")
    assert play.machine.run_state == "pending"
    play.begin()
    play.start("a", "c")
    play.machine.retry_at(play.at("c"), 5_000, NOW_MS)
    play.fail("d", tolerated=True)
    play.skip("e")
    assert play.machine.counts() == {
        "pending": 2,
        "ready": 0,
        "running": 1,
        "completed": 0,
        "failed": 1,
        "skipped": 1,
        "cancelled": 0,
    }
    assert list(play.machine.positions_in("pending")) == [1, 2]
    assert list(play.machine.positions_in("running")) == [0]


@pytest.mark.parametrize(("ends", "state"), [("c", "completed"), ("f", "failed")])
def test_the_state_of_the_execution_when_it_has_ended(ends: str, state: RunState) -> None:
    play = play_of("a")
    play.begin()
    assert play.machine.run_state == "running"
    if ends == "c":
        play.complete("a")
    else:
        play.fail("a")
    assert play.machine.run_state == state


def test_why() -> None:
    play = play_of("fetch parse check:fetch,parse size s:size t o", arms={"s": {"size": "s"}})
    assert play.why("fetch") == "waits for the execution to begin"
    play.begin()
    assert play.why("check") == "waits for fetch and parse"
    assert play.why("fetch") == "is ready and waits for room"
    play.start("fetch")
    assert play.why("fetch") == "runs"
    play.fail("fetch", "boom")
    assert play.why("fetch") == "failed: boom"
    assert play.why("check") == "waits for parse"
    play.complete("parse")
    assert play.why("parse") == "completed"
    assert play.why("check") == "skipped: fetch failed"
    play.complete("size", arm="l")
    assert play.why("size") == "completed: chose arm 'l'"
    assert play.why("s") == "skipped: arm 's' of size was not chosen"
    play.fail("t", "meh", tolerated=True)
    assert play.why("t") == "failed, which is tolerated: meh"
    play.start("o")
    play.machine.retry_at(play.at("o"), 5_000, NOW_MS)
    assert play.why("o") == "waits to be tried again"
    play.cancel("enough")
    assert play.why("o") == "cancelled: enough"
    with pytest.raises(IndexError):
        play.machine.why(99)
