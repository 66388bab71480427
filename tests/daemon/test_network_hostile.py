"""What a faulty or hostile peer can do: lose its own connection. The honest peer beside it notices nothing."""

import os
import struct
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import trio
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.yamux import yamux
from libp2p.utils import encode_varint_prefixed

from contracts.hostile_peer import HostilePeer, hostile_peer
from contracts.libp2p_station import SETTINGS, Libp2pStation, connect, libp2p_station
from contracts.network_contract import DEADLINE_S, eventually, fetch_all
from coterie.network.fetches import FETCH_PROTOCOL
from coterie.network.frames import FRAMES_PROTOCOL
from coterie.network.framing import encode_frame
from coterie.network.gossip import topic_of
from coterie.network.muxer import cut
from coterie_protocols.stimuli import GossipReceived, PeerConnected, PeerDisconnected

pytestmark = pytest.mark.libp2p

MESHSUB = "/meshsub/1.1.0"
PROTOCOLS = ("", FRAMES_PROTOCOL, FETCH_PROTOCOL, MESHSUB, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0")


@dataclass(frozen=True)
class Stage:
    """The victim, its friend, and the one who means ill: a member, so that no door is closed to it."""

    victim: Libp2pStation
    friend: Libp2pStation
    hostile: HostilePeer

    async def still_works(self) -> None:
        """The victim and its friend go on as if nothing had happened."""
        mark = os.urandom(8)
        assert self.friend.network.post(self.victim.peer, mark)
        await self.victim.until(lambda: mark in self.victim.frames())
        assert self.victim.network.post(self.friend.peer, mark)
        await self.friend.until(lambda: mark in self.friend.frames())
        self.friend.network.broadcast(mark)
        await self.victim.until(lambda: GossipReceived(self.friend.peer, mark) in self.victim.stimuli)
        assert await fetch_all(self.friend.network, self.victim.peer, mark) == mark
        assert len(self.friend.of(PeerConnected)) == 1


async def echo(request: bytes) -> AsyncGenerator[bytes]:
    """Serves what it was asked."""
    yield request


@pytest.fixture
async def stage() -> AsyncGenerator[Stage]:
    """All three, connected."""
    async with libp2p_station(1) as victim, libp2p_station(2) as friend, hostile_peer(3) as hostile:
        victim.answers = echo
        await connect(victim, friend)
        await hostile.dial(victim)
        await victim.until(lambda: PeerConnected(hostile.peer) in victim.stimuli)
        yield Stage(victim, friend, hostile)


TOPIC = topic_of(SETTINGS.coterie)


def message(author: bytes, data: bytes = b"x", topics: tuple[str, ...] = (TOPIC,), key: bytes = b"") -> rpc_pb2.RPC:
    """A publication with a signature that is none."""
    publication = rpc_pb2.Message(
        from_id=author, seqno=b"12345678", data=data, topicIDs=topics, key=key, signature=b"s" * 64
    )
    return rpc_pb2.RPC(publish=[publication])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_garbage_on_any_protocol(stage: Stage, protocol: str) -> None:
    for garbage in (
        b"",
        b"\x04\xff\xfe\xfd\n",  # a line of the protocol negotiation that is not UTF-8
        b"\xff" * 11,  # a varint without an end
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # a huge length
        bytes(4096),
        bytes(range(256)) * 16,
    ):
        await stage.hostile.say(stage.victim, protocol, garbage)
    await stage.still_works()


async def test_publications_that_the_library_chokes_on(stage: Stage) -> None:
    sound_author = ID.from_base58(stage.hostile.peer).to_bytes()
    for rpc in (
        message(sound_author, key=b"\xff\xff\xff"),
        message(b"\x12\x20" + bytes(32), key=b"\xff\xff\xff"),
        message(b""),
        message(sound_author, topics=()),
        message(sound_author, topics=("another", TOPIC)),
        message(sound_author, data=bytes(100_000)),
        message(ID.from_base58(stage.victim.peer).to_bytes()),
        message(ID.from_base58(stage.friend.peer).to_bytes()),
        rpc_pb2.RPC(senderRecord=b"garbage", subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="x" * 9999)]),
    ):
        await stage.hostile.say(stage.victim, MESHSUB, encode_varint_prefixed(rpc.SerializeToString()))
    await stage.still_works()
    assert stage.victim.of(GossipReceived)[:-1] == []


async def test_a_frame_that_is_too_long_costs_the_connection(stage: Stage) -> None:
    await stage.hostile.say(stage.victim, FRAMES_PROTOCOL, struct.pack(">I", 128 * 1024 + 1) + b"x" * 100)
    await stage.victim.until(lambda: PeerDisconnected(stage.hostile.peer) in stage.victim.stimuli)
    assert stage.victim.libp2p.counters().dropped["frame too long"] == 1
    await stage.still_works()


async def test_the_longest_frame_arrives_and_half_a_frame_does_not(stage: Stage) -> None:
    longest = bytes(128 * 1024)
    await stage.hostile.say(
        stage.victim, FRAMES_PROTOCOL, encode_frame(longest) + encode_frame(b"whole") + b"\0\0\0\5ha"
    )
    await stage.victim.until(lambda: stage.victim.frames() == [longest, b"whole"])
    await stage.still_works()


