"""A peer that says what it likes, on a real host: for tests of what the adapter bears."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import trio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import Yamux

from contracts.libp2p_station import SETTINGS, Libp2pStation, key_of
from coterie.network.addresses import Multiaddr
from coterie.network.framing import StreamBroken, open_stream
from coterie.network.hardening import make_host
from coterie.network.muxer import cut
from coterie.network.settings import NetworkSettings
from coterie_protocols.identity import PeerId

if TYPE_CHECKING:
    from libp2p.abc import INetStream
    from libp2p.host.basic_host import BasicHost

TIMEOUT_S = 5.0


@dataclass(frozen=True)
class HostilePeer:
    """One end of raw connections to a station."""

    host: "BasicHost"
    swarm: Swarm
    peer: PeerId

    async def dial(self, station: Libp2pStation) -> SwarmConn:
        """A new connection to the station, beside those that stand."""
        address = Multiaddr(station.libp2p.addresses()[0])
        with trio.fail_after(TIMEOUT_S):
            return cast(SwarmConn, await self.swarm.dial_addr(address, ID.from_base58(station.peer)))

    async def say(self, station: Libp2pStation, protocol: str, data: bytes) -> None:
        """Sends bytes on a stream of its own (raw, if `protocol` is empty) and waits for the other side to end it."""
        connections = self.swarm.get_connections(ID.from_base58(station.peer))
        stream: INetStream | None = None
        for connection in connections:
            try:
                stream = await self.open(cast(SwarmConn, connection), protocol)
            except (StreamBroken, MuxedStreamError, trio.TooSlowError):
                cut(cast(Yamux, connection.muxed_conn))
            else:
                break
        await exhaust(stream or await self.open(await self.dial(station), protocol), data)

    async def open(self, connection: SwarmConn, protocol: str) -> "INetStream":
        """A stream with the protocol agreed, or with nothing agreed."""
        if protocol:
            return await open_stream(connection, protocol, TIMEOUT_S)
        with trio.fail_after(TIMEOUT_S):
            return await connection.new_stream()


async def exhaust(stream: "INetStream", data: bytes) -> None:
    """Writes, says that this is all, and reads to the end; whatever the other side does about it is fine."""
    with trio.move_on_after(TIMEOUT_S), suppress(Exception):
        await stream.write(data)
        await cast(NetStream, stream).close_write()
        while await stream.read(65536):
            pass
    with suppress(Exception):
        await stream.reset()


@asynccontextmanager
async def hostile_peer(number: int, settings: NetworkSettings = SETTINGS) -> AsyncGenerator[HostilePeer]:
    """A running hostile peer."""
    host = make_host(key_of(number), settings, list, lambda stream, reason: None)
    async with host.run([]):
        try:
            yield HostilePeer(host, cast(Swarm, host.get_network()), key_of(number).peer_id)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + TIMEOUT_S, shield=True):
                await host.close()
