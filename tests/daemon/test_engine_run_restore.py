"""An execution after a restart, as its rows tell it."""

import pytest

from coterie.engine.journal.port import StepRow
from coterie.engine.machine.run_machine import RunMachine
from coterie.engine.machine.step_graph import Children, Group
from run_play import NOW_MS, graph_of, play_of, restarted


def test_what_was_running_is_lost_and_runs_again() -> None:
    play = play_of("a b c:a d:b")
    play.begin()
    play.complete("a")
    play.start("c", "b")
    after = restarted(play)
    assert after.machine.run_state == "pending"
    assert after.begin() == ["Ready b", "Ready c"]
    assert (after.rows[1].attempt, after.rows[1].lost) == (1, 1)
    after.start("b")
    assert (after.rows[1].attempt, after.rows[1].lost) == (2, 1)
    assert (after.machine.attempts(1), after.machine.losses(1)) == (2, 1)
    assert restarted(after).machine.row(1).lost == 2


def test_a_lost_step_runs_again_whatever_has_become_of_its_needs() -> None:
    play = play_of("a b:a", {"b": "ended"})
    play.begin()
    play.fail("a")
    play.start("b")
    play.retry("a")
    assert restarted(play).begin() == ["Ready b", "Ready a"]


def test_what_waited_for_another_try_still_waits() -> None:
    play = play_of("a b")
    play.begin()
    play.start("a", "b")
    play.machine.retry_at(0, 5_000, NOW_MS, reason="refused")
    play.machine.retry_at(1, 1_000, NOW_MS)
    play.keep()
    after = restarted(play)
    assert after.begin() == ["Ready b"]
    assert after.why("a") == "waits to be tried again: refused"
    assert after.machine.next_due_ms() == 5_000


def test_ends_skips_and_arms_are_kept() -> None:
    play = play_of("size s:size l:size own:s by:own bad t x:bad", arms={"s": {"size": "s"}, "l": {"size": "l"}})
    play.begin()
    play.complete("size", arm="s")
    play.complete("s")
    play.machine.skipped(play.at("own"), "its condition is false", NOW_MS)
    play.skip("t", "by me")
    play.fail("bad", "boom")
    after = restarted(play)
    assert after.begin() == ["Ended failed"]
    assert after.states() == play.states() == "cckkkfkk"
    for name in ("size", "l", "own", "by", "bad", "t", "x"):
        assert (after.why(name), after.reason(name)) == (play.why(name), play.reason(name))
    assert after.retry() == ["Ready bad"]


def test_an_ended_execution_is_taken_up_to_go_on() -> None:
    play = play_of("a b c", fail_fast=True)
    play.begin()
    assert play.fail("a") == ["Withdraw b", "Withdraw c", "Ended failed"]
    after = restarted(play, fail_fast=True)
    assert after.retry("a") == ["Ready a", "Ready b", "Ready c"]
    assert after.begin() == []
    assert after.fail("a") == ["Withdraw b", "Withdraw c", "Ended failed"]


def test_what_fail_fast_of_a_group_cancelled_is_known_after_a_restart() -> None:
    play = play_of(graph_of("a@g b@g c", groups={"g": Group(0, True)}))
    play.begin()
    play.fail("a")
    after = restarted(play)
    assert after.begin() == ["Ready c"]
    assert after.retry("a") == ["Ready a", "Ready b"]


def test_what_was_being_stopped_has_ended() -> None:
    play = play_of(graph_of("a@g b@g c d:c e", groups={"g": Group(0, True)}))
    play.begin()
    play.start("a", "b", "c", "e")
    play.fail("a")
    play.skip("c", "hangs")
    after = restarted(play)
    assert after.begin() == ["Ready e", "Ready d"]
    assert after.reason("b") == "a failed"
    assert after.why("c") == "skipped by a person: hangs"
    assert (after.rows[1].state, after.rows[2].state) == ("cancelled", "skipped")


