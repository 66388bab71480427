"""What completed is undone when the execution comes to nothing."""

import pytest

from coterie.engine.machine.run_machine import BadTransition
from coterie.engine.machine.step_graph import Children, Group
from coterie_protocols.errors import UserError
from run_play import NOW_MS, graph_of, play_of


def test_completed_steps_are_undone_the_last_first() -> None:
    play = play_of("a b:a c:b plain", undoable="a b c")
    play.begin()
    play.complete("plain")
    play.complete("a")
    play.now_ms += 1
    play.complete("b")
    assert play.fail("c") == ["Compensate b"]
    assert play.machine.run_state == "failed"
    play.machine.compensated(1, False, "it is gone", NOW_MS)
    assert play.effects() == ["Compensate a"]
    assert (play.rows[1].compensation, play.rows[1].reason) == ("failed", "it is gone")
    play.machine.compensated(0, True, "", NOW_MS)
    assert play.effects() == ["Ended failed"]
    assert play.rows[0].compensation == "done"
    with pytest.raises(UserError, match="undone"):
        play.retry()
    with pytest.raises(UserError, match="undone"):
        play.skip("c")


def test_nothing_is_undone_where_all_went_well() -> None:
    play = play_of("a", undoable="a")
    play.begin()
    assert play.complete("a") == ["Ended completed"]


def test_steps_that_completed_at_the_same_time_are_undone_against_their_needs() -> None:
    play = play_of("c:b b:a a bad", undoable="a b c")
    play.begin()
    for name in "abc":
        play.complete(name)
    assert play.fail("bad") == ["Compensate c"]
    play.machine.compensated(0, True, "", NOW_MS)
    assert play.effects() == ["Compensate b"]


def test_children_are_undone_after_their_map_step() -> None:
    graph = graph_of("m bad:m", children={"m": Children(Group(), True)})
    play = play_of(graph, undoable="m")
    play.begin()
    play.expand("m", 2)
    play.complete("m[0]")
    play.complete("m[1]")
    play.complete("m")
    assert play.fail("bad") == ["Compensate m"]
    play.machine.compensated(0, True, "", NOW_MS)
    assert play.effects() == ["Compensate m[0]"]


def test_undoing_waits_for_a_pause_and_for_what_runs() -> None:
    play = play_of("a b:a slow", undoable="a")
    play.begin()
    play.complete("a")
    play.start("slow")
    assert play.fail("b") == []
    play.machine.pause(NOW_MS)
    assert play.complete("slow") == []
    assert play.retry() == []
    play.machine.resume(NOW_MS)
    assert play.effects() == ["Ready b"]
    play.start("b")
    play.machine.pause(NOW_MS)
    assert play.fail("b") == []
    assert play.run_state() == "paused"
    assert play.cancel() == ["Compensate a"]  # there is nothing to cancel but the pause
    assert play.run_state() == "failed"
    play.machine.pause(NOW_MS)
    play.machine.compensated(0, True, "", NOW_MS)
    assert play.effects() == ["Ended failed"]


def test_a_cancelled_execution_is_undone_too() -> None:
    play = play_of("a b:a", undoable="a")
    play.begin()
    play.complete("a")
    assert play.cancel() == ["Withdraw b", "Compensate a"]
    with pytest.raises(BadTransition, match="compensated"):
        play.machine.compensated(1, True, "", NOW_MS)
    play.machine.compensated(0, True, "", NOW_MS)
    assert play.effects() == ["Ended cancelled"]
