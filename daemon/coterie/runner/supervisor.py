"""The process between the daemon and the steps of one job: while it lives, no descendant can escape it.

Run as a script by `process.py`, with a SOCK_SEQPACKET socket to the daemon as the only argument. It is a child
subreaper (prctl(2)), so a process that double-forks or calls setsid becomes its child and not init's. When the
socket closes, for whatever reason and also by SIGKILL of the daemon, it kills all its descendants and ends.

Requests and answers are marshalled dicts: both ends run on one interpreter. Requests: {"spawn": 1} with two
descriptors (a file with argv, env and cwd; where output goes), {"signal": n} to the step's process group, {"kill":
"step" | "all"}. Answers: {"started": pid}, {"failed": text}, {"exited": status} as of waitpid(2), {"killed": count}.
The standard library is all it may import: it runs with -I -S, and every module costs its start a millisecond.
"""

# Without the enums of `signal` and `socket`, which take as long to import as the interpreter takes to start.
import _signal as signal  # pyright: ignore[reportMissingModuleSource]
import _socket as socket
import array
import ctypes
import marshal
import os
import resource
import select
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_MESSAGE_BYTES_MAX = 4096
_KILL_S_MAX = 2.0
_KILL_POLL_S = 0.005
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
# Whatever the daemon was started with: a shell's background job, say, ignores SIGINT and SIGQUIT.
_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def main() -> None:
    """Serves one daemon until it hangs up."""
    daemon = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(daemon.fileno(), False)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    Supervisor(daemon).serve()


def _woken(number: int, frame: object) -> None:
    """The wake-up descriptor does the work; without a handler of some kind there is none."""


class Supervisor:
    """The children of one job. At most one of them is the step's own process; the rest are what it left behind."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._step: int | None = None

    def serve(self) -> None:
        """Answers requests and reaps children until the daemon's end closes; then kills what is left."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _woken)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._daemon, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if wake_read in ready:
                    os.read(wake_read, 512)
                    self._reap()
                if self._daemon.fileno() in ready and not self._serve_request():
                    return
        except (BrokenPipeError, ConnectionResetError):
            return  # the daemon is gone; so are we
        finally:
            self._kill(everything=True)

    def _serve_request(self) -> bool:
        room = socket.CMSG_SPACE(2 * array.array("i").itemsize)
        data, ancillary, _, _ = self._daemon.recvmsg(_MESSAGE_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        request = marshal.loads(data)
        if "spawn" in request:
            descriptors = array.array("i", ancillary[0][2])
            try:
                self._spawn(descriptors[0], descriptors[1])
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        elif "signal" in request:
            self._signal(request["signal"])
        else:
            self._answer({"killed": self._kill(everything=request["kill"] == "all")})
        return True

    def _spawn(self, spec: int, output: int) -> None:
        with open(spec, "rb", closefd=False) as file:
            file.seek(0)
            command = marshal.load(file)
        try:
            os.chdir(command["cwd"])
            self._step = os.posix_spawn(
                command["argv"][0],
                command["argv"],
                command["env"],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=_RESET,
            )
        except OSError as error:
            self._answer({"failed": str(error)})
        else:
            self._answer({"started": self._step})
        finally:
            os.chdir("/")  # the workspace must not be held

    def _signal(self, number: int) -> None:
        if self._step is not None:
            try:
                os.killpg(self._step, number)
            except ProcessLookupError:
                return

    def _reap(self) -> bool:
        """Collects the dead; tells of the step. Returns whether a child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._step:
                self._step = None
                self._answer({"exited": status})

    def _kill(self, everything: bool) -> int:
        """Kills the step's tree, or every descendant; returns how many there were.

        Each round finds what earlier rounds let slip by forking. Bounded: what another user owns (a setuid
        program), or what hangs in the kernel, cannot be killed.
        """
        root, session = (os.getpid(), None) if everything else (self._step, self._step)
        victims: set[int] = set()
        end = time.monotonic() + _KILL_S_MAX
        while root is not None and self._reap() and time.monotonic() < end:
            found = tree(root, session)
            if not found:
                break
            for pid in found:
                # A process stopped cannot fork; what was found twice has been stopped with all its kind.
                send(pid, signal.SIGKILL if pid in victims else signal.SIGSTOP)
            if found <= victims:
                time.sleep(_KILL_POLL_S)  # the kernel is at it, and a parent's death is what hands us its children
            victims |= found
        return len(victims)

    def _answer(self, message: dict[str, object]) -> None:
        try:
            self._daemon.send(marshal.dumps(message))
        except (BrokenPipeError, ConnectionResetError):
            return  # serve() sees the hang-up


def send(pid: int, number: int) -> None:
    """Sends a signal to a process that may have ended, or may not be ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def tree(root: int, session: int | None) -> set[int]:
    """The living descendants of `root`; with `session`, root itself too and all processes of that session."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # pid (comm) state ppid pgrp session …; comm may hold blanks and brackets. proc(5)
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        pid = int(name)
        if fields[0] in (b"Z", b"X"):
            continue
        parents[pid] = int(fields[1])
        if session is not None and (int(fields[3]) == session or pid == root):
            found.add(pid)
    return found | {pid for pid in parents if pid != root and _descends(pid, root, parents)}


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    for _ in range(len(parents)):
        if pid == root:
            return True
        if pid not in parents:
            return False
        pid = parents[pid]
    return False


if __name__ == "__main__":
    main()
