"""Which connections stand, with whom, and the peer's being told of the first and the last of each."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import trio
from libp2p.abc import INotifee
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.stream_muxer.yamux.yamux import Yamux

from coterie.network.counters import Tally
from coterie.network.muxer import cut, heard_at, ping
from coterie.network.settings import NetworkSettings
from coterie.ports import Deliver
from coterie_protocols.identity import PeerId
from coterie_protocols.stimuli import PeerConnected, PeerDisconnected

if TYPE_CHECKING:
    from libp2p.abc import INetConn, INetStream, INetwork

    from coterie.network.addresses import Multiaddr

log = logging.getLogger(__name__)

UNTOLD_MAX: Final = 4
"""Comings and goings of one peer that may wait to be told; one that is faster is refused meanwhile."""


@dataclass(slots=True, eq=False)
class Link:
    """One live connection. Times are of trio's clock."""

    peer: PeerId
    connection: SwarmConn
    since: float
    frames: int = 0
    frame_bytes: int = 0
    faults: int = 0


@dataclass(slots=True, eq=False)
class Contact:
    """A peer from its first connection to its last. A peer that returns is a new contact."""

    peer: PeerId
    outbox: trio.MemorySendChannel[bytes]
    queued: trio.MemoryReceiveChannel[bytes]
    before: "Contact | None"
    links: list[Link] = field(default_factory=list[Link])
    announced: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)
    told: trio.Event = field(default_factory=trio.Event)


