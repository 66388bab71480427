"""The SQLite store keeps the contract, agrees with the model in memory, and lets forked histories converge."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.event_pen import cids, frontier, history
from contracts.store_contract import CONTRACT, all_missing, converge, insert_ready, stored
from coterie.ports import Store
from coterie.store.sqlite import HEADERS_MAX, SqliteStore
from coterie_protocols.event import Event
from simulation.memory_store import MemoryStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "coterie.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(store: SqliteStore, check: Callable[[Store], None]) -> None:
    check(store)


def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    events = history(50, authors=4, forks=5)
    first = SqliteStore(tmp_path / "coterie.db")
    first.append(events)
    first.note("name", "value")
    first.remember(events[0].header.author, ["/ip4/127.0.0.1/tcp/1"])
    first.close()
    first.close()
    again = SqliteStore(tmp_path / "coterie.db")
    assert cids(stored(again)) == cids(events)
    assert again.count() == 50
    assert [again.header(event.cid) for event in events] == [event.header for event in events]
    assert again.noted("name") == "value"
    assert again.contacts() == {events[0].header.author: ("/ip4/127.0.0.1/tcp/1",)}
    assert again.quick_check() == ()
    again.close()


def test_headers_beyond_the_cache_are_read_from_the_file(store: SqliteStore) -> None:
    events = history(HEADERS_MAX + 50)
    store.append(events)
    assert [store.header(event.cid) for event in events] == [event.header for event in events]
    assert [store.header(event.cid) for event in reversed(events)] == [event.header for event in reversed(events)]


def test_others_cannot_read_the_file(store: SqliteStore, tmp_path: Path) -> None:
    store.append(history(3))
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "coterie.db": "0o600",
        "coterie.db-wal": "0o600",
        "coterie.db-shm": "0o600",
    }


def test_replay_reads_a_few_rows_at_a_time_and_may_be_given_up(store: SqliteStore) -> None:
    events = history(600)
    store.append(events[:599])
    replay = store.replay()
    assert next(replay) == events[0].data
    store.append(events[599:])  # an open cursor would not stop this, but would keep the log from being emptied
    assert store.quick_check() == ()


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[Event], list[Event], int]:
    """Two causally closed parts of one forked history: what the store holds, and what the asker holds."""
    count = draw(st.integers(8, 40))
    authors = draw(st.integers(2, 4))
    events = history(count, authors, draw(st.integers(0, min(6, count - authors - 2))), draw(st.integers(0, 10_000)))
    parts = [_part(events, draw(st.sets(st.integers(0, count - 1), max_size=4))) for _ in range(2)]
    return parts[0], parts[1], draw(st.sampled_from([1, 500, 4096, 10**6]))


def _part(events: list[Event], left_out: set[int]) -> list[Event]:
    gone = {events[index].cid for index in left_out}
    kept: list[Event] = []
    for event in events:
        if gone.isdisjoint((event.cid, event.header.prev, *event.header.parents)):
            kept.append(event)
        else:
            gone.add(event.cid)
    return kept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_histories())
def test_missing_agrees_with_the_model(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[Event], list[Event], int]
) -> None:
    ours, theirs, bytes_max = drawn
    model, store = MemoryStore(), SqliteStore(tmp_path_factory.mktemp("store") / "coterie.db")
    model.append(ours)
    store.append(ours)
    have = frontier(theirs)
    answer = all_missing(store, have, bytes_max)
    assert cids(answer) == cids(all_missing(model, have, bytes_max))
    assert store.missing(have, 5, bytes_max) == model.missing(have, 5, bytes_max)
    store.close()


@settings(max_examples=40, deadline=None)
@given(_histories(), st.booleans())
def test_two_that_pull_in_turn_hold_the_union_after_three_pulls(
    drawn: tuple[list[Event], list[Event], int], ours_first: bool
) -> None:
    stores = (MemoryStore(), MemoryStore())
    for store, events in zip(stores, drawn[:2], strict=True):
        store.append(events)
    union = {event.cid for part in drawn[:2] for event in part}
    waiting: dict[int, dict[str, Event]] = {0: {}, 1: {}}
    for pull in range(3):
        to = (pull + ours_first) % 2
        for event in all_missing(stores[1 - to], frontier(stored(stores[to]))):
            if stores[to].header(event.cid) is None:
                waiting[to][event.cid] = event
        insert_ready(stores[to], waiting[to])
    assert set(cids(stored(stores[0]))) | set(waiting[0]) == union
    assert set(cids(stored(stores[1]))) | set(waiting[1]) == union


@pytest.mark.parametrize("seed", range(5))
def test_forked_histories_converge_among_many(seed: int) -> None:
    random = Random(seed)
    events = history(60, authors=5, forks=8, seed=seed)
    stores = [MemoryStore() for _ in range(4)]
    for store in stores:
        store.append(_part(events, set(random.sample(range(1, 60), 5))))
    stores[0].append(events)
    converge(stores, random, pulls_max=200)
    assert stores[1].count() == 60
