"""What the shell needs from the world, as typing.Protocol. Real and in-memory adapters pass the same tests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from coterie_protocols.effects import StartTask
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Frontier, Header
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import RunId
from coterie_protocols.stimuli import Stimulus, TaskResult


class Store(Protocol):
    """Events as exact bytes, in an order in which parents come first. All calls are synchronous.

    Any method may raise `StoreFailed` (a UserError: disk full, read-only, corrupt); nothing is half done then.
    """

    def append(self, events: Sequence[Event]) -> None:
        """Makes the events durable (fsynced) in one transaction; an event already held is passed over."""
        ...

    def header(self, cid: Cid) -> Header | None:
        """The header of a stored event."""
        ...

    def replay(self) -> Iterator[bytes]:
        """All events, in the order of insertion."""
        ...

    def missing(self, have: Frontier, after: int, bytes_max: int) -> tuple[int, list[bytes]]:
        """The next events not covered by `have`, in the order of insertion, about `bytes_max` bytes of them.

        Returns (position to go on from, events); an empty list means the end. What a tip in `have` covers is the
        chain of `prev` that ends in it. A tip that is not stored covers all of its author's events if it lies beyond
        them (the asker is ahead), and none of them if it does not (there is a fork, or a tail was lost).
        """
        ...

    def count(self) -> int:
        """How many events are stored."""
        ...

    def quick_check(self) -> tuple[str, ...]:
        """What is wrong with the file itself; empty when all is well."""
        ...

    def remember(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Keeps a member's addresses over restarts."""
        ...

    def contacts(self) -> Mapping[PeerId, tuple[str, ...]]:
        """The remembered addresses."""
        ...

    def note(self, key: str, value: str) -> None:
        """Keeps a small fact over restarts."""
        ...

    def noted(self, key: str) -> str | None:
        """The fact that was kept."""
        ...

    def close(self) -> None:
        """Ends the use of the file."""
        ...


Deliver = Callable[[Stimulus], Awaitable[None]]
"""Hands a stimulus to the peer; waits while its inbox is full, which is the back-pressure."""

Serve = Callable[[PeerId, bytes], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Answers a member's request with a stream of chunks. Raises BadMessage to refuse."""


class Network(Protocol):
    """Authenticated frames, gossip and fetches between peers."""

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """The multiaddrs (without /p2p) under which others can reach us."""
        ...

    def connected(self) -> frozenset[PeerId]:
        """The peers with a live connection."""
        ...

    def broadcast(self, data: bytes) -> None:
        """Publishes by gossip; never waits. When too much is queued, the oldest is dropped and counted."""
        ...

    def post(self, peer: PeerId, data: bytes) -> bool:
        """Queues one frame without waiting; False if the peer is not connected or its queue is full."""
        ...

    async def send(self, peer: PeerId, data: bytes) -> bool:
        """The same, but waits for room in the queue, `send_timeout_s` at most."""
        ...

    def fetch(self, peer: PeerId, request: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Opens a stream of chunks that `peer`'s `Serve` answers. Raises `Unreachable` (also while iterating)."""
        ...

    def remember(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """From now on stay connected to `peer`, redialling with backoff and jitter; new addresses replace old."""
        ...

    def drop(self, peer: PeerId, reason: str) -> None:
        """Closes all connections to `peer` and refuses new ones for `penalty_s`."""
        ...


class Unreachable(Exception):
    """The other peer can't be reached, or broke off in the middle."""


class Blobs(Protocol):
    """Content-addressed files outside the clock. A blob that is present is whole and has its hash."""

    def has(self, cid: Cid) -> bool:
        """Is the whole blob here?"""
        ...

    def path(self, cid: Cid) -> Path:
        """Where the blob's bytes are. Raises KeyError if it is not here."""
        ...

    def put(self, data: bytes) -> Cid:
        """Stores bytes durably and names them."""
        ...

    def put_file(self, path: Path) -> Cid:
        """Stores a file's bytes durably, in constant memory."""
        ...

    async def receive(self, cid: Cid, chunks: AsyncIterator[bytes]) -> None:
        """Stores what arrives if it hashes to `cid`. Raises BadMessage if it does not or is too large."""
        ...


class LogWriter(Protocol):
    """Where an attempt's output goes, line by line."""

    def line(self, text: str) -> None:
        """Adds a line with the present time. Secrets are masked before."""
        ...


class Runner(Protocol):
    """Runs one task on this machine."""

    async def run(self, task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        """Runs all steps and returns the result; on cancellation kills the whole process tree before it ends.

        Every blob that the task names is present. `report` is told the name of each step (or job) as it starts.
        """
        ...


class Logs(Protocol):
    """The output of attempts on this machine, while they run and after."""

    def open(self, run: RunId, task: str, attempt: int) -> AbstractAsyncContextManager[LogWriter]:
        """A new log; leaving the context closes it, and it can no longer grow."""
        ...

    def finished(self, run: RunId, task: str, attempt: int) -> Path | None:
        """The file of a closed log."""
        ...

    def read(self, run: RunId, task: str, attempt: int, offset: int, follow: bool) -> AsyncIterator[bytes]:
        """The bytes from `offset` on; with `follow`, until the log is closed. Raises NotFound."""
        ...
