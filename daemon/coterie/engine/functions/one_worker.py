"""One worker process, as the engine sees it."""

import socket
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from coterie.engine.functions.messages import READ_BYTES, Reader, body_of, header_of
from coterie.engine.spawner import Command, Exit, LineSplitter, Process, Spawner, Stream, SupervisorLost

START_S_MAX: Final = 30.0
LAST_LINES_MAX: Final = 50
READY_BYTES_MAX: Final = 1024


class WorkerDied(Exception):
    """The process ended where it should have answered. `exit` is None where its supervisor was killed."""

    def __init__(self, exit_: Exit | None) -> None:
        super().__init__("" if exit_ is None else str(exit_))
        self.exit = exit_


class Worker:
    """Started once, then a conversation in messages; what it writes meanwhile goes to who calls it."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._ours: socket.socket | None = None
        self._process: Process | None = None
        self._reader = Reader()
        self._lines = LineSplitter()
        self._log: Callable[[str], None] | None = None
        self._last: deque[str] = deque(maxlen=LAST_LINES_MAX)

    @property
    def alive(self) -> bool:
        """Has it not ended? Its socket tells before its supervisor does."""
        if self._ours is None or self._process is None or self._process.ended:
            return False
        try:
            return bool(self._ours.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    @property
    def last_lines(self) -> list[str]:
        """What it wrote last."""
        return list(self._last)

    async def start(self, spawner: Spawner, argv: tuple[str, ...], env: Mapping[str, str], cwd: Path) -> None:
        """Returns when it is ready. Raises CannotStart, WorkerDied."""
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        with theirs:
            command = Command(argv, env, cwd, channel=theirs.fileno())
            try:
                self._process = await spawner.start(command, self._take)
            except SupervisorLost:
                raise WorkerDied(None) from None
        with anyio.fail_after(START_S_MAX):
            await self.receive(READY_BYTES_MAX)

    @contextmanager
    def output_to(self, log: Callable[[str], None]) -> Generator[None]:
        """What it writes while this is open goes to `log`; all of it is told when this is left."""
        self._lines = LineSplitter()
        self._last.clear()
        self._log = log
        try:
            yield
        finally:
            if self._process is not None:
                self._process.read_all()  # it wrote before it answered
            for line in self._lines.end():
                self._tell(line)
            self._log = None

    def _take(self, stream: Stream, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._tell(line)

    def _tell(self, line: str) -> None:
        self._last.append(line)
        if self._log is not None:
            self._log(line)

    async def send(self, message: dict[str, Any]) -> None:
        """One message. Raises TypeError or ValueError for what is no JSON, WorkerDied."""
        assert self._ours is not None
        body = body_of(message)
        data = memoryview(header_of(body) + body)
        while data:
            try:
                data = data[self._ours.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._ours)
            except (BrokenPipeError, ConnectionResetError):
                await self._died()

    async def receive(self, bytes_max: int) -> dict[str, Any]:
        """The next message. Raises WorkerDied, CannotStart."""
        assert self._ours is not None
        while (message := self._reader.next(bytes_max)) is None:
            await anyio.wait_readable(self._ours)
            try:
                data = self._ours.recv(READ_BYTES)
            except ConnectionResetError:
                data = b""
            if not data:
                await self._died()
            self._reader.feed(data)
        return message

    async def _died(self) -> None:
        assert self._process is not None
        try:
            raise WorkerDied(await self._process.wait())
        except SupervisorLost:
            raise WorkerDied(None) from None

    async def close(self) -> None:
        """Ends it: what is in the middle of a call gets SIGTERM and the grace; what waits for one ends by itself."""
        if self._ours is not None:
            self._ours.close()
        if self._process is not None:
            await self._process.stop()
