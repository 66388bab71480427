"""One command that runs, as the engine sees it."""

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from coterie.engine.spawner.command import CannotStart, Exit, OnOutput, Stream, SupervisorLost

READ_BYTES: Final = 8 * 1024  # at a turn of the event loop: who floods its log must not hold up the others
DRAIN_S: Final = 1.0
"""How long output may come after the command's own process has ended, from what it started (GitHub's runner: 5 s)."""
KILLED_DRAIN_S: Final = 0.2  # what a dead process wrote is in the pipe already
KILL_ANSWER_S_MAX: Final = 4.0  # the supervisor gives up after half of it

Request = Callable[[tuple[str | int, ...]], Awaitable[None]]
Closed = Callable[[int], None]


class Process:
    """A command from its start to its end; await `wait()`, or use it as a context manager that ends it."""

    def __init__(self, id_: int, on_output: OnOutput, grace_s: float, request: Request, closed: Closed) -> None:
        self._id = id_
        self._on_output = on_output
        self._grace_s = grace_s
        self._request = request
        self._closed = closed
        self._pipes: dict[int, Stream] = {}
        self._changed: anyio.Event | None = None
        self._exit: Exit | None = None
        self._error: CannotStart | SupervisorLost | None = None
        self._left = False
        self._killed = False

    async def __aenter__(self) -> "Process":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def ended(self) -> bool:
        """Has its own process ended, or never begun?"""
        return self._exit is not None or self._error is not None

    async def wait(self) -> Exit:
        """Returns when it has ended, its output has been told, and what it left running has been killed.

        On cancellation it is stopped first (see `stop`). Raises CannotStart, SupervisorLost.
        """
        try:
            await self._until(lambda: self.ended)
            if self._pipes and self._error is None:
                with anyio.move_on_after(DRAIN_S):
                    await self._until(lambda: not self._pipes)
        finally:
            await self.stop()
        return self._result()

    async def stop(self) -> None:
        """Ends it: SIGTERM to its process group, after the grace SIGKILL to all that it started. Output is still told.

        Shielded from cancellation, and bounded by the grace and a few seconds.
        """
        if not self.ended or self._left:
            with anyio.CancelScope(shield=True):
                await self._stop()
        for descriptor in list(self._pipes):
            self._close(descriptor)

    async def _stop(self) -> None:
        if not self.ended:
            await self._request(("signal", self._id, int(signal.SIGTERM)))
            with anyio.move_on_after(self._grace_s):
                await self._until(lambda: self.ended)
        if not self.ended or self._left:
            await self.kill()
        with anyio.move_on_after(KILLED_DRAIN_S):
            await self._until(lambda: not self._pipes)

    async def kill(self) -> None:
        """SIGKILL to all that it started, and returns when that is dead, but for what hangs in the kernel."""
        await self._request(("kill", self._id))
        with anyio.move_on_after(KILL_ANSWER_S_MAX):
            await self._until(lambda: self._killed or self.forgotten)
        self._left = False

    def _result(self) -> Exit:
        if self._exit is None:
            raise self._error or SupervisorLost("a process could not be killed")
        return self._exit

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._changed is None or self._changed.is_set():
                self._changed = anyio.Event()
            await self._changed.wait()

    # What follows is called by the Connection.

    @property
    def pipes(self) -> dict[int, Stream]:
        """The descriptors from which its output is read."""
        return self._pipes

    @property
    def forgotten(self) -> bool:
        """Can no more be told of it?"""
        return self.ended and not self._left

    def read(self, descriptor: int) -> bool:
        """There is output to be read, or the end of it; returns whether there may be more. Raises BlockingIOError."""
        data = os.read(descriptor, READ_BYTES)
        if data:
            self._on_output(self._pipes[descriptor], data)
            return True
        self._close(descriptor)
        if self.ended:
            self._tell()
        return False

    def read_all(self) -> None:
        """Takes what the pipes hold now: as much as one of them can (64 KiB)."""
        for descriptor in list(self._pipes):
            try:
                while self.read(descriptor):
                    pass
            except BlockingIOError:
                continue

    def exited(self, status: int, left: bool) -> None:
        """Its own process ended; `left`: others live on."""
        code = os.waitstatus_to_exitcode(status)
        self._exit = Exit(code) if code >= 0 else Exit(None, -code)
        self._left = left
        self._tell()

    def failed(self, error: CannotStart | SupervisorLost) -> None:
        """There is no such process."""
        self._error = error
        self._left = False
        self._killed = True
        self._tell()

    def killed(self) -> None:
        """None of its processes lives."""
        self._killed = True
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _close(self, descriptor: int) -> None:
        del self._pipes[descriptor]
        self._closed(descriptor)
        os.close(descriptor)
