"""The process between the engine and everything that it starts: while it lives, no descendant can escape it.

Run as a script by `spawner.py`, with a SOCK_SEQPACKET socket to the engine as descriptor 3. It is a child subreaper
(prctl(2)), so a process that double-forks or calls setsid becomes its child and not init's. When the socket closes,
for whatever reason and also by SIGKILL of the engine, it kills all its descendants and ends.

Requests and answers are marshalled tuples (both ends run on one interpreter); commands are known by the numbers that
the engine gives them. Requests:
  ("spawn", id, parts, argv, env, cwd)  with a descriptor for each letter of `parts`: i, o, e, c become 0, 1, 2, 3 of
                                        the child and m becomes both 1 and 2; what is missing is /dev/null
  ("spec", parts)                       the same, where the rest would not fit: it is in the file of the last descriptor
  ("signal", id, number)                to the process group of a command
  ("kill", id)                          everything that a command has started and that still lives
Answers: ("failed", id, text), ("exited", id, status, left), ("killed", id, count). `status` is as of waitpid(2);
`left` tells that the command left processes behind, which is when the engine has to ask for a kill.
The standard library is all it may import: it runs with -I -S, and every module costs its start a millisecond.
"""

# Without the enums of `signal` and `socket`, which take as long to import as the interpreter takes to start.
import _signal as signal  # pyright: ignore[reportMissingModuleSource]
import _socket as socket
import array
import ctypes
import gc
import marshal
import os
import resource
import select
import sys
import time

TRACKING_VARIABLE = "COTERIE_TRACKING_ID"
MESSAGE_BYTES_MAX = 64 * 1024
DESCRIPTORS_MAX = 5
ENGINE = 3
CHANNEL = 3  # its number in the child
UNKNOWN = 0  # the command of processes that cannot be told to belong to one
KILL_S_MAX = 2.0
_ALL = -1
_DESCRIPTOR_MAX = 2**31 - 1
_READ_BYTES = 4096
_KILL_POLL_MS = 5
_PR_SET_CHILD_SUBREAPER = 36
_SIGSET_BYTES = 128
_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {0: "i", 1: "om", 2: "em", CHANNEL: "c"}  # which part plays each descriptor
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
# Whatever the engine was started with: a shell's background job, say, ignores SIGINT and SIGQUIT.
_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def main() -> None:
    """Serves one engine until it hangs up."""
    engine = socket.socket(fileno=ENGINE)
    os.set_inheritable(ENGINE, False)
    os.closerange(ENGINE + 1, _DESCRIPTOR_MAX)  # what a careless host left open
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    gc.disable()  # nothing here goes in circles
    Supervisor(engine).serve()


def _deaths() -> int:
    """A descriptor that can be read when a child has ended: signalfd(2), which interrupts nothing."""
    # typeshed does not know what `_signal` has of this.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # type: ignore[attr-defined]  # pyright: ignore
    signals = (1 << signal.SIGCHLD - 1).to_bytes(_SIGSET_BYTES, sys.byteorder)
    descriptor = _LIBC.signalfd(-1, signals, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "signalfd")
    return int(descriptor)


