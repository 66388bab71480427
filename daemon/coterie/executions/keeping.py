"""Forgets what is old: executions beyond the limits, with their folders and logs. In pieces that block nobody."""

import time
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from coterie.disk import DiskFailed
from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.executions.folders import ExecutionFolders
from coterie.executions.output import StepLogs
from coterie.wall_clock import unix_ms
from coterie_protocols.errors import NotFound

INTERVAL_S: Final = 3600.0
ENDED_MAX: Final = 500
"""After so many ends it looks without waiting for the hour."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long and how much: seconds after the end, and bytes on the disk."""

    s: float
    bytes: int


class Keeping:
    """Holds a journal and what belongs to its executions within limits."""

    def __init__(
        self, engine: WorkflowEngine, journal: SqliteJournal, folders: ExecutionFolders, logs: StepLogs, keep: Keep
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._folders = folders
        self._logs = logs
        self._keep = keep
        self._ended = 0
        self._swept = False
        self._due = trio.Event()

    def one_ended(self) -> None:
        """An execution has ended."""
        self._ended += 1
        if self._ended >= ENDED_MAX:
            self._due.set()

    async def run(self) -> None:
        """Until cancelled. A failing disk is told of, and tried again the next time."""
        while True:
            try:
                forgotten = await self.tidy()
                if forgotten:
                    log.info("executions forgotten", count=forgotten)
            except DiskFailed as error:
                log.error("old executions are not forgotten", reason=error.message)
            with trio.move_on_after(INTERVAL_S):
                await self._due.wait()
            self._ended, self._due = 0, trio.Event()

    async def tidy(self) -> int:
        """Once; returns how many executions were forgotten. Raises DiskFailed."""
        forgotten, more = 0, True
        while more:  # each piece removes rows, of which there is an end
            piece = self._journal.prune_piece(self._keep.bytes, self._keep.s, unix_ms())
            forgotten, more = forgotten + piece.executions, piece.more
            await trio.lowlevel.checkpoint()
        while not self._engine.core.live and self._journal.tidy():
            await trio.lowlevel.checkpoint()
        await self._folders.sweep_sources(self._sources_in_use, time.time_ns() / 1e9)
        if forgotten or not self._swept:  # what an earlier daemon did not come to is swept the first time
            await self._folders.sweep(self._is_known)
            await self._logs.sweep(self._is_known)
            self._swept = True
        return forgotten

    def _is_known(self, name: str) -> bool:
        try:
            self._journal.execution(name)
        except NotFound:
            return False
        return True

    def _sources_in_use(self) -> set[str]:
        return {record.source for record in self._journal.unfinished() if record.source is not None}
