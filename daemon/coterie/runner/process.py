"""Runs the commands of one job below a supervisor of its own, so that none of their processes outlives the job.

The supervisor (supervisor.py) dies with this process, however it dies, and takes every descendant along. What kills
the supervisor itself is found by its environment: see `tracking.py`.
"""

import array
import marshal
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import NoReturn, cast

import trio

from coterie.lines import LineSplitter
from coterie.runner.tracking import SUPERVISOR_VARIABLE, kill_tracked

START_S_MAX = 30.0
CLOSE_S_MAX = 8.0
DRAIN_S_MAX = 0.2  # what a dead process wrote is in the pipe already
LINES_A_TURN = 200  # about a millisecond: a step that floods its log must not hold up the daemon
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_MESSAGE_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Grace:
    """How long a step may go on after each signal, in seconds; together well below the daemon's ten to exit.

    GitHub's runner waits 7.5 s after SIGINT and 2.5 s after SIGTERM. `drain_s` is how long a step waits, after its
    process has ended, for what still holds its output open (GitHub: 5 s).
    """

    interrupt_s: float = 3.0
    terminate_s: float = 2.0
    drain_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: `argv[0]` is a path. The environment is complete; nothing is inherited."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended. `code` is None where a signal ended it."""

    code: int | None
    signal: int | None = None

    @property
    def ok(self) -> bool:
        """Did it succeed?"""
        return self.code == 0

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {self.signal} ({signal.Signals(self.signal).name})"


class CannotStart(Exception):
    """The command could not be started: no such program, no such folder."""


class SupervisorLost(Exception):
    """The steps killed their own supervisor; what they started has been killed."""


@asynccontextmanager
async def job_processes(tracking_id: str, grace: Grace) -> AsyncGenerator["JobProcesses"]:
    """A supervisor for one job; when the context is left, every process of the job is dead."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with trio.socket.from_stdlib_socket(ours) as control:
        with theirs:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={SUPERVISOR_VARIABLE: tracking_id},
                stdin=DEVNULL,
                stdout=DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        async with trio.open_nursery() as nursery:
            processes = JobProcesses(control, nursery, tracking_id, grace)
            try:
                yield processes
            finally:
                with trio.CancelScope(shield=True):
                    await _close(processes, control, process, tracking_id)


async def _close(
    processes: "JobProcesses", control: trio.socket.SocketType, process: trio.Process, tracking_id: str
) -> None:
    with trio.move_on_after(CLOSE_S_MAX) as scope:
        await processes.kill_all()
        control.close()
        await process.wait()
    if scope.cancelled_caught:
        process.kill()
        await process.wait()
        kill_tracked(tracking_id)
    processes.stop_reading()


class JobProcesses:
    """Runs one command at a time; what a command leaves running in the background lives on until the job ends."""

    def __init__(self, control: trio.socket.SocketType, nursery: trio.Nursery, tracking_id: str, grace: Grace) -> None:
        self._control = control
        self._nursery = nursery
        self._tracking_id = tracking_id
        self._grace = grace
        self._readers: set[trio.CancelScope] = set()
        self.orphans_killed = 0

    async def run(self, command: Command, on_line: Callable[[str], None]) -> Exit:
        """Runs a command to its end, each line of its output (stdout and stderr as they come) told to `on_line`.

        On cancellation: SIGINT to its process group, SIGTERM, then SIGKILL to its whole tree, with `Grace` between.
        Lines that come after the end, from what runs on in the background, are still told. Raises CannotStart,
        SupervisorLost.
        """
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        stream = trio.lowlevel.FdStream(read_end)
        try:
            await self._start(command, write_end)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        finally:
            os.close(write_end)
        drained = trio.Event()
        self._nursery.start_soon(self._read, stream, on_line, drained)
        try:
            status = await self._answer("exited")
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._stop()
                with trio.move_on_after(DRAIN_S_MAX):
                    await drained.wait()
            raise
        with trio.move_on_after(self._grace.drain_s):
            await drained.wait()
        code = os.waitstatus_to_exitcode(status)
        return Exit(code) if code >= 0 else Exit(None, -code)

    async def _start(self, command: Command, output: int) -> None:
        spec = _spec_file(command)
        try:
            with trio.fail_after(START_S_MAX) as scope:
                scope.shield = True  # half a start could not be told from none
                await self._request({"spawn": 1}, array.array("i", [spec, output]))
                await self._answer("started")
        finally:
            os.close(spec)

    async def _read(self, stream: trio.lowlevel.FdStream, on_line: Callable[[str], None], drained: trio.Event) -> None:
        """Tells the lines until all writers are gone. Shielded: a step that is being cancelled may still speak."""
        lines = LineSplitter()
        with trio.CancelScope(shield=True) as scope:
            self._readers.add(scope)
            async with stream:
                async for chunk in stream:
                    for count, line in enumerate(lines.feed(bytes(chunk)), 1):
                        on_line(line)
                        if count % LINES_A_TURN == 0:
                            await trio.lowlevel.checkpoint()
            for line in lines.end():
                on_line(line)
        drained.set()

    async def _stop(self) -> None:
        """Ends the running command."""
        steps = ((signal.SIGINT, self._grace.interrupt_s), (signal.SIGTERM, self._grace.terminate_s))
        try:
            for number, wait_s in steps:
                await self._request({"signal": int(number)})
                with trio.move_on_after(wait_s):
                    await self._answer("exited")
                    return
            await self._request({"kill": "step"})
            await self._answer("killed")
        except SupervisorLost:
            return  # all is dead

    async def kill_all(self) -> None:
        """Kills every process of the job, and counts those that lived in `orphans_killed`."""
        try:
            await self._request({"kill": "all"})
            self.orphans_killed += await self._answer("killed")
        except SupervisorLost:
            return  # all is dead

    def stop_reading(self) -> None:
        """With its last writer dead a pipe ends at once; only a process that could not be killed holds it open."""
        for reader in self._readers:
            reader.deadline = trio.current_time() + DRAIN_S_MAX

    async def _request(self, message: Mapping[str, object], rights: "array.array[int] | None" = None) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, memoryview(rights))] if rights is not None else []
        try:
            await self._control.sendmsg([marshal.dumps(dict(message))], ancillary)
        except (BrokenPipeError, ConnectionResetError):
            self._lost()

    async def _answer(self, kind: str) -> int:
        """The next answer of that kind; others that come before it are stale."""
        while True:
            try:
                data = await self._control.recv(_MESSAGE_BYTES_MAX)
            except ConnectionResetError:
                data = b""
            if not data:
                self._lost()
            answer = cast(dict[str, int | str], marshal.loads(data))
            if "failed" in answer:
                raise CannotStart(str(answer["failed"]))
            if kind in answer:
                return int(answer[kind])

    def _lost(self) -> NoReturn:
        kill_tracked(self._tracking_id)
        raise SupervisorLost("a step killed the process that supervises its job")


def _spec_file(command: Command) -> int:
    """A descriptor of the command, in memory: an environment can be longer than a message."""
    spec = {"argv": command.argv, "env": dict(command.env), "cwd": str(command.cwd)}
    descriptor = os.memfd_create("step")
    os.write(descriptor, marshal.dumps(spec))
    return descriptor
