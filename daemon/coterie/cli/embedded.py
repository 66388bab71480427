"""An engine in a thread of this process: what `coterie workflow run` executes with, and looks at."""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, cast

import anyio
import trio

from coterie.cli.execution_source import STEPS_FIRST_MAX
from coterie.cli.local_runs import mark
from coterie.control.client import Document
from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, StepRow
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import RUN_ENDED
from coterie.engine.performing import commands
from coterie.engine.performing.execution import LiveExecution
from coterie.engine.settings import EngineSettings
from coterie.engine.spawner.tracking import kill_orphans, tracking_prefix
from coterie.executions.reading import Reading, step_view
from coterie.settings import machine_resources
from coterie.wall_clock import rfc3339, unix_ms

JOURNAL_FILE = "engine.db"
LINES_WAITING_MAX = 10_000
"""More lines than these are not shown where nobody looks; the logs have them all."""
STOP_S_MAX = 30.0

Begin = Callable[[WorkflowEngine], ExecutionRecord]
"""Accepts an execution, or finds one to go on with."""

News = tuple[str, Document] | BaseException | None


class EmbeddedRun:
    """One execution in `folder`, an `ExecutionSource`. `explanation` has what went wrong, once it has ended."""

    def __init__(self, folder: Path, begin: Begin) -> None:
        self._folder = folder
        self._begin = begin
        self._news = queue.SimpleQueue[News]()
        self._first: list[Document] = []
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.explanation: list[Document] = []
        self.engine: WorkflowEngine | None = None
        self.execution = ""

    # --- for the thread that shows it ---

    def events(self) -> Iterator[tuple[str, Document]]:
        """Starts it, and tells of it until it has ended. Raises what kept it from that.

        Beside "execution" and "step" there is "line": {step, text}, as the steps put it out.
        """
        self._thread.start()
        while (news := self._news.get()) is not None:
            if isinstance(news, BaseException):
                raise news
            yield news

    def steps(self) -> Iterator[Document]:
        """Its first steps, as they were when it began."""
        return iter(self._first)

    def lines(self, step: str) -> Iterator[str]:
        """None: they come as events."""
        return iter(())

    def answer(self, step: str, value: Mapping[str, Any]) -> None:
        """Answers an `input` step. Raises NotAsked, BadAnswer."""
        assert self.engine is not None
        trio.from_thread.run(self.engine.answer, self.execution, step, dict(value), trio_token=self._token)

    def stop(self) -> None:
        """Stops what runs, and returns when it has ended; the execution can go on later."""
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._scope.cancel)  # pyright: ignore[reportUnknownMemberType]
            except trio.RunFinishedError:
                return
        if self._thread.is_alive():
            self._thread.join(STOP_S_MAX)

    # --- in the engine's thread ---

    def _run(self) -> None:
        try:
            anyio.run(self._main, backend="trio")
        except BaseException as error:  # noqa: BLE001 - handed to the thread that shows it, which raises it
            self._news.put(_only(error))
        self._news.put(None)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            await kill_orphans(tracking_prefix(self._folder))
            journal = SqliteJournal(self._folder / JOURNAL_FILE)
            output = LocalOutput(self._folder / "logs", self._news)
            engine = self.engine = WorkflowEngine(settings=_settings(self._folder), journal=journal)
            engine.core.output = output
            engine.submissions.folders = LocalFolders(self._folder / "work")
            reading = Reading(engine, journal)
            engine.core.observers += [reading, self]
            self._reading = reading
            try:
                async with engine:
                    await self._perform(engine, reading)
            finally:
                output.close()

    async def _perform(self, engine: WorkflowEngine, reading: Reading) -> None:
        record = self._begin(engine)
        self.execution = record.id
        mark(self._folder, record.id, ended=False)
        prepare = None
        if record.state in ("failed", "cancelled"):
            record, prepare = await commands.revival(engine, record.id, None)
        self._first = [asdict(step) for step in (await reading.steps(record.id, 0, STEPS_FIRST_MAX)).steps]
        self._tell(reading.view(record.id))
        if record.state not in RUN_ENDED or prepare is not None:
            async with engine.hosting() as host:
                await engine.submissions.run(record, host, prepare)
        view = reading.view(record.id)
        mark(self._folder, record.id, ended=view.status in RUN_ENDED)
        if view.status != "completed":
            self.explanation = [asdict(step) for step in reading.explain(record.id, None).steps]
        self._tell(view)

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Implements `engine.core.Observer`."""
        if live.record.id != self.execution:
            return  # a workflow within the workflow
        for row in rows:
            self._news.put(("step", asdict(step_view(live.steps, row))))
        if live.state not in RUN_ENDED:  # the end is told when its record is complete
            self._tell(self._reading.view_of(live.record))

    def _tell(self, view: Any) -> None:
        self._news.put(("execution", asdict(view)))


class LocalFolders:
    """Steps run in the source tree where it lies; `record.source` names it."""

    def __init__(self, work: Path) -> None:
        self._work = work

    def source_dir(self, record: ExecutionRecord) -> Path | None:
        """The tree around the file."""
        return None if record.source is None else Path(record.source)

    def work_dir(self, record: ExecutionRecord) -> Path | None:
        """A folder of the execution's own."""
        folder = self._work / record.id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


class LocalOutput:
    """Keeps the lines of steps in a file for each attempt, `<execution>/<step>.<attempt>.log`, and shows them."""

    def __init__(self, directory: Path, news: "queue.SimpleQueue[News]") -> None:
        self._directory = directory
        self._news = news
        self._files: dict[Path, TextIO] = {}

    def line(self, record: ExecutionRecord, step: str, attempt: int, text: str) -> None:
        """One line of one attempt."""
        path = self._path(record, step, attempt)
        file = self._files.get(path)
        if file is None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = self._files[path] = path.open("a", buffering=1, errors="replace")
        file.write(f"{rfc3339(unix_ms())} {text}\n")
        if self._news.qsize() < LINES_WAITING_MAX:
            self._news.put(("line", {"step": step, "text": text}))

    def ended(self, record: ExecutionRecord, step: str, attempt: int) -> None:
        """There will be no more of that attempt."""
        if file := self._files.pop(self._path(record, step, attempt), None):
            file.close()

    def close(self) -> None:
        """Closes what is open."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _path(self, record: ExecutionRecord, step: str, attempt: int) -> Path:
        return self._directory / record.id / f"{step}.{attempt}.log"


def _settings(folder: Path) -> EngineSettings:
    resources = machine_resources()
    return EngineSettings(isolate_functions=True, resources=resources, env=dict(os.environ), work_dir=folder)


def _only(error: BaseException) -> BaseException:
    """The error itself where it is the only one of its group."""
    inner = cast("tuple[BaseException, ...]", getattr(error, "exceptions", ()))
    return _only(inner[0]) if len(inner) == 1 else error
