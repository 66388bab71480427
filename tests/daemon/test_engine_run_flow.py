"""Groups of steps, and the children of map steps."""

import pytest

from coterie.engine.machine.run_machine import BadTransition
from coterie.engine.machine.step_graph import Children, Group
from run_play import NOW_MS, graph_of, play_of

# --- groups ---


def test_a_full_group_does_not_hold_up_others() -> None:
    play = play_of(graph_of("g1@g g2@g x g3@g", groups={"g": Group(1)}))
    assert play.begin() == ["Ready g1", "Ready x"]
    assert play.why("g2") == "waits for one of the 1 that may run at a time"
    assert play.state("g2") == "pending"
    assert play.complete("x") == []
    assert play.fail("g1") == ["Ready g2"]
    play.start("g2")
    play.machine.retry_at(play.at("g2"), 5_000, NOW_MS)
    assert play.effects() == ["Ready g3"]  # who waits for another try holds no place
    play.machine.wake(5_000)
    assert play.effects() == []
    assert play.complete("g3") == ["Ready g2"]


def test_fail_fast_of_a_group_ends_its_members_and_nobody_else() -> None:
    graph = graph_of("a@g b@g c@g:x x d:c e:b", {"d": "ended"}, groups={"g": Group(0, True)})
    play = play_of(graph)
    play.begin()
    play.start("a", "b")
    assert play.fail("a") == ["Stop b", "Ready d"]
    assert play.states() == "frxRRp"
    assert play.why("b") == "is being stopped: a failed"
    assert play.reason("c") == "a failed"
    assert play.stopped("b") == []
    assert play.reason("e") == "b was cancelled"
    assert play.complete("x") == []
    assert play.complete("d") == ["Ended failed"]


def test_a_tolerated_failure_is_no_reason_to_fail_fast() -> None:
    play = play_of(graph_of("a@g b@g", groups={"g": Group(1, True)}), fail_fast=True)
    assert play.begin() == ["Ready a"]
    assert play.fail("a", tolerated=True) == ["Ready b"]


def test_fail_fast_of_the_execution_ends_everything() -> None:
    play = play_of("a b c d:c e", fail_fast=True)
    play.begin()
    play.start("a", "b", "c")
    play.machine.retry_at(play.at("c"), 9_000, NOW_MS)
    assert play.fail("a") == ["Stop b", "Withdraw e"]
    assert play.states() == "frxxx"
    assert play.stopped("b") == ["Ended failed"]


def test_a_second_failure_while_others_stop_changes_nothing() -> None:
    play = play_of(graph_of("a@g b@g c@g", groups={"g": Group(0, True)}), fail_fast=True)
    play.begin()
    play.start("a", "b", "c")
    assert play.fail("a") == ["Stop b", "Stop c"]
    assert play.fail("b") == []
    assert play.complete("c") == ["Ended failed"]
    assert play.states() == "ffc"


# --- map steps ---

MAP = graph_of("m after:m", children={"m": Children(Group(2))})


def test_children_run_within_their_limit_and_their_map_step_gathers() -> None:
    play = play_of(MAP)
    play.begin()
    assert play.expand("m", 3) == ["Ready m[0]", "Ready m[1]"]
    assert play.machine.expansion(0) == (2, 3)
    assert play.why("m") == "waits for 3 of its 3 children"
    play.start("m[0]", "m[1]")
    assert play.complete("m[1]") == ["Ready m[2]"]
    play.complete("m[0]")
    assert play.complete("m[2]") == ["Gather m"]
    assert play.why("m") == "gathers what its 3 children returned"
    assert play.complete("m") == ["Ready after"]
    assert play.complete("after") == ["Ended completed"]


def test_a_map_step_without_items_gathers_at_once() -> None:
    play = play_of(MAP)
    play.begin()
    assert play.machine.expansion(0) == (0, 0)
    assert play.expand("m", 0) == ["Gather m"]
    assert play.complete("m") == ["Ready after"]


def test_failed_children_leave_it_to_their_map_step_what_follows() -> None:
    play = play_of("m", fail_fast=True)
    play.begin()
    play.expand("m", 2)
    assert play.fail("m[0]") == []
    assert play.fail("m[1]", tolerated=True) == ["Gather m"]
    assert [play.machine.succeeded(child) for child in (1, 2)] == [False, True]
    assert play.complete("m") == ["Ended completed"]


