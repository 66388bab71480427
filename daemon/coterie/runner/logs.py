"""The output of attempts: one file each, `logs/<run>/<digest of task>-<attempt>.log`, every line with its time.

A line is `2026-11-21T14:31:00.123Z text\\n`. Lines gather in memory and go to the file in one write per turn of the
event loop; whoever follows is woken by an event. Only one process writes: the daemon that holds the data directory.
"""

import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio

from coterie.disk import disk_errors
from coterie_protocols.errors import NotFound
from coterie_protocols.ops import RunId

LINE_CHARS_MAX = 64 * 1024
READ_BYTES = 64 * 1024
OPEN_WAIT_S = 10.0
"""How long a follower waits for a log that is not there yet: an attempt is known a moment before it writes."""
_NOTICE_BYTES = 200  # room kept for the line that says what was cut


class FileLogs:
    """Logs below `directory`, each at most `log_bytes_max` long. `wall_ms` gives Unix milliseconds."""

    def __init__(self, directory: Path, log_bytes_max: int, wall_ms: Callable[[], int]) -> None:
        self._directory = directory
        self._log_bytes_max = log_bytes_max
        self._wall_ms = wall_ms
        self._open: dict[Path, _FileLog] = {}
        self._opened = trio.Event()

    @asynccontextmanager
    async def open(self, run: RunId, task: str, attempt: int) -> AsyncGenerator["_FileLog"]:
        """A new log; leaving the context closes it. Raises DiskFailed, at the latest when it is closed."""
        path = self._path(run, task, attempt)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        log = self._open[path] = _FileLog(file, self._log_bytes_max, self._wall_ms)
        self._opened.set()
        self._opened = trio.Event()
        try:
            yield log
        finally:
            del self._open[path]
            with disk_errors(path):
                log.close()

    def finished(self, run: RunId, task: str, attempt: int) -> Path | None:
        """The file of a closed log."""
        path = self._path(run, task, attempt)
        return path if path not in self._open and path.is_file() else None

    async def read(self, run: RunId, task: str, attempt: int, offset: int, follow: bool) -> AsyncGenerator[bytes]:
        """The bytes from `offset` on; with `follow`, until the log is closed. Raises NotFound."""
        path = self._path(run, task, attempt)
        if follow:
            with trio.move_on_after(OPEN_WAIT_S):
                while not path.is_file():
                    await self._opened.wait()
        live = self._open.get(path)
        if not path.is_file():
            raise NotFound(f"no log of {task}, attempt {attempt}, on this peer")
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            while True:
                # Taken before the read: what is written after it sets the event.
                more = live.changed if live is not None else None
                closed = live is None or live.closed
                if chunk := file.read(READ_BYTES):
                    yield chunk
                    await trio.lowlevel.checkpoint()
                elif closed or not follow or more is None:
                    return
                else:
                    await more.wait()

    def _path(self, run: RunId, task: str, attempt: int) -> Path:
        # Ids of runs are CIDs, yet they may come from a request: nothing in them may name another folder.
        if not run.isalnum() or not run.isascii():
            raise NotFound(f"no run {run!r}")
        digest = hashlib.sha256(task.encode()).hexdigest()[:16]
        return self._directory / run / f"{digest}-{attempt}.log"


class _FileLog:
    """One open log (ports.LogWriter)."""

    def __init__(self, file: int, bytes_max: int, wall_ms: Callable[[], int]) -> None:
        self._file = file
        self._room_bytes = max(bytes_max - _NOTICE_BYTES, 0)
        self._wall_ms = wall_ms
        self._stamp_ms = -1
        self._stamp = b""
        self._missing_bytes = 0
        self._missing_lines = 0
        self._failure: OSError | None = None
        self.changed = trio.Event()
        self.closed = False

    def line(self, text: str) -> None:
        """Adds a line with the present time; a text with line ends, or a very long one, becomes several."""
        for part in _lines(text):
            line = self._time() + part.encode("utf-8", "replace") + b"\n"
            if len(line) <= self._room_bytes:
                self._room_bytes -= len(line)
                self._write(line)
            else:
                self._room_bytes = 0  # from the first line that does not fit on: no holes
                self._missing_bytes += len(line)
                self._missing_lines += 1

    def close(self) -> None:
        """Says what was cut. Raises the OSError of the first write that failed."""
        if self._missing_lines:
            notice = f"log cut here: {self._missing_lines} lines ({self._missing_bytes} bytes) more are not kept\n"
            self._write(self._time() + notice.encode())
        os.close(self._file)
        self.closed = True
        self._wake_followers()
        if self._failure is not None:
            raise self._failure

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:  # told when the log is closed: the steps must not learn of it
            self._failure = self._failure or error
        self._wake_followers()

    def _wake_followers(self) -> None:
        if self.changed.statistics().tasks_waiting:
            self.changed.set()
            self.changed = trio.Event()

    def _time(self) -> bytes:
        now_ms = self._wall_ms()
        if now_ms != self._stamp_ms:
            seconds, ms = divmod(now_ms, 1000)
            moment = datetime.fromtimestamp(seconds, UTC)
            self._stamp_ms, self._stamp = now_ms, f"{moment:%Y-%m-%dT%H:%M:%S}.{ms:03}Z ".encode()
        return self._stamp


def _lines(text: str) -> Iterator[str]:
    if "\n" not in text and len(text) <= LINE_CHARS_MAX:
        yield text
        return
    for line in text.split("\n"):
        for start in range(0, max(len(line), 1), LINE_CHARS_MAX):
            yield line[start : start + LINE_CHARS_MAX]
