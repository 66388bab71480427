"""Whoever watches an execution learns what happens to it, and nothing of others."""

import trio

from coterie.engine.journal.port import StepRow
from coterie.executions.news import News


async def test_the_watcher_of_an_execution_is_told(autojump_clock: trio.testing.MockClock) -> None:
    news = News()
    with news.watching("ex-1") as watcher, news.watching("ex-1") as other:
        news.tell("ex-2")
        with trio.move_on_after(1) as waited:
            await watcher.wait()
        assert waited.cancelled_caught
        news.tell("ex-1")
        await watcher.wait()
        await other.wait()
    news.tell("ex-1")


async def test_steps_are_told_once_however_often_they_changed() -> None:
    news = News()
    with news.watching("ex-1") as watcher:
        watcher.tell([StepRow(3, "running"), StepRow(1, "running")])
        watcher.tell([StepRow(3, "completed"), StepRow(2, "running")])
        assert watcher.take_steps(2) == [3, 1]
        assert watcher.take_steps(2) == [2]
        assert watcher.take_steps(2) == []
