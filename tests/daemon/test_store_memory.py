"""The in-memory store keeps the contract, and fails when it is told to."""

from collections.abc import Callable

import pytest

from contracts.event_pen import cids, history
from contracts.store_contract import CONTRACT, stored
from coterie.ports import Store
from coterie.store.errors import StoreFailed
from simulation.memory_store import MemoryStore


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(check: Callable[[Store], None]) -> None:
    check(MemoryStore())


def test_a_crash_loses_nothing_that_was_appended() -> None:
    store = MemoryStore()
    events = history(10)
    store.append(events)
    store.note("key", "value")
    store.close()
    with pytest.raises(RuntimeError):
        store.header(events[0].cid)
    store.crash()
    assert cids(stored(store)) == cids(events)
    assert store.noted("key") == "value"


def test_a_planned_failure_takes_nothing_and_is_over_after_one_append() -> None:
    store = MemoryStore()
    events = history(10)
    store.append(events[:5])
    store.fail_next_append()
    with pytest.raises(StoreFailed):
        store.append(events[5:])
    assert store.count() == 5
    store.append(events[5:])
    assert store.count() == 10


def test_a_crash_ends_planned_failures() -> None:
    store = MemoryStore()
    store.fail_next_append()
    store.crash()
    store.append(history(3))
    assert store.count() == 3
