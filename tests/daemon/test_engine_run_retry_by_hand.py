"""A person has steps tried again."""

import pytest

from coterie.engine.journal.port import StepRow
from coterie.engine.machine.step_graph import Children, Group
from coterie_protocols.errors import UserError
from run_play import NOW_MS, graph_of, play_of


def test_failed_and_cancelled_steps_are_tried_again() -> None:
    play = play_of("a b c:a d:c e:a,b f", {"e": "ended"})
    play.begin()
    play.complete("b")
    play.fail("a")
    play.complete("e")
    play.start("f")
    assert play.stopped("f") == ["Ended failed"]
    assert play.states() == "fckkcx"
    assert play.retry() == ["Ready a", "Ready f"]
    assert play.states() == "RcppcR"
    assert play.rows[2] == StepRow(2, "pending")
    assert play.machine.run_state == "running"
    play.complete("f")
    assert play.complete("a") == ["Ready c"]
    assert play.machine.row(0).attempt == 2
    play.complete("c")
    assert play.complete("d") == ["Ended completed"]


def test_one_step_is_tried_again() -> None:
    play = play_of("a b c:a d:b")
    play.begin()
    play.fail("a")
    play.fail("b", tolerated=True)
    play.fail("d")
    assert play.retry("a") == ["Ready a"]
    assert play.states() == "Rfpf"
    assert play.retry("b") == ["Ready b"]  # tolerated, but asked for
    play.complete("a")
    play.complete("c")
    assert play.complete("b") == ["Ended failed"]


def test_a_retry_does_not_wait_for_the_time_of_the_next_try() -> None:
    play = play_of("a")
    play.begin()
    play.start("a")
    play.machine.retry_at(0, 99_000, NOW_MS)
    play.keep()
    assert play.rows[0].due_ms == 99_000
    assert play.retry("a") == ["Ready a"]
    assert play.rows[0].due_ms is None
    assert play.machine.next_due_ms() is None


def test_what_waits_is_taken_back_when_a_need_runs_again() -> None:
    graph = graph_of("a b end:a,b free@g:a any:a,b", {"end": "ended", "any": "first"}, groups={"g": Group(1)})
    play = play_of(graph)
    play.begin()
    play.fail("a", tolerated=True)
    assert play.complete("b") == ["Ready end"]
    assert play.states() == "fcRRR"
    assert play.retry("a") == ["Withdraw end", "Withdraw free", "Ready a"]
    assert play.states() == "RcppR"
    assert play.why("end") == "waits for a"
    assert play.complete("a") == ["Ready end", "Ready free"]


def test_what_has_begun_is_not_taken_back() -> None:
    play = play_of("a b:a c:a d:a,x x", {"b": "ended", "c": "ended"})
    play.begin()
    play.fail("a")
    play.start("b", "c")
    play.machine.retry_at(play.at("b"), 5_000, NOW_MS)
    play.machine.wake(5_000)
    assert play.effects() == ["Ready b"]
    assert play.retry("a") == ["Ready a"]
    assert play.states() == "RRrpR"
    play.complete("x")
    assert play.complete("a") == ["Ready d"]


def test_a_retry_frees_what_fail_fast_cancelled_for_it() -> None:
    play = play_of(graph_of("a@g b@g c@g", groups={"g": Group(1, True)}))
    play.begin()
    assert play.fail("a") == ["Ended failed"]
    assert play.retry("a") == ["Ready a"]
    assert play.states() == "Rpp"
    assert play.complete("a") == ["Ready b"]
    assert play.fail("b") == ["Ended failed"]
    assert play.states() == "cfx"


def test_a_retry_of_a_cancelled_step_frees_nothing_else() -> None:
    play = play_of("a b c", fail_fast=True)
    play.begin()
    assert play.fail("a") == ["Withdraw b", "Withdraw c", "Ended failed"]
    assert play.retry("b") == ["Ready b"]
    assert play.states() == "fRx"


def test_a_cancelled_execution_goes_on() -> None:
    play = play_of("a b:a")
    play.begin()
    play.start("a")
    play.cancel()
    with pytest.raises(UserError, match="a is still being stopped"):
        play.retry()
    assert play.stopped("a") == ["Ended cancelled"]
    assert play.retry() == ["Ready a"]
    play.complete("a")
    assert play.complete("b") == ["Ended completed"]


