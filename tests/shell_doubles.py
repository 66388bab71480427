"""A peer with scripted surroundings: the real core and shell, a network that only records, a runner that obeys."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import cast

import trio
import trio.testing

from coterie.copies import Copies
from coterie.peer import Peer, PeerSettings
from coterie.ports import Blobs, Logs, LogWriter, Unreachable
from coterie_protocols.effects import StartTask
from coterie_protocols.encoding import Cid, cid_of_blob
from coterie_protocols.event import Event
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import (
    Announcement,
    Events,
    Message,
    SyncDone,
    SyncRequest,
    decode_announcement_untrusted,
    decode_frame_untrusted,
)
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import ReplicaSettings
from coterie_protocols.scheduler_settings import SchedulerSettings
from coterie_protocols.stimuli import TaskResult
from protocols.building import Pen, key
from simulation.memory_files import MemoryFiles
from simulation.memory_store import MemoryStore

WALL_MS = 1_795_271_460_000
ABSENT = cid_of_blob(b"\7" * 32)

Answering = Callable[[PeerId, bytes], AbstractAsyncContextManager[AsyncIterator[bytes]]]
Work = Callable[[StartTask, LogWriter, Callable[[str], None]], Awaitable[TaskResult]]


@asynccontextmanager
async def nobody_answers(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
    """What a fetch from a dead peer comes to."""
    raise Unreachable(f"{peer}: not connected")
    yield


class NetworkDouble:
    """Remembers what was sent, and to whom. `answer` is called for fetches."""

    def __init__(self, me: PeerId) -> None:
        self.peer_id = me
        self.reached: set[PeerId] = set()
        self.sent: list[tuple[PeerId | None, Message]] = []
        self.dropped: list[tuple[PeerId, str]] = []
        self.contacts: dict[PeerId, tuple[str, ...]] = {}
        self.answer: Answering = nobody_answers
        self.fetches: list[PeerId] = []
        self.accepts = True
        self.on_sent: Callable[[], None] = lambda: None

    def addresses(self) -> tuple[str, ...]:
        """One address on loopback."""
        return ("/ip4/127.0.0.1/tcp/4001",)

    def connected(self) -> frozenset[PeerId]:
        """Those that the test put into `reached`."""
        return frozenset(self.reached)

    def broadcast(self, data: bytes) -> None:
        """Records an announcement."""
        self._record(None, decode_announcement_untrusted(data))

    def post(self, peer: PeerId, data: bytes) -> bool:
        """Records a frame."""
        self._record(peer, decode_frame_untrusted(data))
        return self.accepts

    async def send(self, peer: PeerId, data: bytes) -> bool:
        """Records a frame."""
        await trio.lowlevel.checkpoint()
        return self.post(peer, data)

    def fetch(self, peer: PeerId, request: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Hands the request to `answer`."""
        self.fetches.append(peer)
        return self.answer(peer, request)

    def remember(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Keeps the addresses."""
        self.contacts[peer] = tuple(addresses)

    def drop(self, peer: PeerId, reason: str) -> None:
        """Records the reason."""
        self.dropped.append((peer, reason))

    def _record(self, peer: PeerId | None, message: Message) -> None:
        self.sent.append((peer, message))
        self.on_sent()

    def announcements(self) -> list[Announcement]:
        """What was broadcast."""
        return [message for peer, message in self.sent if isinstance(message, Announcement) and peer is None]

    def to(self, peer: PeerId) -> list[Message]:
        """What was sent to one peer alone."""
        return [message for other, message in self.sent if other == peer]

    def shown(self) -> set[bytes]:
        """Every event that anybody was shown, as bytes."""
        return {data for _, message in self.sent for data in _events_in(message)}


def _events_in(message: Message) -> tuple[bytes, ...]:
    match message:
        case Events() | Announcement():
            return message.events
        case SyncRequest() | SyncDone():
            return ()


@dataclass(slots=True)
class RunnerDouble:
    """Runs a task by calling `work`; without one, a task waits until the test says how it ends."""

    work: Work | None = None
    started: list[StartTask] = field(default_factory=list[StartTask])
    cancelled: list[str] = field(default_factory=list[str])
    results: dict[str, TaskResult] = field(default_factory=dict[str, TaskResult])
    news: trio.Event = field(default_factory=trio.Event)

    async def run(self, task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        """The port's one call."""
        self.started.append(task)
        self._stir()
        log.line(f"{task.task} begins")
        report("the only step")
        if self.work is not None:
            return await self.work(task, log, report)
        try:
            while task.task not in self.results:
                await self.news.wait()
        except trio.Cancelled:
            self.cancelled.append(task.task)
            raise
        return self.results[task.task]

    def end(self, task: str, result: TaskResult) -> None:
        """Lets a task that waits end, or one that is still to come."""
        self.results[task] = result
        self._stir()

    async def begun(self, count: int) -> None:
        """Returns once so many tasks have begun."""
        while len(self.started) < count:
            await self.news.wait()

    def _stir(self) -> None:
        self.news.set()
        self.news = trio.Event()


class WatchedStore(MemoryStore):
    """A store that counts its commits and can be told what to do before each."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[int] = []
        self.before: Callable[[Sequence[Event]], None] = lambda events: None

    def append(self, events: Sequence[Event]) -> None:
        """Counts, then takes the events."""
        self.before(events)
        super().append(events)
        self.commits.append(len(events))


class Home:
    """One peer (of key `number`) of the coterie that `pen` wrote, with all that surrounds it."""

    def __init__(
        self,
        pen: Pen | None = None,
        number: int = 1,
        *,
        slots: int = 2,
        labels: Sequence[str] = (),
        peer: PeerSettings | None = None,
        scheduler: SchedulerSettings | None = None,
        store: WatchedStore | None = None,
        blobs: Blobs | None = None,
        logs: Logs | None = None,
    ) -> None:
        self.pen = pen or Pen()
        self.key = key(number)
        self.wall_ms = WALL_MS
        self.store = store or WatchedStore()
        self.store.append(self.pen.events)
        self.files = MemoryFiles()
        self.runner = RunnerDouble()
        self.network = NetworkDouble(self.key.peer_id)
        settings = ReplicaSettings("home", scheduler or SchedulerSettings(frozenset(labels), slots))
        self.replica = Replica(self.key, self.pen.coterie, self.store, settings, Random(1))
        self.replica.load(self.store.replay())
        members = self.replica.state
        self.blobs = blobs or self.files
        self.logs = logs or self.files
        self.copies = Copies(self.blobs, self.network, lambda: tuple(members.members))
        self.peer = Peer(
            self.replica, self.store, self.runner, self.blobs, self.logs, lambda: self.wall_ms, peer or PeerSettings()
        )

    @asynccontextmanager
    async def up(self) -> AsyncGenerator[trio.Nursery]:
        """The peer runs while the context stands."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.copies.run)
            nursery.start_soon(self.peer.run, self.network, self.copies)
            await trio.testing.wait_all_tasks_blocked()
            yield nursery
            nursery.cancel_scope.cancel()

    def stored(self) -> list[bytes]:
        """The events that are durable."""
        return list(self.store.replay())

    def blob(self, data: bytes = b"plan") -> Cid:
        """A blob that is here."""
        return self.blobs.put(data)


def one_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error at the bottom of nested groups."""
    (error,) = leaves(group)
    return error


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors at the bottom of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("tuple[BaseException, ...]", error.exceptions):  # pyright: ignore[reportUnknownMemberType]
            yield from leaves(each)
    else:
        yield error
