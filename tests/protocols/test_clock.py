"""Causal insertion: what waits, what is refused, and what the order of arrival cannot change."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols import clock as clock_module
from coterie_protocols.clock import Clock, NoHeaders, enter_coterie, found_coterie
from coterie_protocols.encoding import Cid, Value, cid_of_event, link
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import PARENTS_MAX, Event, Header, Tip, decode_event_untrusted
from coterie_protocols.invite import join_op
from protocols.building import NEVER_MS, Pen, cancel, key, raw_body, run_of, seal, submit
from protocols.histories import History, Move, Observer, moves, random_moves


def clock_of(pen: Pen) -> Clock:
    """A clock that knows all of it."""
    clock = Clock(pen.coterie, NoHeaders())
    for event in pen.events:
        assert clock.insert(event) == [event]
    return clock


def altered(event: Event, signer: int, **changes: Value) -> Event:
    """The event with fields of its map replaced, signed again."""
    return decode_event_untrusted(seal(key(signer), {**raw_body(event), **changes}))


def test_children_wait_for_their_parents() -> None:
    pen = Pen()
    pen.join(2)
    events = [pen.write(2) for _ in range(5)]
    clock = Clock(pen.coterie, NoHeaders())
    clock.insert(pen.genesis)
    clock.insert(pen.events[1])
    for event in reversed(events[1:]):
        assert clock.insert(event) == []
    assert (clock.pending_count, clock.missing()) == (4, (events[0].cid,))
    assert not clock.knows(events[1].cid)
    assert clock.insert(events[0]) == events
    assert (clock.pending_count, clock.missing()) == (0, ())
    assert clock.heads == (events[-1].header,)
    assert clock.frontier[key(2).peer_id] == Tip(6, events[-1].cid)


def test_what_is_known_or_waits_already_changes_nothing() -> None:
    pen = Pen()
    pen.join(2)
    first, second = pen.write(2), pen.write(2)
    clock = Clock(pen.coterie, NoHeaders())
    for event in (pen.genesis, pen.events[1], second, second):
        clock.insert(event)
    assert clock.pending_count == 1
    clock.insert(first)
    before = clock.fingerprint
    assert [clock.insert(event) for event in pen.events] == [[]] * len(pen.events)
    assert (clock.fingerprint, clock.count) == (before, len(pen.events))


def test_the_fingerprint_is_the_sum_of_the_hashes() -> None:
    pen = Pen()
    pen.join(2)
    total = sum(int.from_bytes(link(event.cid)[4:], "big") for event in pen.events) % 2**256
    assert clock_of(pen).fingerprint == total.to_bytes(32, "big")


def test_strangers_are_refused_and_their_waiting_events_not_kept() -> None:
    pen = Pen()
    clock = clock_of(pen)
    first = pen.write(8)
    with pytest.raises(BadMessage, match="stranger"):
        clock.insert(first)
    assert clock.insert(pen.write(8, prev=first)) == []
    assert clock.pending_count == 0


def coterie_of(event: Event) -> Pen:
    """Not the same coterie."""
    return Pen(7)


FAULTS: dict[str, dict[str, Value]] = {
    "a Lamport time too small": {"lamport": 3},
    "a Lamport time too large": {"lamport": 5},
    "a gap": {"seq": 4},
    "a seq that was": {"seq": 2},
    "another coterie": {"coterie": link(Pen(7).coterie)},
}


@pytest.mark.parametrize("changes", FAULTS.values(), ids=FAULTS)
def test_faults_of_causality(changes: dict[str, Value]) -> None:
    pen = Pen()
    pen.join(2)
    pen.write(2)
    clock = clock_of(pen)
    good = pen.write(2)
    assert (good.header.seq, good.header.lamport) == (3, 4)
    bad = altered(good, 2, **changes)
    with pytest.raises(BadMessage):
        clock.insert(bad)
    assert not clock.knows(bad.cid)
    assert clock.insert(good) == [good]


def test_prev_is_the_authors_own() -> None:
    pen = Pen()
    two, three = pen.join(2), pen.join(3)
    clock = clock_of(pen)
    good = pen.write(2)
    with pytest.raises(BadMessage, match="prev"):
        clock.insert(altered(good, 2, prev=link(three.cid)))
    assert two.cid == good.header.prev


def test_another_genesis() -> None:
    clock = clock_of(Pen())
    with pytest.raises(BadMessage):
        clock.insert(found_coterie(key(1), "home", b"\x01" * 16, 0))
    empty = Clock(Pen().coterie, NoHeaders())
    with pytest.raises(BadMessage):
        empty.insert(found_coterie(key(2), "home", bytes(16), 0))


def test_a_genesis_begins_with_its_op() -> None:
    pen = Pen()
    odd = altered(pen.genesis, 1, ops=[{"op": "later"}, *raw_body(pen.genesis)["ops"]])  # type: ignore[misc]
    with pytest.raises(BadMessage):
        Clock(odd.cid, NoHeaders()).insert(odd)


def test_events_of_another_coterie_do_not_wait() -> None:
    pen, other = Pen(), Pen(7)
    other.write(7)
    with pytest.raises(BadMessage, match="another coterie"):
        clock_of(pen).insert(other.write(7))


@pytest.mark.parametrize("fault", ["expired", "foreign", "not an admin", "issuer unseen", "for another", "not first"])
def test_entries_that_are_refused(fault: str) -> None:
    pen = Pen()
    worker = pen.join(3, "work")
    clock = clock_of(pen)
    match fault:
        case "expired":
            bad = pen.join_with(2, pen.certificate(900, expires_ms=10), 900, time_ms=11)
        case "foreign":
            bad = pen.join_with(2, pen.certificate(900, coterie=Pen(7).coterie), 900)
        case "not an admin":
            bad = pen.join(2, issuer=3, parents=[worker])
        case "issuer unseen":
            bad = pen.join_with(2, pen.certificate(900), 900, parents=[worker])
        case "for another":
            op = join_op(key(900), pen.certificate(900), newcomer=key(4).peer_id, name="x", labels=(), slots=1)
            bad = pen.write(2, op, parents=[pen.genesis])
        case _:
            op = join_op(key(900), pen.certificate(900), newcomer=key(2).peer_id, name="x", labels=(), slots=1)
            bad = pen.write(2, cancel(run_of(worker)), op, parents=[pen.genesis])
    with pytest.raises(BadMessage):
        clock.insert(bad)
    assert not clock.knows(bad.cid)


def test_an_event_that_turns_out_worthless_when_its_parents_come_is_dropped() -> None:
    pen = Pen()
    pen.join(2)
    first, second = pen.write(2), pen.write(2)
    bad = altered(second, 2, lamport=9)
    clock = Clock(pen.coterie, NoHeaders())
    clock.insert(pen.genesis)
    clock.insert(pen.events[1])
    assert clock.insert(bad) == []
    assert clock.insert(first) == [first]
    assert (clock.pending_count, clock.knows(bad.cid)) == (0, False)


def test_what_waits_for_a_worthless_event_is_dropped_with_it() -> None:
    pen = Pen()
    pen.join(2)
    first, second = pen.write(2), pen.write(2)
    bad = altered(second, 2, lamport=9)
    child = altered(pen.write(2, parents=[bad], prev=bad), 2, lamport=10)
    clock = Clock(pen.coterie, NoHeaders())
    for event in (pen.genesis, pen.events[1], bad, child):
        clock.insert(event)
    assert clock.pending_count == 2
    clock.insert(first)
    assert (clock.pending_count, clock.missing()) == (0, ())


def test_one_author_cannot_fill_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "PENDING_PER_AUTHOR_MAX", 3)
    monkeypatch.setattr(clock_module, "PENDING_MAX", 5)
    pen = Pen()
    pen.join(2)
    pen.join(3)
    clock = clock_of(pen)
    lost = pen.write(1)
    by_two = [pen.write(2, parents=[lost]) for _ in range(6)]
    by_three = [pen.write(3, parents=[lost]) for _ in range(6)]
    for event in [*by_two, *by_three]:
        assert clock.insert(event) == []
    assert clock.pending_count == 5
    assert clock.insert(lost) == [lost, *by_two[:3], *by_three[:2]]
    assert clock.insert(by_two[3]) == [by_two[3]]  # there is room again, and sync brings the rest


def test_forks_are_kept_and_the_tip_does_not_depend_on_the_order() -> None:
    pen = Pen()
    root = pen.join(2)
    branches = [[first := pen.write(2, prev=root, time_ms=i), pen.write(2, prev=first)] for i in range(3)]
    events = [event for branch in branches for event in branch]
    tips: set[Tip] = set()
    for seed in range(20):
        clock = Clock(pen.coterie, NoHeaders())
        clock.insert(pen.genesis)
        clock.insert(root)
        order = Random(seed).sample(branches, 3)
        for event in [event for branch in order for event in branch]:
            clock.insert(event)
        tips.add(clock.frontier[key(2).peer_id])
        assert clock.forks == {key(2).peer_id: 2}
        assert clock.count == 8
    assert tips == {Tip(3, min(branch[1].cid for branch in branches))}
    assert len(events) == 6


def test_writing() -> None:
    pen = Pen()
    pen.join(2)
    clock = clock_of(pen)
    event = clock.write(key(2), (submit(),), 7)
    assert decode_event_untrusted(event.data) == event
    assert (event.header.seq, event.header.parents, event.header.time_ms) == (2, (pen.events[1].cid,), 7)
    assert clock.heads == (event.header,)
    assert clock_of(pen).insert(event) == [event]
    with pytest.raises(ValueError, match="has not entered"):
        clock.write(key(3), (), 0)


def test_the_newest_eight_heads_become_parents() -> None:
    pen = Pen()
    for number in range(2, 14):
        pen.join(number)
    clock = clock_of(pen)
    assert len(clock.heads) == 12
    event = clock.write(key(1), (), 0)
    assert event.header.parents == tuple(header.cid for header in clock_of(pen).heads[:PARENTS_MAX])
    assert len(clock.heads) == 12 - PARENTS_MAX + 1


@settings(max_examples=40, deadline=None)
@given(moves)
def test_ancestry_is_what_a_naive_walk_finds(moves: list[Move]) -> None:
    pen = History(moves).pen
    clock = clock_of(pen)
    past: dict[Cid, set[Cid]] = {}
    for event in pen.events:
        near = {*event.header.parents, *([event.header.prev] if event.header.prev else [])}
        past[event.cid] = near.union(*(past[cid] for cid in near))
    for newer in pen.events:
        for older in pen.events:
            assert clock.is_ancestor(older.cid, newer.header) == (older.cid in past[newer.cid])


def test_nothing_unknown_is_an_ancestor() -> None:
    pen = Pen()
    assert not clock_of(pen).is_ancestor(cid_of_event(b""), pen.genesis.header)


@settings(max_examples=40, deadline=None)
@given(moves, st.integers(0, 2**32))
def test_heads_are_the_events_that_nobody_names(moves: list[Move], seed: int) -> None:
    pen = History(moves).pen
    observer = Observer(pen.coterie)
    observer.receive_all(pen.events, Random(seed))
    named = {cid for event in pen.events for cid in event.header.parents}
    heads = [event.header for event in pen.events if event.cid not in named]
    assert sorted(observer.clock.heads, key=lambda h: h.cid) == sorted(set(heads), key=lambda h: h.cid)


@pytest.mark.parametrize("issuer", [1, 2])
def test_entering(issuer: int) -> None:
    pen = Pen()
    pen.join(2, "admin")
    certificate = pen.certificate(900, issuer=issuer, expires_ms=NEVER_MS)
    op = join_op(key(900), certificate, newcomer=key(3).peer_id, name="three", labels=(), slots=1)
    entry = pen.entries[issuer]
    event = enter_coterie(key(3), pen.coterie, entry.header, op, 5)
    assert clock_of(pen).insert(decode_event_untrusted(event.data)) == [event]
    assert replace(event.header, cid=entry.cid).parents[0] == entry.cid


class LateStore(NoHeaders):
    """A store that takes what the clock inserted only when it is told to."""

    def __init__(self) -> None:
        self.headers: dict[Cid, Header] = {}

    def header(self, cid: Cid) -> Header | None:
        return self.headers.get(cid)


def test_what_is_not_saved_yet_is_not_forgotten() -> None:
    """One fsync pays for many events: until then the clock alone knows them."""
    pen = Pen()
    pen.join(2)
    for _ in range(20):
        pen.write(2)
    store = LateStore()
    clock = Clock(pen.coterie, store, recent_max=4)
    for event in [*pen.events, *pen.events]:
        clock.insert(event)
    assert (clock.count, clock.fingerprint) == (22, clock_of(pen).fingerprint)
    store.headers = {event.cid: event.header for event in pen.events}
    for _ in range(2):
        clock.insert(last := pen.write(2))
        store.headers[last.cid] = last.header
    assert len(clock._recent) <= 5  # pyright: ignore[reportPrivateUsage]


def test_what_was_stored_is_restored() -> None:
    pen = History(random_moves(7, 60)).pen
    store = LateStore()
    store.headers = {event.cid: event.header for event in pen.events}
    clock, whole = Clock(pen.coterie, store, recent_max=4), clock_of(pen)
    for event in pen.events:
        clock.restore(event)
    assert (clock.fingerprint, clock.heads, clock.frontier) == (whole.fingerprint, whole.heads, whole.frontier)
    assert (clock.forks, clock.entries, clock.count) == (whole.forks, whole.entries, whole.count)