class Supervisor:
    """The children of one engine: the commands, by number and by pid, and strays, whose parents died before them."""

    def __init__(self, engine: socket.socket) -> None:
        self._engine = engine
        self._pids: dict[int, int] = {}  # of commands that run, and of those that ended and left something
        self._leaders: dict[int, int] = {}  # the other way round, of commands that run
        self._strays: dict[int, int] = {}  # pid of a child of ours -> the command that it comes from
        self._killing: dict[int, tuple[float, set[int]]] = {}
        self._children = _children_file()

    def serve(self) -> None:
        """Answers requests and reaps children until the engine's end closes; then kills what is left."""
        deaths = _deaths()
        poll = select.poll()
        poll.register(ENGINE, select.POLLIN)
        poll.register(deaths, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll(_KILL_POLL_MS if self._killing else None)]
                if deaths in ready:
                    os.read(deaths, _READ_BYTES)
                    self._reap()
                if ENGINE in ready and not self._serve_request():
                    return
                if self._killing:
                    self._kill_round()
        except (BrokenPipeError, ConnectionResetError):
            return  # the engine is gone; so are we
        finally:
            self._kill_everything()

    def _serve_request(self) -> bool:
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        data, ancillary, _, _ = self._engine.recvmsg(MESSAGE_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        request = marshal.loads(data)
        descriptors = array.array("i", ancillary[0][2] if ancillary else b"")
        try:
            match request:
                case ("spawn", id_, parts, argv, env, cwd):
                    self._spawn(id_, dict(zip(parts, descriptors, strict=True)), argv, env, cwd)
                case ("spec", parts):
                    with open(descriptors.pop(), "rb") as file:
                        file.seek(0)
                        id_, argv, env, cwd = marshal.load(file)
                    self._spawn(id_, dict(zip(parts, descriptors, strict=True)), argv, env, cwd)
                case ("signal", id_, number):
                    self._signal(id_, number)
                case ("kill", id_):
                    self._killing[id_] = time.monotonic() + KILL_S_MAX, set()
                case _:
                    raise ValueError(f"no such request: {request!r}")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _spawn(self, id_: int, given: dict[str, int], argv: list[str], env: dict[str, str], cwd: str) -> None:
        actions = [
            _action(number, parts, given) for number, parts in _NUMBERS.items() if number != CHANNEL or "c" in given
        ]
        try:
            os.chdir(cwd)
            pid = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=[], setsigdef=_RESET)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a text, a `=` in the name of a variable
            self._answer(("failed", id_, str(error)))
        else:
            self._pids[id_] = pid
            self._leaders[pid] = id_
        finally:
            os.chdir("/")  # the workspace must not be held

    def _signal(self, id_: int, number: int) -> None:
        pid = self._pids.get(id_)
        if pid is not None:
            try:
                os.killpg(pid, number)
            except (ProcessLookupError, PermissionError):
                return

    def _reap(self) -> None:
        """Collects the dead, and tells of the commands among them."""
        ended: list[tuple[int, int, int]] = []
        try:
            while (dead := os.waitpid(-1, os.WNOHANG))[0] != 0:
                pid, status = dead
                self._strays.pop(pid, None)
                if pid in self._leaders:
                    ended.append((self._leaders.pop(pid), pid, status))
        except ChildProcessError:
            pass  # none is left
        if not ended:
            return
        self._find_strays()
        for id_, pid, status in ended:
            left = _group_lives(pid) or id_ in self._strays.values()
            self._answer(("exited", id_, status, left))
            if not left:
                self._forget(id_)

    def _forget(self, id_: int) -> None:
        """A command is over. After the last one goes what cannot be told to belong to any."""
        if self._pids.pop(id_, None) is not None and not self._pids and UNKNOWN in self._strays.values():
            self._killing[UNKNOWN] = time.monotonic() + KILL_S_MAX, set()

    def _find_strays(self) -> None:
        """Finds out which command each new child of ours comes from that we did not start."""
        for pid in _children(self._children):
            if pid not in self._leaders and pid not in self._strays:
                self._strays[pid] = self._origin(pid)

    def _origin(self, pid: int) -> int:
        """By its session, by the variable that its environment still has, or because there is only one."""
        state = _state(pid)
        session = 0 if state is None else state[1]
        for id_, leader in self._pids.items():
            if leader == session:
                return id_
        id_ = _tracked(pid)
        if id_ in self._pids:
            return id_
        return next(iter(self._pids)) if len(self._pids) == 1 else UNKNOWN

    def _kill_round(self) -> None:
        """One round of killing; what earlier rounds let slip by forking is found by the next.

        Bounded: what another user owns (a setuid program), or what hangs in the kernel, cannot be killed.
        """
        members = self._members()
        for id_, (end, victims) in list(self._killing.items()):
            found = members.get(id_, set())
            if not found or time.monotonic() > end:
                del self._killing[id_]
                self._forget(id_)
                self._answer(("killed", id_, len(victims)))
                continue
            for pid in found:
                # A process stopped cannot fork; what was found twice has been stopped with all its kind.
                _send(pid, signal.SIGKILL if pid in victims else signal.SIGSTOP)
            victims |= found

    def _members(self) -> dict[int, set[int]]:
        """The living processes of each command, and under _ALL those of all."""
        self._find_strays()
        parents = {pid: state[0] for pid, state in _living().items()}
        owners = {**self._strays, **self._leaders}
        for id_, (_, victims) in self._killing.items():
            if id_ != _ALL:
                owners.update(dict.fromkeys(victims, id_))
        members: dict[int, set[int]] = {}
        for pid in parents:
            owner = _owner(pid, parents, owners)
            if owner is not None:
                members.setdefault(owner, set()).add(pid)
                members.setdefault(_ALL, set()).add(pid)
        return members

    def _kill_everything(self) -> None:
        self._killing = {_ALL: (time.monotonic() + KILL_S_MAX, set())}
        while self._killing:
            self._reap()
            self._kill_round()
            if self._killing:
                time.sleep(_KILL_POLL_MS / 1000)  # the kernel is at it; a parent's death hands us its children

    def _answer(self, message: tuple[str | int, ...]) -> None:
        try:
            self._engine.send(marshal.dumps(message))
        except (BrokenPipeError, ConnectionResetError):
            return  # serve() sees the hang-up


