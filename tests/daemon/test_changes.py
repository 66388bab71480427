"""Watchers of changes: repetitions may be missed, the last word never."""

import trio
from trio.testing import wait_all_tasks_blocked

from coterie.changes import Changes


async def test_each_watcher_hears_what_is_told_from_then_on() -> None:
    changes = Changes()
    changes.tell("before")
    async with changes.watch() as one, changes.watch() as other:
        changes.tell("run")
        assert await anext(one) == "run"
        changes.tell(None)
        assert await anext(one) is None
        assert [await anext(other), await anext(other)] == ["run", None]


async def test_a_slow_watcher_hears_each_run_once_and_its_last_state() -> None:
    changes, version = Changes(), 0
    async with changes.watch() as watcher:
        for _ in range(1000):
            version += 1
            changes.tell("a")
            changes.tell("b")
        assert [await anext(watcher), await anext(watcher)] == ["a", "b"]
        with trio.move_on_after(0.01) as waiting:
            await anext(watcher)
        assert waiting.cancelled_caught, "repetitions are one"


async def test_what_is_told_while_a_watcher_works_is_not_lost() -> None:
    """The watcher reads the state when it is told; whatever changes after that read must be told again."""
    changes, state, seen = Changes(), 0, list[int]()

    async def watch() -> None:
        async with changes.watch() as watcher:
            async for _ in watcher:
                seen.append(state)
                if state == 50:
                    return
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await wait_all_tasks_blocked()
        for _ in range(50):
            state += 1
            changes.tell("run")
            await trio.lowlevel.checkpoint()
    assert seen[-1] == 50


async def test_a_cancelled_wait_loses_nothing() -> None:
    changes = Changes()
    async with changes.watch() as watcher:
        with trio.move_on_after(0):
            await anext(watcher)
        changes.tell("run")
        assert await anext(watcher) == "run"


async def test_who_no_longer_watches_is_forgotten() -> None:
    changes = Changes()
    for _ in range(3):
        async with changes.watch() as watcher:
            changes.tell("run")
            assert await anext(watcher) == "run"
    assert not changes._watchers  # pyright: ignore[reportPrivateUsage]
