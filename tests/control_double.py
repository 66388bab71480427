"""A daemon that is made of lists, for tests of the control socket and of what speaks to it."""

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import trio

from coterie.control.server import serve
from coterie.control.socket_file import control_socket
from coterie.views import (
    ClockView,
    InviteView,
    JobView,
    MemberView,
    RunView,
    StatusView,
    SubmitRequest,
    VerifyView,
)
from coterie_protocols.errors import NotAllowed, NotFound, TryLater

PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
OTHER = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"
RUN = "abcdefghijklmnopqrstuvwxyz"
RUN_2 = "abcxefghijklmnopqrstuvwxyz"
SERVED_S_MAX = 60.0
T0 = "2026-11-21T12:00:00.000Z"
T1 = "2026-11-21T12:00:03.250Z"


def job(name: str, status: str = "success", **changes: object) -> JobView:
    """A job of a double's run."""
    began = None if status in ("waiting", "queued") else T0
    ended = None if began is None or status == "running" else T1
    view = JobView(name, name, "success", PEER, 1, began, ended, (), ("ubuntu-latest",), None, "", None, {})
    return replace(view, **{"status": status, **changes})  # type: ignore[arg-type]


def run(run_id: str = RUN, status: str = "success", jobs: tuple[JobView, ...] = ()) -> RunView:
    """A double's run."""
    ended = None if status in ("queued", "running") else T1
    view = RunView(run_id, "success", "ci.yml", "push", PEER, 3.0, "job", T0, ended, jobs or (job("build"),))
    return replace(view, status=status)  # type: ignore[arg-type]


