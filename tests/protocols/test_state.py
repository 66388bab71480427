"""Same set of events, same everything: in any order, with any duplication, and as the naive model has it."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coterie_protocols.event import Event
from coterie_protocols.merkle_clock import MerkleClock
from protocols.building import Pen
from protocols.histories import History, Move, Observer, moves, random_moves
from protocols.naive import Naive

hard = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def observe(pen: Pen, events: list[Event] | None = None) -> Observer:
    """Who received all events in the order of writing."""
    observer = Observer(pen.coterie)
    observer.receive_all(pen.events if events is None else events)
    return observer


@hard
@given(moves, st.integers(0, 2**32))
def test_order_and_duplication_change_nothing(moves: list[Move], seed: int) -> None:
    pen = History(moves).pen
    in_order, shuffled = Observer(pen.coterie), Observer(pen.coterie)
    for event in pen.events:
        in_order.receive(event)
        in_order.look()  # fills every cache, so that one that is not emptied shows
    shuffled.receive_all(pen.events, Random(seed), copies=2)
    assert in_order.clock.count == len({event.cid for event in pen.events})
    assert in_order.clock.pending_count == 0
    assert shuffled.look() == in_order.look()


@hard
@given(moves)
def test_the_state_is_what_the_naive_model_says(moves: list[Move]) -> None:
    compare_with_the_model(History(moves).pen)


@pytest.mark.parametrize("seed", range(30))
def test_long_histories_are_what_the_naive_model_says(seed: int) -> None:
    pen = History(random_moves(seed, 150)).pen
    compare_with_the_model(pen)
    shuffled = Observer(pen.coterie)
    shuffled.receive_all(pen.events, Random(seed))
    assert shuffled.look() == observe(pen).look()


def compare_with_the_model(pen: Pen) -> None:
    """Members, runs, and every task of them."""
    observer, model = observe(pen), Naive(pen.events)
    assert {peer: member.roles for peer, member in observer.state.members.items()} == model.roles
    assert {run.id for run in observer.state.runs} == set(model.runs())
    for run in observer.state.runs:
        naive = model.run(run.id)
        for task in run.specs:
            view = run.view(task, observer.state.authority)
            standing = view.standing
            assert (
                standing.phase,
                standing.attempt,
                standing.claim.cid if standing.claim else None,
                standing.done.header.cid if standing.done else None,
                standing.failures,
                standing.lost,
            ) == naive.verdict(task)
            assert (view.status, view.ready) == (naive.status(task), naive.ready(task))


@hard
@given(moves, st.integers(0, 2**32))
def test_few_headers_in_memory_are_enough(moves: list[Move], seed: int) -> None:
    pen = History(moves).pen
    forgetful = Observer(pen.coterie, recent_max=40)
    forgetful.receive_all(pen.events, Random(seed))
    assert forgetful.look() == observe(pen).look()


@hard
@given(moves, st.integers(0, 2**32), st.integers(0, 2**32))
def test_equal_frontiers_without_forks_are_equal_states(moves: list[Move], one: int, other: int) -> None:
    pen = History([move for move in moves if move[0] != "fork"]).pen
    first, second = Observer(pen.coterie), Observer(pen.coterie)
    for observer, seed in ((first, one), (second, other)):
        for event in Random(seed).sample(pen.events, len(pen.events) * 3 // 4):
            observer.receive(event)
    if first.clock.frontier == second.clock.frontier:
        assert first.state.digest() == second.state.digest()
        assert first.clock.fingerprint == second.clock.fingerprint
    else:
        assert first.clock.fingerprint != second.clock.fingerprint


@hard
@given(moves)
def test_the_library_form_survives_its_own_round_trip(moves: list[Move]) -> None:
    pen = History(moves).pen
    clock = MerkleClock(pen.coterie)
    for event in pen.events:
        clock.insert(event)
    again = MerkleClock.from_dict(clock.to_dict())
    assert (again.fingerprint, again.heads, again.frontier) == (clock.fingerprint, clock.heads, clock.frontier)
    again.verify()