def test_a_failed_map_step_tries_its_failed_children_again_and_keeps_the_others() -> None:
    play = play_of(graph_of("m x:m", children={"m": Children(Group(1))}))
    play.begin()
    play.expand("m", 3)
    play.fail("m[0]")
    play.complete("m[1]")
    play.fail("m[2]")
    assert play.fail("m") == ["Ended failed"]
    assert play.retry() == ["Ready m[0]"]
    assert play.states() == "rpRcp"
    assert play.complete("m[0]") == ["Ready m[2]"]
    assert play.fail("m[2]") == ["Gather m"]
    play.fail("m")
    assert play.retry("m[2]") == ["Ready m[2]"]
    assert play.complete("m[2]") == ["Gather m"]
    assert play.complete("m") == ["Ready x"]
    assert play.machine.row(0).attempt == 1


def test_failed_children_can_be_tried_again_while_others_run() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 2)
    play.fail("m[0]")
    assert play.retry() == ["Ready m[0]"]
    play.complete("m[0]")
    assert play.complete("m[1]") == ["Gather m"]


def test_nested_children_are_tried_again_with_their_map_steps() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 2)
    play.expand("m[0]", 2)
    play.complete("m[1]")
    play.fail("m[0][0]")
    play.complete("m[0][1]")
    play.fail("m[0]")
    assert play.fail("m") == ["Ended failed"]
    assert play.retry("m[0][0]") == ["Ready m[0][0]"]
    assert play.states() == "rrcRc"
    assert play.complete("m[0][0]") == ["Gather m[0]"]


def test_a_map_step_waits_for_its_place_before_its_children_go_on() -> None:
    play = play_of(graph_of("m", children={"m": Children(Group(1), inner=Children())}))
    play.begin()
    play.expand("m", 2)
    for child in ("m[0]", "m[1]"):
        play.expand(child, 1)
        play.fail(f"{child}[0]")
        play.fail(child)
    assert play.fail("m") == ["Ended failed"]
    assert play.retry() == ["Ready m[0][0]"]
    assert play.states() == "rrpRp"
    assert play.why("m[1][0]") == "waits for m[1] to go on"
    assert play.complete("m[0][0]") == ["Gather m[0]"]
    assert play.complete("m[0]") == ["Ready m[1][0]"]


def test_children_that_wait_for_their_map_step_can_be_skipped_or_cancelled() -> None:
    play = play_of(graph_of("m@g n@g", groups={"g": Group(1)}))
    play.begin()
    for name in ("m", "n"):
        play.expand(name, 1)
        play.fail(f"{name}[0]")
        play.fail(name)
    assert play.retry() == ["Ready m[0]"]
    assert play.skip("n[0]") == []
    play.complete("m[0]")
    assert play.complete("m") == ["Gather n"]
    assert play.fail("n") == ["Ended failed"]
    assert play.retry() == ["Gather n"]
    play.complete("n")
    play = play_of(graph_of("m@g n@g", groups={"g": Group(1)}))
    play.begin()
    for name in ("m", "n"):
        play.expand(name, 1)
        play.fail(f"{name}[0]")
        play.fail(name)
    play.retry()
    assert play.skip("n") == []
    assert play.states() == "rkRx"
    assert play.reason("n[0]") == "n has ended"


def test_what_cannot_be_tried_again() -> None:
    play = play_of("a b:a c:b d e")
    play.begin()
    with pytest.raises(UserError, match="no step has failed"):
        play.retry()
    play.complete("a")
    play.start("b")
    play.machine.skipped(play.at("d"), "no", NOW_MS)
    for name, words in (
        ("a", "a has completed"),
        ("b", "b runs"),
        ("c", "c has not started"),
        ("d", "d was skipped"),
        ("e", "e has not started"),
    ):
        with pytest.raises(UserError, match=f"^{words}: only a step that failed or was cancelled is tried again"):
            play.retry(name)


def test_children_of_a_map_step_that_went_well_run_no_more() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 1)
    assert play.fail("m[0]") == ["Gather m"]
    with pytest.raises(UserError, match="m gathers what its children returned"):
        play.retry("m[0]")
    with pytest.raises(UserError, match="no step has failed"):
        play.retry()
    assert play.complete("m") == ["Ended completed"]
    with pytest.raises(UserError, match="m has completed: its children run no more"):
        play.retry("m[0]")
    with pytest.raises(UserError, match="m has completed: its children run no more"):
        play.skip("m[0]")


def test_a_child_does_not_come_back_while_its_map_step_is_being_stopped() -> None:
    play = play_of("m")
    play.begin()
    play.expand("m", 2)
    play.start("m[0]")
    play.fail("m[1]")
    play.skip("m")
    with pytest.raises(UserError, match="m runs: its children run no more"):
        play.skip("m[1]")