class DaemonDouble:
    """Answers from what the test put in; `tell` makes a change known to those who listen."""

    def __init__(self) -> None:
        self.held = {RUN: run()}
        self.texts: dict[str, bytes] = {"build": b"2026-11-21T12:00:01.000Z hello\n"}
        self.submitted: list[SubmitRequest] = []
        self.sources: list[bytes] = []
        self.cancelled: list[tuple[str, str]] = []
        self.invited: list[object] = []
        self.stopped = 0
        self.admin = True
        self.problems: tuple[str, ...] = ()
        self.broken = False
        self.reading_logs = 0
        self.logs_fail_after: int | None = None
        self.log_grows = trio.Event()
        self.log_ended = False
        self.token: trio.lowlevel.TrioToken | None = None
        self._listeners: set[trio.MemorySendChannel[str | None]] = set()

    def status(self) -> StatusView:
        if self.broken:
            raise RuntimeError("a bug, on purpose")
        return StatusView(
            peer=PEER,
            name="alpha",
            coterie="bafyreigenesis",
            coterie_name="office",
            version="0.1.0",
            pid=4242,
            uptime_s=3725.0,
            roles=("admin", "submit", "work"),
            labels=("linux", "x64"),
            slots=2,
            free=1,
            addresses=("/ip4/127.0.0.1/tcp/7411",),
            members=2,
            connected=1,
            events=1204,
            digest="3f2a9c" * 8,
            runs={"success": 1},
            running=(),
            data_dir="/var/lib/coterie",
        )

    def members(self) -> tuple[MemberView, ...]:
        own = MemberView(PEER, "alpha", ("admin", "submit", "work"), ("linux",), 2, 1, "self", False, None, ())
        return own, replace(own, peer=OTHER, name="beta", roles=("work",), state="alive", connected=True, seen_s=1.5)

    def clock(self) -> ClockView:
        return ClockView("bafyreigenesis", ("bafyreihead",), {PEER: (7, "bafyreihead")}, "3f2a9c" * 8, 1204, 0)

    def runs(self, limit: int) -> tuple[RunView, ...]:
        return tuple(reversed(self.held.values()))[:limit]

    def run(self, prefix: str) -> RunView:
        found = [view for run_id, view in self.held.items() if run_id.startswith(prefix)]
        if not found:
            raise NotFound(f"no run begins with {prefix!r}", "list them with `coterie workflow list`")
        if len(found) > 1:
            raise NotFound(f"{prefix!r} may be any of " + ", ".join(view.run for view in found), "give more letters")
        return found[0]

    async def submit(self, request: SubmitRequest) -> RunView:
        await trio.lowlevel.checkpoint()
        if not self.admin:
            raise NotAllowed("this peer may not submit", "ask an admin for the role `submit`")
        self.submitted.append(request)
        if request.source is not None:
            self.sources.append(await trio.Path(request.source).read_bytes())
        return self.held[RUN]

    async def cancel(self, prefix: str, reason: str) -> RunView:
        await trio.lowlevel.checkpoint()
        view = self.run(prefix)
        self.cancelled.append((view.run, reason))
        return replace(view, status="cancelled")

    def invite(self, roles: tuple[str, ...], labels: tuple[str, ...], uses: int, valid_s: float) -> InviteView:
        if not self.admin:
            raise NotAllowed("only an admin can invite", "ask an admin")
        self.invited.append((roles, labels, uses, valid_s))
        return InviteView("coterie-token", roles, labels, uses, T1)

    async def verify(self) -> VerifyView:
        return VerifyView(1204, "d" * 64, "d" * 64, self.problems)

    def metrics(self) -> bytes:
        return b"# HELP coterie_events Events held\n"

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[str | None]]:
        sender, receiver = trio.open_memory_channel[str | None](100)
        self._listeners.add(sender)
        try:
            yield receiver
        finally:
            self._listeners.discard(sender)

    def tell(self, change: str | None) -> None:
        """Makes a change known; called by the test's thread."""

        def send() -> None:
            for listener in self._listeners:
                listener.send_nowait(change)

        self._call(send)

    def put(self, view: RunView) -> None:
        """Changes a run and makes it known."""
        self.held[view.run] = view
        self.tell(view.run)

    @property
    def listeners(self) -> int:
        """How many listen for changes."""
        return len(self._listeners)

    def grow_log(self, name: str, text: bytes, ended: bool = False) -> None:
        """Adds to a log and wakes who follows it."""

        def grow() -> None:
            self.texts[name] = self.texts.get(name, b"") + text
            self.log_ended = ended
            self.log_grows.set()
            self.log_grows = trio.Event()

        self._call(grow)

    def _call(self, change: Callable[[], None]) -> None:
        assert self.token is not None
        self.token.run_sync_soon(change)  # pyright: ignore[reportUnknownMemberType]

    @asynccontextmanager
    async def logs(
        self, prefix: str, job: str, attempt: int | None, offset: int, follow: bool
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        self.run(prefix)
        if job not in self.texts:
            raise NotFound(f"no job {job!r}")
        self.reading_logs += 1
        try:
            yield self._read(job, offset, follow)
        finally:
            self.reading_logs -= 1

    async def _read(self, name: str, offset: int, follow: bool) -> AsyncIterator[bytes]:
        self._fail_now(0)
        while True:
            grows, ended = self.log_grows, self.log_ended
            if text := self.texts[name][offset:]:
                offset += len(text)
                yield text
                self._fail_now(1)
            if not follow or ended:
                return
            await grows.wait()

    def _fail_now(self, chunks_sent: int) -> None:
        if self.logs_fail_after == chunks_sent:
            self.logs_fail_after = None
            raise TryLater("the peer that has the log can't be reached")

    def stop(self) -> None:
        self.stopped += 1


@contextmanager
def served(double: DaemonDouble, directory: Path, source_bytes_max: int = 1 << 20) -> Generator[Path]:
    """The double behind a real control socket, served by a thread of its own; gives the socket's path."""
    path = directory / "control.sock"
    with control_socket(path) as listener:
        ready = threading.Event()
        scopes: list[trio.CancelScope] = []

        async def main() -> None:
            with trio.move_on_after(SERVED_S_MAX) as cancel:
                double.token = trio.lowlevel.current_trio_token()
                scopes.append(cancel)
                ready.set()
                incoming = directory / "incoming"
                await serve(listener, double, incoming_dir=incoming, source_bytes_max=source_bytes_max, version="0.1.0")

        thread = threading.Thread(target=lambda: trio.run(main))  # pyright: ignore[reportUnknownMemberType]
        thread.start()
        assert ready.wait(10)
        try:
            yield path
        finally:
            assert double.token is not None
            double.token.run_sync_soon(scopes[0].cancel)  # pyright: ignore[reportUnknownMemberType]
            thread.join(10)
            assert not thread.is_alive()
