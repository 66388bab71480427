"""Performs executions, each in a task of its own, and takes them up again where the disk failed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

import structlog
import trio

from coterie.disk import DiskFailed
from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, StepRow
from coterie.engine.model import RUN_ENDED
from coterie.engine.performing.execution import LiveExecution
from coterie.executions.folders import BadSource, ExecutionFolders, SourceGone

PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0
"""After each failure of the disk the wait is twice as long, up to this. It has no end: a person frees the disk."""

Prepare = Callable[[LiveExecution, int], None]
"""A command to begin with."""

log = structlog.get_logger(__name__)


class Performance:
    """One execution under way here, to be waited for.

    `begun`: what it was about to do first is done, as far as the disk let it. `committed`: it, and the command that it
    began with, are on record. `interrupted`: it waits for the disk.
    """

    __slots__ = ("begun", "committed", "ended", "interrupted")

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.committed = trio.Event()
        self.ended = trio.Event()
        self.interrupted = False


class Performer:
    """Performs in `nursery`; whoever cancels that stops all steps, and their executions go on at the next start.

    Implements `engine.core.Observer`. `on_end` is called with the id of each that ended, or was interrupted.
    """

    def __init__(
        self,
        engine: WorkflowEngine,
        folders: ExecutionFolders,
        nursery: trio.Nursery,
        on_end: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._folders = folders
        self._nursery = nursery
        self._on_end = on_end
        self._performances: dict[str, Performance] = {}
        self._beginning: dict[str, Performance] = {}

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Something of an execution is durable."""
        if self._beginning:
            performance = self._beginning.pop(live.record.id, None)
            if performance is not None:
                performance.committed.set()
        if change is not None and change.state in RUN_ENDED:
            self._folders.forget(live.record.id)

    def of(self, execution: str) -> Performance | None:
        """The performance of an execution that is under way here."""
        return self._performances.get(execution)

    def start(self, record: ExecutionRecord, prepare: Prepare | None = None) -> Performance:
        """Performs an execution from wherever it stands, unless that is done already."""
        known = self._performances.get(record.id)
        if known is not None:
            return known
        performance = self._performances[record.id] = self._beginning[record.id] = Performance()
        self._nursery.start_soon(self._perform, performance, record, prepare, name=f"execution {record.id}")
        return performance

    async def _perform(self, performance: Performance, record: ExecutionRecord, prepare: Prepare | None) -> None:
        pause_s = PAUSE_FIRST_S
        try:
            while not await self._once(performance, record, prepare):
                performance.interrupted = True
                self._on_end(record.id)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
                performance.interrupted = False
                record = self._engine.core.journal.execution(record.id)  # what it had come to
                if performance.committed.is_set():
                    prepare = None  # the command it began with is on record
        finally:
            del self._performances[record.id]
            self._beginning.pop(record.id, None)
            performance.begun.set()
            performance.committed.set()
            performance.ended.set()
            self._on_end(record.id)

    async def _once(self, performance: Performance, record: ExecutionRecord, prepare: Prepare | None) -> bool:
        """Performs it to its end; False where the disk kept it from that. Raises what is our own fault."""
        id_ = record.id

        def begin(live: LiveExecution, now_ms: int) -> None:
            if prepare is not None:
                prepare(live, now_ms)
            performance.begun.set()  # whoever waits for it runs when the first turn is over: that has no await in it

        try:
            if record.state in RUN_ENDED and prepare is None:
                return True  # it had ended before the disk failed
            await self._prepare(record)
            async with self._engine.hosting() as host:
                await self._engine.submissions.run(record, host, begin)
        except Exception as error:
            failures = list(_leaves(error))
            if not all(isinstance(each, DiskFailed) for each in failures):
                raise
            log.error("execution interrupted: it goes on when the disk does", execution=id_, reason=str(failures[0]))
            return False
        return True

    async def _prepare(self, record: ExecutionRecord) -> None:
        try:
            await self._folders.prepare(record)
        except (SourceGone, BadSource) as error:  # the steps that need the tree will fail, and say so
            log.error("the source tree of an execution is missing", execution=record.id, reason=error.message)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error
