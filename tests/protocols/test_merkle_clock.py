"""The clock as a library: append, merge, verify, and a form to keep it in."""

import json
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.errors import BadMessage
from coterie_protocols.event import Event
from coterie_protocols.merkle_clock import MerkleClock
from protocols.building import Pen, cancel, key, run_of, submit
from protocols.histories import History, Move, moves

some = settings(max_examples=30, deadline=None)


def part(pen: Pen, seed: int) -> MerkleClock:
    """What somebody knows who heard of some of it: with each event, its past."""
    chance = Random(seed)
    clock = MerkleClock(pen.coterie)
    clock.insert(pen.genesis)
    for event in pen.events:
        if chance.random() < 0.7:
            clock.insert(event)
    return clock


def copy(clock: MerkleClock) -> MerkleClock:
    """The same clock again."""
    return MerkleClock.from_dict(clock.to_dict())


def look(clock: MerkleClock) -> tuple[object, ...]:
    """What can be compared."""
    return clock.fingerprint, clock.heads, clock.frontier, {event.cid for event in clock.events}


def union(*clocks: MerkleClock) -> MerkleClock:
    """The merge of several, the first one first."""
    result = copy(clocks[0])
    for other in clocks[1:]:
        result.merge(other)
    return result


@some
@given(moves, st.tuples(*[st.integers(0, 2**16)] * 3))
def test_merge_is_commutative_associative_and_idempotent(moves: list[Move], seeds: tuple[int, int, int]) -> None:
    pen = History(moves).pen
    a, b, c = (part(pen, seed) for seed in seeds)
    assert look(union(a, b)) == look(union(b, a))
    assert look(union(union(a, b), c)) == look(union(a, union(b, c)))
    assert look(union(a, a)) == look(a)
    both = union(a, b)
    assert both.merge(a) == both.merge(b) == 0
    assert {event.cid for event in both.events} == {event.cid for event in (*a.events, *b.events)}


def founded() -> tuple[MerkleClock, Event]:
    """A clock of three events."""
    clock = MerkleClock.found(key(1), "home", bytes(16), 0)
    event = clock.append(key(1), [submit()], 1)
    clock.append(key(1), [cancel(run_of(event))], 2)
    return clock, event


def texts(form: dict[str, object]) -> list[str]:
    """The events of the form."""
    return cast(list[str], form["events"])


def test_append() -> None:
    clock, event = founded()
    assert [each.header.seq for each in clock.events] == [1, 2, 3]
    assert clock.heads == (clock.events[-1].cid,)
    assert clock.header(event.cid) == event.header
    assert clock.header(clock.coterie) == clock.events[0].header
    assert MerkleClock(clock.coterie).header(event.cid) is None
    with pytest.raises(ValueError, match="has not entered"):
        clock.append(key(2), [], 3)
    clock.verify()


def test_the_form_is_json() -> None:
    clock, _ = founded()
    again = MerkleClock.from_dict(json.loads(json.dumps(clock.to_dict())))
    assert look(again) == look(clock)
    assert again.to_dict() == clock.to_dict()


def test_any_byte_that_was_changed_is_found() -> None:
    clock, event = founded()
    for index in range(len(event.data)):
        worse = bytearray(event.data)
        worse[index] ^= 1 << index % 8
        form = clock.to_dict()
        events = texts(form)
        with pytest.raises(BadMessage):
            MerkleClock.from_dict({**form, "events": [events[0], bytes(worse).hex(), events[2]]}).verify()
        spoilt = MerkleClock(clock.coterie)
        spoilt._events = {each.cid: each for each in clock.events}  # pyright: ignore[reportPrivateUsage]
        spoilt._events[event.cid] = Event(event.header, event.ops, bytes(worse))  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(BadMessage):
            spoilt.verify()


def test_what_is_missing_or_out_of_order_is_found() -> None:
    clock, event = founded()
    form = clock.to_dict()
    events = texts(form)
    for kept in ([events[0], events[2]], [events[1]], [events[0], events[2], events[1]]):
        with pytest.raises(BadMessage):
            MerkleClock.from_dict({**form, "events": kept})
    clock._events.pop(event.cid)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(BadMessage):
        clock.verify()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"coterie": 1, "events": []},
        {"coterie": "bafy", "events": {}},
        {"coterie": "bafy", "events": [1]},
        {"coterie": "bafy", "events": [None]},
        {"coterie": "bafy", "events": ["zz"]},
        {"coterie": "bafy", "events": ["00"]},
    ],
)
def test_what_is_no_clock(value: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        MerkleClock.from_dict(value)


def test_merging_another_coterie() -> None:
    clock, _ = founded()
    with pytest.raises(BadMessage):
        clock.merge(MerkleClock.found(key(2), "home", bytes(16), 0))
