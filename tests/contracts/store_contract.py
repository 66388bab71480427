"""What every `Store` does. Test modules run each check of `CONTRACT` over their own store."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from contracts.event_pen import cids, follow, found, frontier, history, signing_key
from coterie.ports import Store
from coterie_protocols.event import Event, Frontier, Tip, decode_event_untrusted
from coterie_protocols.identity import PeerId

FRAME_BYTES: Final = 4096


def all_missing(store: Store, have: Frontier, bytes_max: int = FRAME_BYTES) -> list[Event]:
    """Everything that `store` would send to the holder of `have`, frame by frame."""
    after, got = 0, list[Event]()
    while True:
        after, frame = store.missing(have, after, bytes_max)
        if not frame:
            return got
        got += [decode_event_untrusted(data, verify=False) for data in frame]


def stored(store: Store) -> list[Event]:
    """All events of `store`, decoded."""
    return [decode_event_untrusted(data, verify=False) for data in store.replay()]


def an_empty_store_holds_nothing(store: Store) -> None:
    assert store.count() == 0
    assert list(store.replay()) == []
    assert store.missing({}, 0, FRAME_BYTES) == (0, [])
    assert store.header(found().cid) is None
    assert store.contacts() == {}
    assert store.noted("anything") is None


def exact_bytes_come_back_in_the_order_of_insertion(store: Store) -> None:
    events = history(30)
    store.append(events[:10])
    for event in events[10:]:
        store.append([event])
    assert list(store.replay()) == [event.data for event in events]
    assert store.count() == 30
    assert [store.header(event.cid) for event in events] == [event.header for event in events]


def an_event_already_held_is_passed_over(store: Store) -> None:
    events = history(12)
    store.append(events[:8])
    store.append([*events[4:8], events[9 - 1], events[8], *events[9:], events[0]])
    store.append([])
    assert cids(stored(store)) == cids(events)
    assert store.count() == 12


def both_events_of_a_fork_are_kept(store: Store) -> None:
    genesis = found()
    first = follow(2, genesis, None, [genesis])
    left, right = (follow(2, genesis, first, [genesis], reason) for reason in ("left", "right"))
    store.append([genesis, first, left])
    store.append([right])
    assert left.header.seq == right.header.seq
    assert cids(stored(store)) == cids([genesis, first, left, right])
    assert store.header(left.cid) == left.header
    assert store.header(right.cid) == right.header


def an_event_without_its_prev_is_our_bug_and_nothing_of_the_batch_stays(store: Store) -> None:
    genesis = found()
    first = follow(2, genesis, None, [genesis])
    second = follow(2, genesis, first, [genesis])
    store.append([genesis])
    with pytest.raises(ValueError, match="does not follow"):
        store.append([follow(3, genesis, None, [genesis]), second])
    assert cids(stored(store)) == [genesis.cid]
    assert store.count() == 1
    store.append([first, second])
    assert store.count() == 3
    gap = replace(follow(2, genesis, second, [genesis]).header, seq=9)
    with pytest.raises(ValueError, match="does not follow"):
        store.append([Event(gap, (), b"")])
    anothers = replace(follow(2, genesis, second, [genesis]).header, author=signing_key(3).peer_id)
    with pytest.raises(ValueError, match="does not follow"):
        store.append([Event(anothers, (), b"")])
    assert store.count() == 3


def replay_shows_what_was_there_when_it_began(store: Store) -> None:
    events = history(700)
    store.append(events[:600])
    seen: list[bytes] = []
    for data in store.replay():
        if len(seen) % 100 == 0 and len(seen) < 1000:
            store.append([events[600 + len(seen) // 100]])
        seen.append(data)
    assert seen == [event.data for event in events[:600]]
    assert store.count() == 606


def missing_is_what_the_frontier_does_not_cover(store: Store) -> None:
    events = history(120, authors=5)
    store.append(events)
    for held in (0, 1, 7, 60, 119, 120):
        assert cids(all_missing(store, frontier(events[:held]))) == cids(events[held:])


def missing_keeps_to_the_bytes_but_never_stands_still(store: Store) -> None:
    events = history(20)
    store.append(events)
    after, frame = store.missing({}, 0, 1)
    assert (after, frame) == (1, [events[0].data])
    two = len(events[1].data) + len(events[2].data)
    assert store.missing({}, after, two) == (3, [events[1].data, events[2].data])
    assert store.missing({}, 20, FRAME_BYTES) == (20, [])


def missing_goes_on_with_what_was_appended_meanwhile(store: Store) -> None:
    events = history(40)
    store.append(events[:20])
    after, frame = store.missing({}, 0, 10**6)
    assert len(frame) == 20
    store.append(events[20:])
    assert store.missing({}, after, 10**6) == (40, [event.data for event in events[20:]])


def a_lost_tail_is_sent_back_to_its_author(store: Store) -> None:
    events = history(50, authors=2)
    store.append(events)
    mine = [event for event in events if event.header.author == signing_key(2).peer_id]
    have = {**frontier(events), mine[0].header.author: Tip(mine[3].header.seq, mine[3].cid)}
    assert cids(all_missing(store, have)) == cids(mine[4:])


def who_is_ahead_of_us_gets_nothing_back(store: Store) -> None:
    events = history(60, authors=3)
    store.append(events[:40])
    assert all_missing(store, frontier(events)) == []


def a_tip_on_an_unknown_branch_covers_nothing_of_its_author(store: Store) -> None:
    genesis = found()
    first = follow(2, genesis, None, [genesis])
    ours, theirs = (follow(2, genesis, first, [genesis], reason) for reason in ("ours", "theirs"))
    store.append([genesis, first, ours])
    have = frontier([genesis, first, theirs])
    assert cids(all_missing(store, have)) == cids([first, ours])


def of_a_known_fork_all_but_the_named_branch_is_sent(store: Store) -> None:
    genesis = found()
    first = follow(2, genesis, None, [genesis])
    left = [follow(2, genesis, first, [genesis], "left")]
    right = [follow(2, genesis, first, [genesis], "right")]
    for branch in (left, right):
        branch.append(follow(2, genesis, branch[-1], [genesis], "second"))
    store.append([genesis, first, left[0], right[0], right[1], left[1]])
    author = first.header.author
    have = {genesis.header.author: Tip(1, genesis.cid)}
    assert cids(all_missing(store, {**have, author: Tip(2, right[0].cid)})) == cids([left[0], right[1], left[1]])
    assert cids(all_missing(store, {**have, author: Tip(3, left[1].cid)})) == cids([right[0], right[1]])
    assert cids(all_missing(store, {**have, author: Tip(1, first.cid)})) == cids([*left[:1], *right, *left[1:]])


def a_lying_tip_covers_nothing(store: Store) -> None:
    events = history(30, authors=2)
    store.append(events)
    one, two = signing_key(1).peer_id, signing_key(2).peer_id
    honest = frontier(events)
    of_one, of_two = ([event for event in events if event.header.author == author] for author in (one, two))
    wrong_seq = {**honest, two: Tip(honest[two].seq - 1, honest[two].cid)}
    assert cids(all_missing(store, wrong_seq)) == cids(of_two)
    anothers = {**honest, two: Tip(1, of_one[0].cid)}
    assert cids(all_missing(store, anothers)) == cids(of_two)
    assert all_missing(store, {**honest, signing_key(9).peer_id: Tip(5, honest[one].cid)}) == []


def addresses_and_notes_are_replaced(store: Store) -> None:
    one, two = PeerId("one"), PeerId("two")
    store.remember(one, ["/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/1"])
    store.remember(two, ["/ip4/127.0.0.1/tcp/3"])
    assert store.contacts() == {
        one: ("/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/1"),
        two: ("/ip4/127.0.0.1/tcp/3",),
    }
    store.remember(one, ["/ip4/127.0.0.1/tcp/1"])
    store.remember(two, [])
    assert store.contacts() == {one: ("/ip4/127.0.0.1/tcp/1",)}
    store.note("key", "first")
    store.note("key", "second ✓")
    store.note("other", "")
    assert (store.noted("key"), store.noted("other"), store.noted("none")) == ("second ✓", "", None)


CONTRACT: Final[Sequence[Callable[[Store], None]]] = (
    an_empty_store_holds_nothing,
    exact_bytes_come_back_in_the_order_of_insertion,
    an_event_already_held_is_passed_over,
    both_events_of_a_fork_are_kept,
    an_event_without_its_prev_is_our_bug_and_nothing_of_the_batch_stays,
    replay_shows_what_was_there_when_it_began,
    missing_is_what_the_frontier_does_not_cover,
    missing_keeps_to_the_bytes_but_never_stands_still,
    missing_goes_on_with_what_was_appended_meanwhile,
    a_lost_tail_is_sent_back_to_its_author,
    who_is_ahead_of_us_gets_nothing_back,
    a_tip_on_an_unknown_branch_covers_nothing_of_its_author,
    of_a_known_fork_all_but_the_named_branch_is_sent,
    a_lying_tip_covers_nothing,
    addresses_and_notes_are_replaced,
)


def converge(stores: Sequence[Store], random: Random, pulls_max: int) -> int:
    """Lets the stores pull from each other, one pair at a time, until all hold the same; returns how many pulls.

    Who pulls keeps what arrives before its parents and inserts it when they have come, as a clock does.
    """
    waiting: dict[int, dict[str, Event]] = {index: {} for index in range(len(stores))}
    for pulls in range(pulls_max):
        sets = [set(cids(stored(store))) for store in stores]
        if all(each == sets[0] for each in sets):
            return pulls
        to, source = random.sample(range(len(stores)), 2)
        for event in all_missing(stores[source], frontier(stored(stores[to]))):
            waiting[to][event.cid] = event
        insert_ready(stores[to], waiting[to])
    raise AssertionError(f"not converged after {pulls_max} pulls")


def insert_ready(store: Store, waiting: dict[str, Event]) -> None:
    """Appends of `waiting` what has its parents, until nothing more does."""
    while True:
        ready = [event for event in waiting.values() if _lacks_nothing(store, event)]
        if not ready:
            return
        store.append(ready)
        for event in ready:
            del waiting[event.cid]


def _lacks_nothing(store: Store, event: Event) -> bool:
    header = event.header
    needed = header.parents if header.prev is None else (*header.parents, header.prev)
    return all(store.header(cid) is not None for cid in needed)