def _action(number: int, parts: str, given: dict[str, int]) -> tuple[int, int, int] | tuple[int, int, str, int, int]:
    """How a descriptor comes about. What is given stands above 3, so none is overwritten before it is used."""
    for part in parts:
        if part in given:
            return os.POSIX_SPAWN_DUP2, given[part], number
    return os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _send(pid: int, number: int) -> None:
    """Sends a signal to a process that may have ended, or may not be ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _children_file() -> int | None:
    try:
        return os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # a kernel built without CONFIG_PROC_CHILDREN


def _children(file: int | None) -> list[int]:
    """Our own children, living and dead."""
    own = os.getpid()
    if file is None:
        return [pid for pid, (parent, _) in _living().items() if parent == own]
    os.lseek(file, 0, os.SEEK_SET)
    text = b""
    while chunk := os.read(file, _READ_BYTES):
        text += chunk
    return [int(name) for name in text.split()]


def _living() -> dict[int, tuple[int, int]]:
    """Parent and session of every process, without the dead that nobody has collected."""
    states = {int(name): _state(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    return {pid: state for pid, state in states.items() if state is not None}


def _state(pid: int) -> tuple[int, int] | None:
    """Parent and session of a process; None for the dead."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # pid (comm) state ppid pgrp session …; comm may hold blanks and brackets. proc(5)
            fields = file.read(1024).rpartition(b")")[2].split(None, 5)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[3]))


def _tracked(pid: int) -> int:
    """The command that is named by a process's environment."""
    start = TRACKING_VARIABLE.encode() + b"="
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            found = [entry for entry in file.read().split(b"\0") if entry.startswith(start)]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return UNKNOWN
    number = found[0].rpartition(b"-")[2] if found else b""
    return int(number) if number.isdigit() else UNKNOWN


def _owner(pid: int, parents: dict[int, int], owners: dict[int, int]) -> int | None:
    """The command of the nearest ancestor that is known to belong to one; None for what does not descend from us."""
    own = os.getpid()
    found = None if pid == own else UNKNOWN
    for _ in range(len(parents)):
        if pid == own:
            return found
        if not found and pid in owners:
            found = owners[pid]
        if pid not in parents:
            return None
        pid = parents[pid]
    return None


if __name__ == "__main__":
    main()
