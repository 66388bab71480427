"""A person has a step skipped."""

import pytest

from coterie.engine.machine.step_graph import Children, Group
from coterie_protocols.errors import UserError
from run_play import NOW_MS, graph_of, play_of, restarted


def test_a_step_that_has_not_started_can_be_skipped() -> None:
    play = play_of("a b:a c:b")
    play.begin()
    assert play.skip("a", "not today") == ["Withdraw a", "Ready b"]
    row = play.machine.row(0)
    assert (row.state, row.tolerated, row.reason) == ("skipped", True, "not today")
    assert play.why("a") == "skipped by a person: not today"
    assert play.skip("b") == ["Withdraw b", "Ready c"]
    assert play.reason("b") == "skipped by a person"
    assert play.complete("c") == ["Ended completed"]


def test_a_skip_lets_nobody_overtake_what_the_step_needs() -> None:
    play = play_of("a b:a c:b d e:d")
    play.begin()
    assert play.skip("b", "not today") == []
    assert play.skip("e") == []
    assert play.why("b") == "waits for a, and is skipped then: not today"
    row = play.rows[1]
    assert (row.state, row.tolerated, row.reason) == ("pending", True, "not today")
    after = restarted(play)
    assert after.begin() == ["Ready a", "Ready d"]
    for each in (play, after):
        assert each.complete("a") == ["Ready c"]
        assert each.why("b") == "skipped by a person: not today"
        each.fail("d")
        assert each.why("e") == "skipped: d failed"


@pytest.mark.parametrize("end", ["stopped", "fail", "retry"])
def test_a_running_step_is_stopped_and_counts_as_skipped(end: str) -> None:
    play = play_of("a b:a")
    play.begin()
    play.start("a")
    assert play.skip("a", "hangs") == ["Stop a"]
    assert (play.rows[0].state, play.rows[0].tolerated, play.rows[0].reason) == ("running", True, "hangs")
    match end:
        case "stopped":
            effects = play.stopped("a")
        case "fail":
            effects = play.fail("a")
        case _:
            play.machine.retry_at(0, 9_000, NOW_MS)
            effects = play.effects()
    assert effects == ["Ready b"]
    assert (play.state("a"), play.reason("a")) == ("skipped", "hangs")


def test_a_running_step_that_completes_all_the_same_has_completed() -> None:
    play = play_of("a b:a")
    play.begin()
    play.start("a")
    play.skip("a")
    assert play.complete("a") == ["Ready b"]
    assert play.state("a") == "completed"


def test_skipping_a_failed_step_gives_those_behind_it_another_chance() -> None:
    play = play_of("a b:a c:b x d:c,x", {"d": "all"})
    play.begin()
    play.complete("x")
    assert play.fail("a") == ["Ended failed"]
    assert play.skip("a") == ["Ready b"]
    assert play.states() == "kRpcp"
    play.complete("b")
    play.complete("c")
    assert play.complete("d") == ["Ended completed"]


def test_skipping_a_failed_step_frees_what_fail_fast_cancelled_for_it() -> None:
    play = play_of("a b c d:a", fail_fast=True)
    play.begin()
    play.start("a", "b")
    play.fail("a")
    assert play.stopped("b") == ["Ended failed"]
    assert play.skip("a") == ["Ready d", "Ready b", "Ready c"]


def test_several_needs_of_one_step_run_again() -> None:
    play = play_of("a b:a end:a,b", {"end": "ended"})
    play.begin()
    assert play.fail("a") == ["Ready end"]
    play.machine.pause(NOW_MS)
    assert play.retry() == ["Withdraw end"]
    play.machine.resume(NOW_MS)
    assert play.effects() == ["Ready a"]
    assert play.complete("a") == ["Ready b"]
    assert play.complete("b") == ["Ready end"]


def test_another_failure_keeps_what_fail_fast_cancelled() -> None:
    play = play_of("a b c", fail_fast=True)
    play.begin()
    play.start("a", "b")
    play.fail("a")
    assert play.fail("b") == ["Ended failed"]
    assert play.skip("a") == ["Ended failed"]
    assert play.skip("c") == ["Ended failed"]
    assert play.retry() == ["Ready b"]


def test_skipping_a_failed_child() -> None:
    graph = graph_of("m after:m", children={"m": Children(Group(1, True))})
    play = play_of(graph)
    play.begin()
    play.expand("m", 3)
    play.complete("m[0]")
    assert play.fail("m[1]") == ["Gather m"]
    assert play.fail("m") == ["Ended failed"]
    assert play.skip("m[1]") == ["Ready m[2]"]
    assert play.states() == "rpckR"
    assert play.complete("m[2]") == ["Gather m"]
    assert play.complete("m") == ["Ready after"]


def test_skipping_the_last_failed_child_gathers_again() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 1)
    play.fail("m[0]")
    play.fail("m")
    assert play.skip("m[0]") == ["Gather m"]
    assert play.complete("m") == ["Ended completed"]


def test_skipping_a_map_step_stops_its_children() -> None:
    play = play_of("m after:m")
    play.begin()
    play.expand("m", 2)
    play.start("m[0]")
    assert play.skip("m") == ["Stop m[0]", "Withdraw m[1]"]
    assert play.stopped("m[0]") == ["Ready after"]
    assert play.states() == "kRxx"


def test_skipping_what_is_being_stopped_for_another_reason() -> None:
    play = play_of(graph_of("a@g b@g c:b", groups={"g": Group(0, True)}))
    play.begin()
    play.start("a", "b")
    play.fail("a")
    assert play.skip("b") == []
    assert play.stopped("b") == ["Ready c"]
    assert play.state("b") == "skipped"


def test_what_cannot_be_skipped() -> None:
    play = play_of("a b:a c d")
    play.begin()
    play.complete("a")
    play.machine.skipped(play.at("b"), "no", NOW_MS)
    play.skip("c")
    for name, words in (("a", "a has completed"), ("b", "b was skipped"), ("c", "c was skipped")):
        with pytest.raises(UserError, match=f"^{words}: only a step"):
            play.skip(name)
    play.cancel()
    with pytest.raises(UserError, match="the execution was cancelled"):
        play.skip("d")
