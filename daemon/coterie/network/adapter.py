"""The port `Network` over py-libp2p: frames, gossip, fetches and staying connected, in one nursery."""

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import trio
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.tools.anyio_service import background_trio_service

from coterie.network.addresses import Multiaddr, expand_wildcards, listenable, parts_of, require_free
from coterie.network.connections import Connections, Contact, Link
from coterie.network.counters import NetworkCounters, Tally
from coterie.network.fetches import FETCH_PROTOCOL, Fetches
from coterie.network.frames import FRAMES_PROTOCOL, Frames
from coterie.network.gossip import Gossip
from coterie.network.hardening import make_host
from coterie.network.keepers import Keepers
from coterie.network.settings import NetworkSettings
from coterie.ports import Deliver, Serve
from coterie_protocols.errors import UserError
from coterie_protocols.identity import PeerId, SigningKey

if TYPE_CHECKING:
    from libp2p.abc import INetStream

log = logging.getLogger(__name__)

IsMember = Callable[[PeerId], bool]


class Libp2pNetwork:
    """What `open_network` yields; see `coterie.ports.Network` for the calls of the port."""

    def __init__(
        self,
        nursery: trio.Nursery,
        key: SigningKey,
        settings: NetworkSettings,
        deliver: Deliver,
        serve: Serve,
        is_member: IsMember,
        rng: random.Random,
    ) -> None:
        self._nursery = nursery
        self._settings = settings
        self._deliver = deliver
        self._is_member = is_member
        self._own = key.peer_id
        self._tally = Tally()
        self._connections = Connections(settings, nursery, deliver, self._is_trusted, self._tally)
        self._host = make_host(key, settings, self._announced, self._fault)
        self._swarm = cast(Swarm, self._host.get_network())
        self._keepers = Keepers(settings, nursery, self._swarm, self._connections, self._own, rng, self._tally)
        self._frames = Frames(settings, self._connections, deliver, self._is_trusted, self._tally)
        self._fetches = Fetches(settings, self._connections, serve, is_member, self._tally)
        self._gossip = Gossip(settings, self._host, is_member, self._tally)
        self._connections.on_contact = self._greet
        self._swarm.register_notifee(self._connections)
        self._host.set_stream_handler(cast(Any, FRAMES_PROTOCOL), self._handed_over(self._read_frames))
        self._host.set_stream_handler(cast(Any, FETCH_PROTOCOL), self._handed_over(self._fetches.answer))

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        return self._own

    def addresses(self) -> tuple[str, ...]:
        """Where others can reach us, with the real ports, wildcards expanded, and without /p2p."""
        suffix = f"/p2p/{self._own}"
        return tuple(str(address).removesuffix(suffix) for address in self._host.get_addrs())

    def ports(self) -> tuple[int, ...]:
        """The TCP ports that were bound, in the order of `listen`: a daemon asks for the same ones when it restarts."""
        return tuple(int(parts_of(str(address))[3]) for address in self._host.get_transport_addrs())

    def connected(self) -> frozenset[PeerId]:
        """The peers with a live connection."""
        return self._connections.peers()

    def broadcast(self, data: bytes) -> None:
        """Publishes by gossip; never waits. Raises ValueError over `gossip_bytes_max`."""
        self._gossip.broadcast(data)

    def post(self, peer: PeerId, data: bytes) -> bool:
        """Queues one frame without waiting; False if it cannot. Raises ValueError over `frame_bytes_max`."""
        return self._frames.post(peer, data)

    async def send(self, peer: PeerId, data: bytes) -> bool:
        """The same, but waits `send_timeout_s` for room in the queue."""
        return await self._frames.send(peer, data)

    def fetch(self, peer: PeerId, request: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The chunks that `peer` answers with. Raises Unreachable, also while iterating."""
        return self._fetches.fetch(peer, request)

    def remember(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Stays connected to `peer` from now on; new addresses replace old. Such a peer is no stranger."""
        self._keepers.remember(peer, addresses)

    def drop(self, peer: PeerId, reason: str) -> None:
        """Closes all connections to `peer` and refuses new ones for `penalty_s`."""
        log.info("dropping %s: %s", peer, reason)
        self._tally.dropped["peer dropped"] += 1
        self._connections.drop(peer)

    def counters(self) -> NetworkCounters:
        """The totals since start."""
        connections = self._connections
        return self._tally.snapshot(len(connections), len(connections.peers()), len(self._keepers))

    @asynccontextmanager
    async def running(self, listen: Sequence[Multiaddr]) -> AsyncGenerator[None]:
        """Listens and serves while the context stands; for `open_network`."""
        pubsub, router = cast(Any, self._gossip.pubsub), cast(Any, self._gossip.router)
        async with self._host.run(listen):
            try:
                self._require_bound(listen)
                async with background_trio_service(pubsub), background_trio_service(router):
                    subscription = await self._gossip.subscribe()
                    self._nursery.start_soon(self._gossip.publish_all)
                    self._nursery.start_soon(self._gossip.receive_all, subscription, self._deliver)
                    yield
                    await self._flush()
            finally:
                await self._close()

    def _require_bound(self, listen: Sequence[Multiaddr]) -> None:
        if len(self._host.get_transport_addrs()) < len(listen):
            raise UserError(f"Cannot listen on all of {', '.join(map(str, listen))}.", "Choose others in `listen`.")

    async def _flush(self) -> None:
        with trio.move_on_after(self._settings.flush_timeout_s):
            await self._gossip.idle.wait()
            await self._frames.idle.wait()

    async def _close(self) -> None:
        """Nobody new, then nobody at all, so that the library has nobody to wait for who may be frozen."""
        self._nursery.cancel_scope.cancel()
        with trio.CancelScope(deadline=trio.current_time() + self._settings.close_timeout_s, shield=True):
            for listener in list(self._swarm.listeners.values()):
                await listener.close()
            self._connections.cut_all()
            await self._host.close()

    def _is_trusted(self, peer: PeerId) -> bool:
        return self._is_member(peer) or peer in self._keepers

    def _announced(self, bound: Sequence[Multiaddr]) -> list[Multiaddr]:
        announce = self._settings.announce
        return [Multiaddr(text) for text in announce] if announce else expand_wildcards(bound)

    def _greet(self, contact: Contact) -> None:
        self._nursery.start_soon(self._frames.write_all, contact)
        self._keepers.nudge(contact.peer)

    async def _read_frames(self, link: Link, stream: "INetStream") -> None:
        if contact := self._connections.contact(link.peer):
            await self._frames.read_all(link, contact, stream)

    def _fault(self, stream: "INetStream", reason: str) -> None:
        """What the guard of inbound streams reports."""
        if link := self._link(stream):
            self._connections.fault(link, reason)

    def _link(self, stream: "INetStream") -> Link | None:
        connection = cast(NetStream, stream).swarm_conn
        return self._connections.admit(connection) if connection else None

    def _handed_over(
        self, handle: "Callable[[Link, INetStream], Awaitable[None]]"
    ) -> "Callable[[INetStream], Awaitable[None]]":
        """`handle` in a task of ours: the library would swallow what our own bugs raise."""

        async def run(link: Link, stream: "INetStream", done: trio.Event) -> None:
            try:
                await handle(link, stream)
            finally:
                done.set()

        async def accept(stream: "INetStream") -> None:
            link, done = self._link(stream), trio.Event()
            if link is None:
                await stream.reset()
                return
            self._nursery.start_soon(run, link, stream, done)
            await done.wait()

        return accept


@asynccontextmanager
async def open_network(
    key: SigningKey,
    settings: NetworkSettings,
    deliver: Deliver,
    serve: Serve,
    is_member: IsMember,
    rng: random.Random | None = None,
) -> AsyncGenerator[Libp2pNetwork]:
    """A running network; leaving sends what is queued and closes all connections within `close_timeout_s`.

    `deliver` and `serve` are called in this network's own tasks: what they raise (save BadMessage) ends it, loudly.
    `rng` gives the jitter of redialling. Raises UserError if an address of the settings is wrong or taken.
    """
    listen = listenable(settings.listen)
    for address in listen:
        require_free(address)
    with _unwrapped():
        async with trio.open_nursery() as outer:
            # Not `outer` itself: cancelling what surrounds the library's contexts makes them lose errors of the body.
            nursery: trio.Nursery = await outer.start(_hold_tasks)
            network = Libp2pNetwork(nursery, key, settings, deliver, serve, is_member, rng or random.Random())
            async with network.running(listen):
                yield network


async def _hold_tasks(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery that is cancelled from outside."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


@contextmanager
def _unwrapped() -> Generator[None]:
    """Raises the one error that went through our nurseries as itself, and several as a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _only(group) from None


def _only(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    within = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return _only(within[0]) if len(within) == 1 else cast(BaseException, error)