def test_fail_fast_among_children() -> None:
    play = play_of(graph_of("m x", children={"m": Children(Group(2, True))}))
    play.begin()
    play.expand("m", 3)
    play.start("m[0]", "m[1]")
    assert play.fail("m[0]") == ["Stop m[1]"]
    assert play.reason("m[2]") == "m[0] failed"
    assert play.stopped("m[1]") == ["Gather m"]
    assert play.fail("m") == []
    assert play.complete("x") == ["Ended failed"]


def test_children_may_be_map_steps() -> None:
    children = Children(Group(1), inner=Children(Group(1)))
    play = play_of(graph_of("m", children={"m": children}))
    play.begin()
    assert play.expand("m", 2) == ["Ready m[0]"]
    assert play.expand("m[0]", 2) == ["Ready m[0][0]"]
    assert play.complete("m[0][0]") == ["Ready m[0][1]"]
    assert play.complete("m[0][1]") == ["Gather m[0]"]
    assert play.complete("m[0]") == ["Ready m[1]"]
    assert play.expand("m[1]", 0) == ["Gather m[1]"]
    assert play.complete("m[1]") == ["Gather m"]
    assert play.complete("m") == ["Ended completed"]


def test_a_map_step_of_a_plain_group_may_expand_too() -> None:
    play = play_of(graph_of("a@g b@g", groups={"g": Group(1)}))
    play.begin()
    assert play.expand("a", 2) == ["Ready a[0]", "Ready a[1]"]
    assert play.expand("a[0]", 1) == ["Ready a[0][0]"]


def test_a_cancelled_map_step_ends_after_its_children_and_is_not_stopped_itself() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 3)
    play.start("m[0]")
    play.complete("m[1]")
    assert play.cancel() == ["Stop m[0]", "Withdraw m[2]"]
    assert play.states() == "rrcx"
    assert play.stopped("m[0]") == ["Ended cancelled"]
    assert play.states() == "xxcx"
    assert play.reason("m") == "enough"


def test_a_map_step_that_is_stopped_before_it_has_items() -> None:
    play = play_of("m")
    play.begin()
    play.start("m")
    assert play.cancel() == ["Stop m"]
    assert play.expand("m", 2) == ["Ended cancelled"]
    assert play.states() == "xxx"
    play = play_of("m")
    play.begin()
    play.start("m")
    play.cancel()
    assert play.expand("m", 0) == ["Ended cancelled"]


def test_a_cancellation_while_a_map_step_gathers() -> None:
    play = play_of("m after:m")
    play.begin()
    assert play.expand("m", 0) == ["Gather m"]
    assert play.cancel() == []
    assert play.complete("m") == ["Ended cancelled"]
    assert play.states() == "cx"


def test_a_map_step_that_fails_stops_its_children_first() -> None:
    play = play_of("m after:m", {"after": "ended"})
    play.begin()
    play.expand("m", 2)
    play.start("m[0]")
    assert play.fail("m", "took too long") == ["Stop m[0]", "Withdraw m[1]"]
    assert play.why("m") == "is being stopped: took too long"
    assert play.reason("m") == ""  # the children tell after a restart
    assert play.fail("m", "again") == []
    assert play.stopped("m[0]") == ["Ready after"]
    assert (play.state("m"), play.reason("m")) == ("failed", "took too long")


def test_what_cannot_be_said_of_a_map_step_with_children() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 2)
    with pytest.raises(BadTransition, match="completed with 2 children"):
        play.machine.completed(0, NOW_MS)
    with pytest.raises(BadTransition, match="cancelled with 2 children"):
        play.machine.cancelled(0, NOW_MS)
    with pytest.raises(BadTransition, match="tried again by themselves"):
        play.machine.retry_at(0, 0, NOW_MS)
    with pytest.raises(BadTransition, match="expanded"):
        play.machine.expanded(0, 1, NOW_MS)


def test_a_group_member_with_children_is_stopped_with_them() -> None:
    graph = graph_of("m@g bad@g", groups={"g": Group(0, True)})
    play = play_of(graph)
    play.begin()
    play.expand("m", 2)
    play.expand("m[0]", 2)
    play.start("m[0][0]", "m[1]")
    assert play.fail("bad") == ["Stop m[0][0]", "Withdraw m[0][1]", "Stop m[1]"]
    play.stopped("m[1]")
    assert play.stopped("m[0][0]") == ["Ended failed"]
    assert play.states() == "xfxxxx"