class Connections(INotifee):
    """The table of live connections. Each is watched by a task of its own until its end."""

    def __init__(
        self,
        settings: NetworkSettings,
        nursery: trio.Nursery,
        deliver: Deliver,
        is_trusted: Callable[[PeerId], bool],
        tally: Tally,
    ) -> None:
        """`is_trusted` tells members, and peers that we were told to stay connected to, from strangers."""
        self._settings = settings
        self._nursery = nursery
        self._deliver = deliver
        self._is_trusted = is_trusted
        self._tally = tally
        self._contacts: dict[PeerId, Contact] = {}
        self._last: dict[PeerId, Contact] = {}
        self._untold = Counter[PeerId]()
        self._links: dict[SwarmConn, Link] = {}
        self._refused_until: dict[PeerId, float] = {}
        self.on_contact: Callable[[Contact], None] = lambda _: None

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Contact]:
        return iter(list(self._contacts.values()))

    def peers(self) -> frozenset[PeerId]:
        """Who has a live connection to us."""
        return frozenset(self._contacts)

    def contact(self, peer: PeerId) -> Contact | None:
        """The peer, if it is connected."""
        return self._contacts.get(peer)

    def admit(self, connection: SwarmConn) -> Link | None:
        """The link of this connection, made at its first sight; None if it is over or not wanted."""
        if link := self._links.get(connection):
            return link
        peer = PeerId(connection.muxed_conn.peer_id.to_base58())
        if connection.is_closed or self._nursery.cancel_scope.cancel_called:
            return None
        if reason := self._objection(peer):
            self._tally.dropped[reason] += 1
            cut(cast(Yamux, connection.muxed_conn))
            return None
        now = trio.current_time()
        link = self._links[connection] = Link(peer, connection, now)
        self._join_contact(link)
        self._nursery.start_soon(self._watch, link)
        return link

    def cut(self, link: Link) -> None:
        """Ends the connection at once."""
        self._detach(link)
        cut(cast(Yamux, link.connection.muxed_conn))

    def cut_all(self) -> None:
        """Ends every connection at once."""
        for link in list(self._links.values()):
            self.cut(link)

    def drop(self, peer: PeerId) -> None:
        """Ends all connections to `peer` and refuses new ones for `penalty_s`."""
        self._refused_until.pop(peer, None)
        self._refused_until[peer] = trio.current_time() + self._settings.penalty_s
        if len(self._refused_until) > self._settings.penalties_max:
            del self._refused_until[next(iter(self._refused_until))]
        if contact := self._contacts.get(peer):
            for link in list(contact.links):
                self.cut(link)

    def refused_for_s(self, peer: PeerId) -> float:
        """How much longer `peer` is refused; 0 if it is not."""
        left = self._refused_until.get(peer, 0.0) - trio.current_time()
        if left <= 0:
            self._refused_until.pop(peer, None)
        return max(0.0, left)

    def fault(self, link: Link, reason: str) -> None:
        """Counts something that no sound peer does; a connection with too much of it is closed."""
        self._tally.dropped[reason] += 1
        link.faults += 1
        if link.faults > self._settings.faults_max:
            log.info("closing a connection of %s: %s", link.peer, reason)
            self.cut(link)

    def _objection(self, peer: PeerId) -> str:
        if self.refused_for_s(peer):
            return "refused peer"
        if self._untold[peer] >= UNTOLD_MAX and peer not in self._contacts:
            return "restless peer"
        contact = self._contacts.get(peer)
        if contact and len(contact.links) >= self._settings.connections_per_peer_max:
            return "too many connections"
        if not self._is_trusted(peer):
            strangers = sum(not self._is_trusted(link.peer) for link in self._links.values())
            if strangers >= self._settings.strangers_max:
                return "too many strangers"
        return ""

    def _join_contact(self, link: Link) -> None:
        contact = self._contacts.get(link.peer)
        if contact is None:
            outbox, queued = trio.open_memory_channel[bytes](self._settings.frames_queued_max)
            contact = Contact(link.peer, outbox, queued, self._last.get(link.peer))
            self._contacts[link.peer] = self._last[link.peer] = contact
            self._untold[link.peer] += 1
            self._nursery.start_soon(self._tell, contact)
            self.on_contact(contact)
        contact.links.append(link)

    def _detach(self, link: Link) -> None:
        if self._links.pop(link.connection, None) is None:
            return
        contact = self._contacts[link.peer]
        contact.links.remove(link)
        if not contact.links:
            del self._contacts[link.peer]
            contact.outbox.close()
            contact.gone.set()

    async def _tell(self, contact: Contact) -> None:
        """Tells of the coming and the going, after what there was to tell of the peer before."""
        if contact.before:
            await contact.before.told.wait()
            contact.before = None
        if not contact.gone.is_set():
            await self._deliver(PeerConnected(contact.peer))
            contact.announced.set()
            await contact.gone.wait()
            await self._deliver(PeerDisconnected(contact.peer))
        contact.told.set()
        self._untold -= Counter([contact.peer])
        if self._last[contact.peer] is contact:
            del self._last[contact.peer]

    async def _watch(self, link: Link) -> None:
        """Until the connection ends: strangers must not stay, and a silent peer must answer a ping."""
        try:
            while not link.connection.is_closed:
                with trio.move_on_after(self._next_check_s(link)):
                    await link.connection.event_closed.wait()
                    return
                if self._outstayed(link):
                    self._tally.dropped["stranger stayed"] += 1
                    return
                if self._silent_s(link) >= self._settings.watchdog_interval_s and not await self._lives(link):
                    self._tally.dropped["silent peer"] += 1
                    return
        finally:
            self.cut(link)

    def _next_check_s(self, link: Link) -> float:
        wait_s = self._settings.watchdog_interval_s - self._silent_s(link)
        if not self._is_trusted(link.peer):
            wait_s = min(wait_s, link.since + self._settings.stranger_s_max - trio.current_time())
        return max(0.0, wait_s)

    def _silent_s(self, link: Link) -> float:
        return trio.current_time() - heard_at(cast(Yamux, link.connection.muxed_conn))

    def _outstayed(self, link: Link) -> bool:
        age_s = trio.current_time() - link.since
        return age_s >= self._settings.stranger_s_max and not self._is_trusted(link.peer)

    async def _lives(self, link: Link) -> bool:
        """Pings, twice, since a machine that is merely busy may be late; any byte meanwhile is life enough."""
        muxed, patience_s = cast(Yamux, link.connection.muxed_conn), self._settings.patience_s
        return await ping(muxed, patience_s) or await ping(muxed, patience_s)

    async def connected(self, network: "INetwork", conn: "INetConn") -> None:
        """The library tells of a new connection."""
        if isinstance(conn, SwarmConn):
            self.admit(conn)

    async def disconnected(self, network: "INetwork", conn: "INetConn") -> None:
        """Not needed: `_watch` sees the end earlier."""

    async def opened_stream(self, network: "INetwork", stream: "INetStream") -> None:
        """Not needed."""

    async def closed_stream(self, network: "INetwork", stream: "INetStream") -> None:
        """Not needed."""

    async def listen(self, network: "INetwork", multiaddr: "Multiaddr") -> None:
        """Not needed."""

    async def listen_close(self, network: "INetwork", multiaddr: "Multiaddr") -> None:
        """Not needed."""
