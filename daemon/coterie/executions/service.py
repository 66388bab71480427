"""The daemon's executions: accepted, performed, taken up again after a crash, commanded."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast

import structlog
import trio

from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import RUN_ENDED, Json
from coterie.engine.performing import commands
from coterie.engine.performing.core import Observer
from coterie.engine.performing.submission import Planned, Request
from coterie.engine.planning.spec_document import spec_from_json
from coterie.engine.settings import EngineSettings
from coterie.engine.spawner.tracking import kill_orphans, tracking_prefix
from coterie.executions.folders import ExecutionFolders, SourceBlobs
from coterie.executions.following import Following
from coterie.executions.keeping import Keep, Keeping
from coterie.executions.measuring import Measuring
from coterie.executions.news import News
from coterie.executions.output import StepLogs
from coterie.executions.performing import Performer, Prepare
from coterie.executions.planning import Planning
from coterie.executions.reading import Reading
from coterie.executions.timeline import Timelines
from coterie.executions.views import ExecutionView
from coterie.wall_clock import unix_ms
from coterie_protocols.errors import TryLater

JOURNAL_FILE: Final = "engine.db"
DIRECTORY: Final = "executions"
LARGE_DOCUMENT_STEPS: Final = 500
"""From so many steps on a workflow is read and planned in a thread, so that nobody waits for it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExecutionsSettings:
    """How the daemon executes. `data_dir` is the daemon's; times in seconds; `env` is what steps see of it."""

    data_dir: Path
    steps: int = 2
    queue_max: int = 1000
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    durability: Literal["strict", "relaxed"] = "strict"
    keep_s: float = 30 * 86_400.0
    keep_bytes: int = 4 * 1024**3
    grace_s: float = 5.0
    log_bytes_max: int = 64 * 1024**2
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be executed: the document of a workflow (spec_document.py), its inputs, and an uploaded source tree.

    The same `key` again gives the execution that was submitted with it.
    """

    document: object
    inputs: Mapping[str, Json] = field(default_factory=dict[str, Json])
    key: str | None = None
    priority: float | None = None
    submitter: str = ""
    source: Path | None = None


class Executions:
    """All executions of one daemon. Use it within `opened`."""

    def __init__(self, settings: ExecutionsSettings, blobs: SourceBlobs, observers: tuple[Observer, ...] = ()) -> None:
        directory = settings.data_dir / DIRECTORY
        self.folders = ExecutionFolders(directory, blobs)
        self.news = News()
        self.logs = StepLogs(directory / "logs", settings.log_bytes_max, unix_ms, self.news.tell)
        self._settings = settings
        self._work_dir = directory
        self.journal = SqliteJournal(settings.data_dir / JOURNAL_FILE, durability=settings.durability)
        self.engine = WorkflowEngine(
            settings=_engine_settings(settings, directory),
            journal=self.journal,
            output=self.logs,
            observers=(*observers, self.news),
        )
        self.engine.submissions.folders = self.folders
        self.reading = Reading(self.engine, self.journal)
        self.engine.core.observers.append(self.reading)
        self.following = Following(self.reading, self.journal, self.logs, self.news)
        self.measuring = Measuring(self.reading, self.journal)
        self.timelines = Timelines(self.reading, self.journal)
        self.planning = Planning(self.engine, self.reading, self.journal)
        keep = Keep(settings.keep_s, settings.keep_bytes)
        self._keeping = Keeping(self.engine, self.journal, self.folders, self.logs, keep)
        self._performing = trio.CancelScope()
        self._all_stopped = trio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Takes up what an earlier daemon left, and performs until it is left. What was not over then goes on later."""
        try:
            killed = await kill_orphans(tracking_prefix(self._work_dir))
            if killed:
                log.warning("killed what an earlier daemon left running", processes=killed)
            async with self.engine, trio.open_nursery() as nursery:
                await nursery.start(self._perform_all)
                nursery.start_soon(self._keeping.run)
                yield
                await self.stop()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of the files. May be called again."""
        self.logs.close()
        self.journal.close()

    async def stop(self) -> None:
        """Stops all steps, and begins no more; returns when they have ended."""
        self._performing.cancel()
        await self._all_stopped.wait()

    async def _perform_all(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._performing:
                async with trio.open_nursery() as nursery:
                    self.performer = Performer(self.engine, self.folders, nursery, self._ended)
                    self.engine.core.observers.append(self.performer)
                    self._resume()
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._all_stopped.set()

    def _resume(self) -> None:
        unfinished = {record.id: record for record in self.journal.unfinished()}
        for record in unfinished.values():
            if parent_of(record) not in unfinished:  # else the step that it belongs to goes on with it
                self.performer.start(record)
        if unfinished:
            log.info("executions taken up again", count=len(unfinished))

    def _ended(self, id_: str) -> None:
        self._keeping.one_ended()
        self.news.tell(id_)

    # --- submitting ---

    async def submit(self, submission: Submission) -> ExecutionView:
        """Accepts and begins an execution; both are durable when it returns.

        Raises InvalidWorkflow, QueueFull, BadSource, UserError for inputs that do not fit, DiskFailed.
        """
        return self.reading.view_of(await self.begin(submission))

    async def begin(self, submission: Submission) -> ExecutionRecord:
        """The same; returns the record as it was accepted."""
        source = None if submission.source is None else await self.folders.keep(submission.source)
        planned = await self._planned(submission.document)
        request = Request(
            planned.spec,
            submission.inputs,
            key=submission.key,
            submitter=submission.submitter,
            priority=submission.priority,
            source=source,
            planned=planned,
        )
        record = self.engine.submissions.accept(request)
        if record.state not in RUN_ENDED:
            await self._begun(record, None)
        return record

    async def _planned(self, document: object) -> Planned:
        if _steps_in(document) < LARGE_DOCUMENT_STEPS:
            return self._plan(document)
        return await trio.to_thread.run_sync(self._plan, document)

    def _plan(self, document: object) -> Planned:
        return self.engine.submissions.plan(spec_from_json(document))

    # --- commands; each raises NotFound, NotPossible ---

    async def cancel(self, id_: str, reason: str) -> ExecutionView:
        """Stops what runs and starts nothing more; returns once it has ended."""
        id_ = await self._commanded(id_)
        await self.engine.cancel_workflow(id_, reason)
        return self.reading.view(id_)

    async def pause(self, id_: str) -> ExecutionView:
        """Starts nothing more until it is resumed; what runs goes on."""
        id_ = await self._commanded(id_)
        await self.engine.pause_workflow(id_)
        return self.reading.view(id_)

    async def resume(self, id_: str) -> ExecutionView:
        """Goes on with a paused execution."""
        id_ = await self._commanded(id_)
        await self.engine.resume_workflow(id_)
        return self.reading.view(id_)

    async def skip(self, id_: str, step: str, reason: str) -> ExecutionView:
        """Has a step count as done without a result."""
        id_ = await self._commanded(id_)
        await self.engine.skip_step(id_, step, reason)
        return self.reading.view(id_)

    async def signal(self, id_: str, name: str, data: Json) -> ExecutionView:
        """Sends a signal, which a `wait` step takes."""
        id_ = await self._commanded(id_)
        await self.engine.signal(id_, name, data)
        return self.reading.view(id_)

    async def answer(self, id_: str, step: str, value: Json) -> ExecutionView:
        """Answers an `input` step. Raises NotAsked, BadAnswer."""
        id_ = await self._commanded(id_)
        await self.engine.answer(id_, step, value)
        return self.reading.view(id_)

    async def retry(self, id_: str, step: str | None) -> ExecutionView:
        """Tries failed and cancelled steps (or one) again, in the same execution; returns once that is durable."""
        id_ = await self._commanded(id_)
        record, prepare = await commands.revival(self.engine, id_, step)
        if prepare is not None:
            await self._begun(record, prepare)
        return self.reading.view(id_)

    async def rerun(self, id_: str, failed: bool, step: str | None) -> ExecutionView:
        """Executes the same plan again, as a new execution that takes over what it can (`commands.rerun`)."""
        await self.folders.prepare(self.reading.find(id_))
        record = commands.rerun(self.engine, self.reading.find(id_).id, failed=failed, step=step)
        await self._begun(record, None)
        return self.reading.view(record.id)

    async def _begun(self, record: ExecutionRecord, prepare: Prepare | None) -> None:
        performance = self.performer.start(record, prepare)
        await performance.begun.wait()
        if prepare is not None:
            await performance.committed.wait()

    async def _commanded(self, id_: str) -> str:
        """The whole id of an execution that can take commands now. Raises NotFound, TryLater."""
        record = self.reading.find(id_)
        performance = self.performer.of(record.id)
        if performance is not None and performance.interrupted:
            raise TryLater(f"{record.id} waits for the disk", "free some space; the daemon's log says more")
        if performance is not None and record.state in RUN_ENDED:
            await performance.ended.wait()  # its last turn is over: a command would never be heard
        return record.id


def parent_of(record: ExecutionRecord) -> str | None:
    """The execution that runs this one as a step of its own: it gave it the idempotency key of that step."""
    return None if record.key is None else record.key.partition("/")[0]


def _steps_in(document: object) -> int:
    steps = cast("Mapping[str, object]", document).get("steps") if isinstance(document, dict) else None
    return len(cast("list[object]", steps)) if isinstance(steps, list) else 0


def _engine_settings(settings: ExecutionsSettings, directory: Path) -> EngineSettings:
    return EngineSettings(
        max_concurrent_tasks=settings.steps,
        threads_max=settings.steps,
        queue_max=settings.queue_max,
        resources=settings.resources,
        grace_s=settings.grace_s,
        isolate_functions=True,
        env=settings.env,
        work_dir=directory,
    )
