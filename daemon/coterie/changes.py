"""Tells watchers what changed. A slow watcher misses repetitions, never the last word, and holds nobody up."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import trio


class _Watcher(AsyncIterator[str | None]):
    """No generator: one that is left unfinished would be ended by the garbage collector, in no task at all."""

    def __init__(self) -> None:
        self._pending: dict[str | None, None] = {}
        self._news = trio.Event()

    def tell(self, what: str | None) -> None:
        self._pending[what] = None
        self._news.set()

    async def __anext__(self) -> str | None:
        while not self._pending:
            self._news = trio.Event()
            await self._news.wait()
        what = next(iter(self._pending))
        del self._pending[what]
        return what


class Changes:
    """The watchers of one daemon."""

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()

    def tell(self, what: str | None) -> None:
        """Run `what` changed; None stands for members, liveness or the clock."""
        for watcher in self._watchers:
            watcher.tell(what)

    @contextmanager
    def _watching(self) -> Generator[_Watcher]:
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[AsyncIterator[str | None]]:
        """The ids of runs as they change, from now on."""
        with self._watching() as watcher:
            yield watcher
