"""The engine's end of one supervisor: requests out, answers and output in."""

import array
import marshal
import os
import select
import socket
from typing import Final

import anyio

from coterie.engine.spawner.command import CannotStart, Command, OnOutput, Stream, SupervisorLost
from coterie.engine.spawner.process import Process
from coterie.engine.spawner.supervisor import MESSAGE_BYTES_MAX, TRACKING_VARIABLE

ANSWERS_A_TURN: Final = 64
YOUNG_S: Final = 0.01
"""For so long output is not watched: most commands are quick, and what ends soon is read at its end at one go."""
EVENTS_A_TURN: Final = 256


class Connection:
    """Commands below one supervisor. Their pipes stand in one epoll with its socket: a turn of the loop serves all."""

    def __init__(self, control: socket.socket, spawner: str, grace_s: float) -> None:
        control.setblocking(False)
        self._control = control
        self._spawner = spawner
        self._grace_s = grace_s
        self._epoll = select.epoll()
        self._epoll.register(control, select.EPOLLIN)
        self._sending = anyio.Lock()
        self._processes: dict[int, Process] = {}
        self._readers: dict[int, Process] = {}
        self._young: set[Process] = set()
        self._born = anyio.Event()
        self._lost = False
        self.count = 0

    async def start(self, command: Command, on_output: OnOutput) -> Process:
        """Asks for a command to be started; `Process.wait` tells whether it could be. Raises SupervisorLost."""
        if self._lost:
            raise SupervisorLost("the process that supervises the commands is gone")
        self.count += 1
        id_ = self.count
        process = Process(id_, on_output, self._grace_s, self.request, self._unwatch)
        theirs: list[int] = []
        try:
            parts = _open(command, process.pipes, theirs)
            env = {**command.env, TRACKING_VARIABLE: f"{self._spawner}-{id_}"}
            self._processes[id_] = process
            given = theirs if command.channel is None else [*theirs, command.channel]
            await self._spawn(id_, parts, given, command, env)
            self._young.add(process)
            self._born.set()
        except BaseException:
            self._processes.pop(id_, None)
            process.failed(CannotStart("it was cancelled"))
            await process.stop()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return process

    async def _spawn(self, id_: int, parts: str, given: list[int], command: Command, env: dict[str, str]) -> None:
        spec = (command.argv, env, str(command.cwd))
        message = marshal.dumps(("spawn", id_, parts, *spec))
        if len(message) <= MESSAGE_BYTES_MAX:
            await self._send(message, given)
            return
        file = _memory_file(marshal.dumps((id_, *spec)))
        try:
            await self._send(marshal.dumps(("spec", parts)), [*given, file])
        finally:
            os.close(file)

    async def request(self, message: tuple[str | int, ...]) -> None:
        """Sends a request. To a supervisor that is gone it is lost, which `dispatch` notices."""
        await self._send(marshal.dumps(message), [])

    async def _send(self, message: bytes, descriptors: list[int]) -> None:
        if self._try_send(message, descriptors):
            return
        async with self._sending:
            while not self._try_send(message, descriptors):
                await anyio.wait_writable(self._control)

    def _try_send(self, message: bytes, descriptors: list[int]) -> bool:
        if self._lost:
            return True
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._control.sendmsg([message], rights)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True
        return True

    async def dispatch(self) -> None:
        """Passes on what comes, until the supervisor is gone, or it is cancelled. See `end`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_output)
            await self._take_events()
            tasks.cancel_scope.cancel()

    async def _watch_output(self) -> None:
        while True:
            await self._born.wait()
            self._born = anyio.Event()
            grown = self._young.copy()
            await anyio.sleep(YOUNG_S)
            for process in grown & self._young:
                self._watch(process)

    def _watch(self, process: Process) -> None:
        self._young.discard(process)
        for descriptor in process.pipes:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._readers[descriptor] = process

    def _unwatch(self, descriptor: int) -> None:
        self._readers.pop(descriptor, None)

    async def _take_events(self) -> None:
        try:
            while not self._lost:
                await anyio.wait_readable(self._epoll)
                for descriptor, _ in self._epoll.poll(0, EVENTS_A_TURN):
                    if descriptor == self._control.fileno():
                        self._take_answers()
                    elif (process := self._readers.get(descriptor)) is not None:
                        process.read(descriptor)
        finally:
            self._lost = True
            self._readers.clear()
            self._epoll.close()

    def end(self) -> None:
        """Whoever waits is told that the supervisor is gone; call it when all that it supervised is dead."""
        for process in self._processes.values():
            process.failed(SupervisorLost("the process that supervises the commands is gone"))
        self._processes.clear()
        self._young.clear()

    def _take_answers(self) -> None:
        for _ in range(ANSWERS_A_TURN):
            try:
                data = self._control.recv(MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self._lost = True
                return
            self._take(marshal.loads(data))

    def _take(self, answer: tuple[object, ...]) -> None:
        process = self._processes.get(int(str(answer[1])))
        if process is None:
            return  # cancelled half-way, or the supervisor's own tidying
        match answer:
            case ("exited", _, int(status), bool(left)):
                process.exited(status, left)
                if process in self._young:
                    process.read_all()
                    self._watch(process)
            case ("failed", _, str(text)):
                process.failed(CannotStart(text))
            case ("killed", _, int()):
                process.killed()
            case _:
                raise ValueError(f"no such answer: {answer!r}")
        if process.forgotten:
            del self._processes[int(str(answer[1]))]
            self._young.discard(process)


def _open(command: Command, ours: dict[int, Stream], theirs: list[int]) -> str:
    """Opens what the command reads and writes, and says which part each of `theirs` plays (see supervisor.py)."""
    parts = ""
    if command.stdin is not None:
        theirs.append(_memory_file(command.stdin))
        parts += "i"
    streams: tuple[Stream, ...] = (1,) if command.merged else (1, 2)
    for stream in streams:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)  # of our end alone
        ours[read_end] = stream
        theirs.append(write_end)
        parts += "m" if command.merged else "oe"[stream - 1]
    return parts if command.channel is None else parts + "c"


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("coterie", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
