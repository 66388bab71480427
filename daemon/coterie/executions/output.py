"""What steps put out, an attempt a file: `<execution>/<step>.<attempt>.log`, every line with its time.

A line is `2026-11-21T14:31:00.123Z text\\n`. Lines gather in memory and reach the file in one write per turn of the
event loop; whoever follows is woken by an event.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog
import trio

from coterie.engine.journal.port import ExecutionRecord
from coterie.executions.sweeping import sweep
from coterie.wall_clock import rfc3339

LINE_CHARS_MAX: Final = 64 * 1024
READ_BYTES: Final = 64 * 1024
BUFFER_BYTES_MAX: Final = 256 * 1024
"""More than that is written without waiting for the end of the turn."""
_NOTICE_BYTES: Final = 200
"""Room kept for the line that says what was cut."""

_log = structlog.get_logger(__name__)


class StepLogs:
    """Implements `engine.core.OutputSink` in `directory`, at most `log_bytes_max` an attempt. Call it from one loop.

    `on_open` is called with the execution of each log that is opened. A disk that takes no more costs lines, never a
    step: that is said in the daemon's log.
    """

    def __init__(
        self, directory: Path, log_bytes_max: int, wall_ms: Callable[[], int], on_open: Callable[[str], None]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._log_bytes_max = log_bytes_max
        self._wall_ms = wall_ms
        self._open: dict[Path, _StepLog] = {}
        self._unwritten: dict[Path, _StepLog] = {}
        self._on_open = on_open
        self._token: trio.lowlevel.TrioToken | None = None

    # --- OutputSink ---

    def line(self, record: ExecutionRecord, step: str, attempt: int, text: str) -> None:
        """One line of one attempt; the first one opens its file."""
        path = self.path(record.id, step, attempt)
        log = self._open.get(path)
        if log is None:
            log = self._open[path] = _StepLog(path, self._log_bytes_max)
            self._on_open(record.id)
        log.add(rfc3339(self._wall_ms()).encode() + b" ", text)
        if log.buffered_bytes > BUFFER_BYTES_MAX:
            log.write()
        elif path not in self._unwritten:
            if not self._unwritten:
                self._soon()
            self._unwritten[path] = log

    def ended(self, record: ExecutionRecord, step: str, attempt: int) -> None:
        """There will be no more of that attempt."""
        if self._open:
            path = self.path(record.id, step, attempt)
            log = self._open.pop(path, None)
            if log is not None:
                self._unwritten.pop(path, None)
                log.close(rfc3339(self._wall_ms()))

    # --- for readers ---

    def path(self, execution: str, step: str, attempt: int) -> Path:
        """Where the lines of an attempt are, if there are any. Ids of the engine name no other folder."""
        return self._directory / execution / f"{step}.{attempt}.log"

    def read(self, path: Path, offset: int) -> bytes:
        """Some bytes of an attempt from `offset` on, READ_BYTES at most; empty where there are no more yet."""
        self._write()
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(file, READ_BYTES, offset)
        finally:
            os.close(file)

    def is_open(self, path: Path) -> bool:
        """Does somebody still write there?"""
        return path in self._open

    async def more(self, path: Path) -> None:
        """Returns when there is more to read of an open log, or it is closed."""
        log = self._open.get(path)
        if log is not None:
            await log.changed.wait()

    async def sweep(self, is_known: Callable[[str], bool]) -> int:
        """Removes the logs of executions that nobody knows any more; returns of how many."""
        return await sweep(self._directory, is_known)

    def close(self) -> None:
        """Writes what is left."""
        self._write()
        for log in self._open.values():
            log.close(rfc3339(self._wall_ms()))
        self._open.clear()

    def _soon(self) -> None:
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
        self._token.run_sync_soon(self._write, idempotent=True)

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, {}
        for log in unwritten.values():
            log.write()


class _StepLog:
    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._room_bytes = max(bytes_max - _NOTICE_BYTES, 0)
        self._missing_bytes = self._missing_lines = 0
        self._lines: list[bytes] = []
        self.buffered_bytes = 0
        self.changed = trio.Event()
        self._file = self._opened()

    def add(self, time: bytes, text: str) -> None:
        """Takes a line; a text with line ends, or a very long one, becomes several."""
        for part in _parts(text):
            line = time + part.encode("utf-8", "replace") + b"\n"
            if len(line) <= self._room_bytes:
                self._room_bytes -= len(line)
                self.buffered_bytes += len(line)
                self._lines.append(line)
            else:
                self._room_bytes = 0  # from the first line that does not fit on: no holes
                self._missing_bytes += len(line)
                self._missing_lines += 1

    def write(self) -> None:
        """Hands what has gathered to the file, and wakes those who follow."""
        lines, self._lines, self.buffered_bytes = self._lines, [], 0
        rest = memoryview(b"".join(lines))
        try:
            while rest and self._file is not None:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._lose(error)
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    def close(self, now: str) -> None:
        """Says what was cut."""
        if self._missing_lines:
            notice = f"log cut here: {self._missing_lines} lines ({self._missing_bytes} bytes) more are not kept\n"
            self._lines.append(f"{now} {notice}".encode())
        self.write()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int | None:
        try:
            self._path.parent.mkdir(exist_ok=True, mode=0o700)
            # A daemon that died may have written to it before; an attempt is never started twice under one number.
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._file = None
            self._lose(error)
            return None

    def _lose(self, error: OSError) -> None:
        _log.error("the output of a step is not kept", file=str(self._path), reason=error.strerror)
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _parts(text: str) -> Iterator[str]:
    if "\n" not in text and len(text) <= LINE_CHARS_MAX:
        yield text
        return
    for line in text.split("\n"):
        for start in range(0, max(len(line), 1), LINE_CHARS_MAX):
            yield line[start : start + LINE_CHARS_MAX]
