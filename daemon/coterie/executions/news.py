"""Who wants to know what happens to an execution is told; who is slow misses repetitions, never the last word."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import trio

from coterie.engine.journal.port import ExecutionChange, Note, StepRow
from coterie.engine.performing.execution import LiveExecution


class Watcher:
    """Somebody who watches one execution: `steps` are the positions that changed since they were last taken."""

    __slots__ = ("_news", "steps")

    def __init__(self) -> None:
        self.steps: dict[int, None] = {}
        self._news = trio.Event()

    def tell(self, rows: Sequence[StepRow] = ()) -> None:
        """Something happened."""
        for row in rows:
            self.steps[row.position] = None
        self._news.set()

    def take_steps(self, count: int) -> list[int]:
        """At most `count` of the changed positions, the longest known first."""
        taken = [position for position, _ in zip(self.steps, range(count), strict=False)]
        for position in taken:
            del self.steps[position]
        return taken

    async def wait(self) -> None:
        """Returns when something has happened since the last time."""
        await self._news.wait()
        self._news = trio.Event()


class News:
    """Implements `engine.core.Observer`: passes on what was committed to those who watch that execution."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Costs a look into a dict where nobody watches."""
        if self._watchers:
            for watcher in self._watchers.get(live.record.id, ()):
                watcher.tell(rows)

    def tell(self, execution: str) -> None:
        """Something else happened to it: it has ended here, or nobody performs it any more."""
        for watcher in self._watchers.get(execution, ()):
            watcher.tell()

    @contextmanager
    def watching(self, execution: str) -> Generator[Watcher]:
        """Watches one execution, from now on."""
        watcher = Watcher()
        watchers = self._watchers.setdefault(execution, set())
        watchers.add(watcher)
        try:
            yield watcher
        finally:
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(execution, None)