async def test_a_request_that_is_too_long_is_not_served(stage: Stage) -> None:
    await stage.hostile.say(stage.victim, FETCH_PROTOCOL, encode_frame(bytes(5000)))
    await eventually(lambda: stage.victim.libp2p.counters().dropped.get("broken request") == 1)
    await stage.still_works()


async def test_who_goes_on_breaking_streams_is_cut_off(stage: Stage) -> None:
    for _ in range(SETTINGS.faults_max + 1):
        await stage.hostile.say(stage.victim, "", b"\x04\xff\xfe\xfd\n")
    await stage.victim.until(lambda: PeerDisconnected(stage.hostile.peer) in stage.victim.stimuli)
    await stage.still_works()


async def test_more_streams_than_allowed_are_reset(stage: Stage) -> None:
    connection = await stage.hostile.dial(stage.victim)
    with trio.fail_after(DEADLINE_S):
        for _ in range(SETTINGS.streams_per_peer_max + 4):
            await connection.new_stream()
    await eventually(lambda: stage.victim.libp2p.counters().dropped.get("too many streams", 0) >= 4)
    await stage.still_works()


async def test_who_ignores_the_window_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.victim.open = trio.Event()  # nothing is read any more
    connection = await stage.hostile.dial(stage.victim)
    stream = await stage.hostile.open(connection, FRAMES_PROTOCOL)
    muxed = stream.muxed_conn
    assert isinstance(muxed, yamux.Yamux)
    header = struct.pack("!BBHII", 0, yamux.TYPE_DATA, 0, next(reversed(muxed.streams)), 60_000)
    with trio.fail_after(DEADLINE_S):
        for _ in range(200):
            if muxed.event_shutting_down.is_set():
                break
            with suppress(IOException):
                await muxed.secured_conn.write(header + bytes(60_000))
        await muxed.event_closed.wait()
    stage.victim.open.set()
    await stage.still_works()


async def test_many_connections_one_after_the_other_are_all_accepted() -> None:
    settings = replace(SETTINGS, connections_max=16)
    async with libp2p_station(1, settings) as station, hostile_peer(2) as visitor:
        station.strangers.add(visitor.peer)
        with trio.fail_after(60):
            for _ in range(260):
                connection = await visitor.dial(station)
                cut(cast(yamux.Yamux, connection.muxed_conn))
                await connection.event_closed.wait()
        await eventually(lambda: station.libp2p.counters().connections == 0)
        assert station.libp2p.counters().dropped.get("too many strangers", 0) == 0


async def test_one_peer_has_only_so_many_connections() -> None:
    async with libp2p_station(1, replace(SETTINGS, connections_per_peer_max=2)) as station, hostile_peer(2) as visitor:
        for _ in range(4):
            await visitor.dial(station)
        await eventually(lambda: station.libp2p.counters().dropped.get("too many connections") == 2)
        assert station.libp2p.counters().connections == 2


async def test_strangers_do_not_crowd_out_members() -> None:
    settings = replace(SETTINGS, strangers_max=2)
    async with libp2p_station(1, settings) as station, libp2p_station(2) as friend, hostile_peer(3) as crowd:
        station.strangers.add(crowd.peer)
        for _ in range(5):
            await crowd.dial(station)
        await eventually(lambda: station.libp2p.counters().dropped.get("too many strangers") == 3)
        await connect(station, friend)


async def test_bytes_that_are_no_handshake() -> None:
    async with libp2p_station(1) as victim, libp2p_station(2) as friend:
        victim.answers = echo
        await connect(victim, friend)
        port = victim.libp2p.ports()[0]
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x13/multistream/1.0.0\n\x11/plaintext/2.0.0\n"):
            with trio.fail_after(DEADLINE_S):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(garbage)
                await stream.send_eof()
                async with stream:
                    answer = b""
                    try:
                        async for data in stream:
                            answer += data
                    except trio.BrokenResourceError:
                        pass
                    assert b"/plaintext" not in answer
                    assert b"/secio" not in answer
        assert friend.network.post(victim.peer, b"still there?")
        await victim.until(lambda: victim.frames() == [b"still there?"])


async def test_a_frozen_peer_is_noticed() -> None:
    settings = replace(SETTINGS, watchdog_interval_s=0.3, patience_s=0.2)
    async with libp2p_station(1, settings) as victim, hostile_peer(2) as frozen:
        connection = await frozen.dial(victim)
        await victim.until(lambda: bool(victim.of(PeerConnected)))
        async with cast(Any, connection.muxed_conn)._write_lock:  # no byte leaves it any more
            await victim.until(lambda: bool(victim.of(PeerDisconnected)))
        assert victim.libp2p.counters().dropped["silent peer"] == 1


async def test_an_idle_peer_that_lives_is_kept() -> None:
    settings = replace(SETTINGS, watchdog_interval_s=0.1, patience_s=5.0)
    async with libp2p_station(1, settings) as station, libp2p_station(2) as idle:
        await connect(station, idle)
        await trio.sleep(1.0)
        assert station.of(PeerDisconnected) == []