def test_a_cancellation_is_carried_through() -> None:
    play = play_of("a b c:a")
    play.begin()
    play.start("a")
    after = restarted(play, cancelled=True, paused=True)
    assert after.machine.run_state == "cancelled"
    assert after.begin() == ["Ended cancelled"]
    assert after.states() == "xxx"


def test_a_cancelled_execution_that_has_ended_can_go_on() -> None:
    play = play_of("a b")
    play.begin()
    play.fail("a")
    play.cancel()
    after = restarted(play, cancelled=True)
    assert after.machine.run_state == "cancelled"
    assert after.retry() == ["Ready a", "Ready b"]
    assert after.begin() == []


def test_a_pause_outlives_a_restart() -> None:
    play = play_of("a b")
    play.begin()
    play.start("a")
    after = restarted(play, paused=True)
    assert after.begin() == []
    after.machine.resume(NOW_MS)
    assert after.effects() == ["Ready a", "Ready b"]


def test_a_map_step_goes_on_with_its_children() -> None:
    play = play_of(graph_of("m after:m", children={"m": Children(Group(2), inner=Children(Group(1)))}))
    play.begin()
    play.expand("m", 3)
    play.expand("m[0]", 2)
    play.start("m[1]")
    play.complete("m[0][0]")
    play.complete("m[1]")
    play.start("m[2]")
    after = restarted(play, expansions=("m", "m[0]"))
    assert after.begin() == ["Ready m[0][1]", "Ready m[2]"]
    assert after.machine.row(0).lost == 0
    assert after.machine.row(after.at("m[2]")).lost == 1
    after.complete("m[2]")
    assert after.complete("m[0][1]") == ["Gather m[0]"]
    assert after.complete("m[0]") == ["Gather m"]
    assert restarted(after, expansions=("m", "m[0]")).begin() == ["Gather m"]


def test_a_child_whose_map_step_has_no_place_yet_waits_for_it() -> None:
    play = play_of(graph_of("m@g n@g", groups={"g": Group(1)}))
    play.begin()
    play.expand("m", 1)
    play.fail("m[0]")
    play.fail("m")
    play.expand("n", 1)
    play.start("n[0]")
    play.retry("m")
    after = restarted(play, expansions=("m", "n"))
    assert after.begin() == ["Ready n[0]"]  # n was running, m was waiting
    play.stopped("n[0]")
    play.machine.failed(play.at("n"), "cancelled", NOW_MS)
    play.retry("n[0]")
    assert play.effects() == []
    rows = {**play.rows, 3: StepRow(3, "pending", attempt=1, due_ms=500)}
    play.rows = rows
    after = restarted(play, expansions=("m", "n"))
    assert after.begin() == ["Ready m[0]"]
    assert after.why("n[0]") == "waits for n to go on"
    after.complete("m[0]")
    assert after.complete("m") == ["Ready n[0]"]


def test_children_that_a_map_step_left_behind_have_ended_with_it() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 2)
    play.start("m[0]")
    play.rows[0] = StepRow(0, "running", attempt=1, reason="cancelled by a person")
    after = restarted(play, expansions=("m",))
    assert after.begin() == ["Ended cancelled"]
    assert after.states() == "xxx"
    assert after.reason("m[1]") == "m has ended"


def test_expansions_must_follow_upon_each_other() -> None:
    with pytest.raises(ValueError, match="the children of 0 begin at 3, not at 1"):
        RunMachine.restore(graph_of("m"), (), NOW_MS, expansions={0: (3, 1)})


def test_undoing_goes_on_in_its_order() -> None:
    play = play_of("c:b b:a a bad:c", undoable="a b c")
    play.begin()
    play.complete("a")
    play.complete("b")
    play.now_ms += 5
    play.complete("c")
    assert play.fail("bad") == ["Compensate c"]
    play.machine.compensated(0, True, "", NOW_MS)
    assert play.effects() == ["Compensate b"]
    after = restarted(play, undoable="a b c")
    assert after.begin() == ["Compensate b"]
    after.machine.compensated(1, True, "", NOW_MS)
    assert after.effects() == ["Compensate a"]
    after.machine.compensated(2, True, "", NOW_MS)
    assert after.effects() == ["Ended failed"]
