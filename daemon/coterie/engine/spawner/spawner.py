"""Starts commands from which no process escapes: the engine's side of `supervisor.py`.

A supervisor dies with this process, however it dies, and takes every descendant along. What kills the supervisor
itself is found by its environment: see `tracking.py`.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from coterie.engine.settings import EngineSettings
from coterie.engine.spawner.command import Command, Exit, OnOutput
from coterie.engine.spawner.connection import Connection
from coterie.engine.spawner.process import Process
from coterie.engine.spawner.supervisor import ENGINE
from coterie.engine.spawner.tracking import (
    SUPERVISOR_VARIABLE,
    kill_orphans,
    kill_tracked,
    new_spawner_id,
    tracking_prefix,
)

CLOSE_S_MAX: Final = 8.0
_SUPERVISOR: Final = Path(__file__).with_name("supervisor.py")


class Spawner:
    """Starts commands, many at a time, below one supervisor; a Resource of the engine.

    If a command kills the supervisor, all that runs then ends with SupervisorLost, and the next has a new one.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._grace_s = settings.grace_s
        self._is_named = settings.work_dir is not None
        self._prefix = tracking_prefix(settings.work_dir)
        self._connection: Connection | None = None
        self._opened = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; when it returns every process that it started is dead."""
        if self._is_named:
            await kill_orphans(self._prefix)
        while True:
            await self._supervise(new_spawner_id(self._prefix), task_status)

    async def _supervise(self, name: str, task_status: TaskStatus[None]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                pid = _start(theirs, name)
            is_first = self._connection is None
            self._connection = Connection(ours, name, self._grace_s)
            self._opened.set()
            if is_first:
                task_status.started()
            try:
                await self._connection.dispatch()
            finally:
                self._opened = anyio.Event()
                ours.close()
                with anyio.CancelScope(shield=True):
                    await _see_out(pid, name)
                self._connection.end()
            if self._connection.count == 0:
                raise RuntimeError("the supervisor of the engine's processes ended before it had anything to do")

    async def start(self, command: Command, on_output: OnOutput) -> Process:
        """Starts a command. Raises SupervisorLost; `Process.wait` raises CannotStart."""
        if self._connection is None:
            raise RuntimeError("the spawner does not run")
        if not self._opened.is_set():
            await self._opened.wait()  # for the next supervisor
        return await self._connection.start(command, on_output)

    async def run_command(self, command: Command, on_output: OnOutput) -> Exit:
        """Runs a command to its end, its output told as it comes. When it returns nothing of it lives.

        On cancellation: SIGTERM to its process group, after the grace SIGKILL to all that it started. Raises
        CannotStart, SupervisorLost.
        """
        process = await self.start(command, on_output)
        return await process.wait()


def _start(control: socket.socket, name: str) -> int:
    python = sys.executable
    return os.posix_spawn(
        python,
        [python, "-I", "-S", str(_SUPERVISOR)],
        {SUPERVISOR_VARIABLE: name},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, control.fileno(), ENGINE),
        ],
        setsid=True,
    )


async def _see_out(pid: int, name: str) -> None:
    """Waits for a supervisor that has been hung up on: it kills what is left first."""
    descriptor = os.pidfd_open(pid)
    try:
        with anyio.move_on_after(CLOSE_S_MAX) as scope:
            await anyio.wait_readable(descriptor)
        if scope.cancelled_caught:
            os.kill(pid, 9)
    finally:
        os.close(descriptor)
    try:
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended
    except ChildProcessError:
        status = 0  # the host ignores SIGCHLD, so the kernel collected it
    if status != 0:
        kill_tracked(name)  # it was killed itself
