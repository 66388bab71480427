"""Reads what steps put out, as it comes, and what happens to executions, as it happens."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import RUN_ENDED
from coterie.executions.news import News, Watcher
from coterie.executions.output import StepLogs
from coterie.executions.reading import Reading
from coterie.executions.views import ExecutionView, StepView
from coterie_protocols.errors import NotFound

PAUSE_S: Final = 0.1
"""Between two looks at an execution: ten a second."""
STEPS_A_LOOK_MAX: Final = 200
"""Steps told of at a time; the rest follows. About 4 ms of work."""


class NoOutputYet(NotFound):
    """The attempt has not begun, so it has put out nothing."""

    code = "no-output"


class Following:
    """Follows the executions that `reading` finds."""

    def __init__(self, reading: Reading, journal: SqliteJournal, logs: StepLogs, news: News) -> None:
        self._reading = reading
        self._journal = journal
        self._logs = logs
        self._news = news

    async def log(self, id_: str, step: str, attempt: int | None, offset: int, follow: bool) -> AsyncGenerator[bytes]:
        """The output of an attempt (None: of the last one) from byte `offset` on; with `follow` until it has ended.

        Raises NotFound for what there is not; with `follow` a step that has not begun is waited for.
        """
        record = self._reading.find(id_)
        position = await self._reading.position(record, step)
        with self._news.watching(record.id) as watcher:
            number = attempt or await self._begun(record, step, position, follow, watcher)
            path = self._logs.path(record.id, step, number)
            while True:
                over = self._is_over(record, position, number)  # asked before the last look into the file
                while chunk := self._logs.read(path, offset):
                    offset += len(chunk)
                    yield chunk
                    await trio.lowlevel.checkpoint()
                if over or not follow:
                    return
                if self._logs.is_open(path):
                    await self._logs.more(path)
                else:
                    await watcher.wait()  # the log is opened, or the attempt ends

    async def _begun(self, record: ExecutionRecord, step: str, position: int, follow: bool, watcher: Watcher) -> int:
        """The number of the last attempt, once there is one."""
        while True:
            row = self._journal.row(record.id, position)
            if row is not None and row.attempt:
                return row.attempt
            if not follow or self._reading.find(record.id).state in RUN_ENDED:
                told = "is pending" if row is None else f"is {row.state}"
                raise NoOutputYet(
                    f"{step} has put out nothing: it {told}", f"why: coterie workflow explain {record.id}"
                )
            await watcher.wait()

    def _is_over(self, record: ExecutionRecord, position: int, attempt: int) -> bool:
        row = self._journal.row(record.id, position)
        if row is None or row.attempt < attempt:
            return self._reading.find(record.id).state in RUN_ENDED
        return row.attempt > attempt or row.state != "running" or not self._reading.is_live(record.id)

    @asynccontextmanager
    async def watch(self, id_: str) -> AsyncGenerator["Watch"]:
        """Watches one execution from now on. Raises NotFound."""
        record = self._reading.find(id_)
        with self._news.watching(record.id) as watcher:
            yield Watch(self._reading, record, watcher)


class Watch:
    """One execution under watch: `next_views` gives what is new, a few times a second at most."""

    def __init__(self, reading: Reading, record: ExecutionRecord, watcher: Watcher) -> None:
        self._reading = reading
        self._record = record
        self._watcher = watcher
        self._looked_at = -PAUSE_S

    def present(self) -> ExecutionView:
        """Where it stands."""
        return self._reading.view(self._record.id)

    async def changed(self) -> None:
        """Returns when there is something new, PAUSE_S after the last time at the earliest."""
        if not self._watcher.steps:
            await self._watcher.wait()
        await trio.sleep_until(self._looked_at + PAUSE_S)
        self._looked_at = trio.current_time()

    async def steps(self) -> list[StepView]:
        """Some of the steps that changed and were not told of since; none if there are no more."""
        found = [
            await self._reading.step(self._record, position) for position in self._watcher.take_steps(STEPS_A_LOOK_MAX)
        ]
        await trio.lowlevel.checkpoint()
        return found
