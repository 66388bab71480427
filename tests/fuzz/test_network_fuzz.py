"""Random and half-sound input on every protocol of the adapter. `COTERIE_FUZZ_ROUNDS` makes it longer."""

import os
import random
import struct
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils import encode_varint_prefixed

from contracts.hostile_peer import HostilePeer, hostile_peer
from contracts.libp2p_station import SETTINGS, Libp2pStation, connect, libp2p_station
from coterie.network.fetches import FETCH_PROTOCOL
from coterie.network.frames import FRAMES_PROTOCOL
from coterie.network.framing import FrameReader, StreamBroken, encode_frame
from coterie.network.gossip import topic_of
from coterie.network.muxer import cut
from coterie_protocols.errors import BadMessage

if TYPE_CHECKING:
    from libp2p.abc import INetStream

ROUNDS = int(os.environ.get("COTERIE_FUZZ_ROUNDS", "60"))
PROTOCOLS = (
    "",
    FRAMES_PROTOCOL,
    FETCH_PROTOCOL,
    "/meshsub/1.1.0",
    "/meshsub/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
)
LINES = (b"/multistream/1.0.0\n", b"ls\n", b"na\n", b"/coterie/frames/1\n", b"\xff\xfe\n", b"\n", b"no newline")


class Chunks:
    """A stream that hands out bytes in given pieces, then ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def read(self, n: int | None = None) -> bytes:
        """The next piece."""
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


async def all_frames(pieces: list[bytes], frame_bytes_max: int) -> tuple[list[bytes], type[Exception] | None]:
    """The frames that a reader finds, and how it ended."""
    reader, frames = FrameReader(cast("INetStream", Chunks(pieces)), frame_bytes_max, timeout_s=5.0), list[bytes]()
    try:
        while (frame := await reader.frame()) is not None:
            frames.append(frame)
    except (StreamBroken, BadMessage) as error:
        return frames, type(error)
    return frames, None


@given(frames=st.lists(st.binary(max_size=40)), cuts=st.lists(st.integers(0, 2000)))
def test_frames_survive_any_cutting_of_the_stream(frames: list[bytes], cuts: list[int]) -> None:
    pieces = cut_up(b"".join(map(encode_frame, frames)), cuts)
    assert trio.run(all_frames, pieces, 40) == (frames, None)


@given(frames=st.lists(st.binary(max_size=40), min_size=1), lost=st.integers(1, 43))
def test_a_cut_off_end_is_never_a_frame(frames: list[bytes], lost: int) -> None:
    whole = b"".join(map(encode_frame, frames))
    lost = min(lost, len(frames[-1]) + 3)
    assert trio.run(all_frames, [whole[: len(whole) - lost]], 40) == (frames[:-1], StreamBroken)


@given(data=st.binary(max_size=200))
def test_a_reader_raises_nothing_else(data: bytes) -> None:
    frames, _ = trio.run(all_frames, [data], 64)
    assert all(len(frame) <= 64 for frame in frames)


def some_bytes(rng: random.Random, most: int = 300) -> bytes:
    """Random bytes, or one byte many times."""
    length = rng.choice((0, 1, 2, 4, rng.randrange(most)))
    return rng.randbytes(length) if rng.random() < 0.7 else bytes([rng.randrange(256)]) * length


def some_message(rng: random.Random, authors: list[bytes]) -> bytes:
    """A pubsub message whose every field may be missing, sound or not."""
    rpc = rpc_pb2.RPC()
    for _ in range(rng.randrange(3)):
        publication = rpc.publish.add()
        for name in ("from_id", "seqno", "data", "signature", "key"):
            if rng.random() < 0.7:
                setattr(publication, name, rng.choice((*authors, some_bytes(rng))))
        publication.topicIDs.extend(rng.choices([topic_of(SETTINGS.coterie), "another", ""], k=rng.randrange(3)))
    for _ in range(rng.randrange(3)):
        rpc.subscriptions.add(subscribe=rng.random() < 0.5, topicid=rng.choice([topic_of(SETTINGS.coterie), "x"]))
    if rng.random() < 0.5:
        control: Any = rpc.control
        control.ihave.add(topicID="x", messageIDs=[some_bytes(rng)])
        control.iwant.add(messageIDs=[some_bytes(rng), some_bytes(rng)])
        control.graft.add(topicID=topic_of(SETTINGS.coterie))
        control.prune.add(topicID=topic_of(SETTINGS.coterie), backoff=rng.randrange(2**40))
    if rng.random() < 0.2:
        rpc.senderRecord = some_bytes(rng)
    data = bytearray(rpc.SerializeToString())
    if data and rng.random() < 0.3:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(encode_varint_prefixed(bytes(data)))


def some_input(rng: random.Random, protocol: str, authors: list[bytes]) -> bytes:
    """What is sound at first sight, more often than not."""
    if rng.random() < 0.3:
        return some_bytes(rng)
    if not protocol:
        return b"".join(encode_varint_prefixed(rng.choice((*LINES, some_bytes(rng)))) for _ in range(3))
    if protocol.startswith("/meshsub"):
        return some_message(rng, authors)
    if protocol.startswith("/coterie"):
        return b"".join(encode_frame(some_bytes(rng)) for _ in range(3)) + some_bytes(rng, 8)
    return bytes(encode_varint_prefixed(some_bytes(rng)))


async def some_muxer_frames(rng: random.Random, hostile: HostilePeer, victim: Libp2pStation) -> None:
    """Headers of every type and flag, on a connection of their own."""
    connection = await hostile.dial(victim)
    session: Any = cast(Any, connection.muxed_conn).secured_conn
    with suppress(IOException):
        for _ in range(20):
            length = rng.choice((0, 1, 100, 70_000, 2**32 - 1))
            kind, flags, stream = rng.randrange(5), rng.randrange(16), rng.choice((0, 1, 2, 3, 2**32 - 1))
            header = struct.pack("!BBHII", rng.choice((0, 0, 0, 1)), kind, flags, stream, length)
            await session.write(header + bytes(min(length, 100) if kind == 0 else 0))
    cut(cast(Yamux, connection.muxed_conn))


@pytest.mark.libp2p
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_input_reaches_beyond_its_connection(seed: int) -> None:
    rng = random.Random(seed)
    async with libp2p_station(1) as victim, libp2p_station(2) as friend, hostile_peer(3) as hostile:
        await connect(victim, friend)
        authors = [ID.from_base58(peer).to_bytes() for peer in (victim.peer, friend.peer, hostile.peer)]
        for _ in range(ROUNDS):
            protocol = rng.choice(PROTOCOLS)
            if rng.random() < 0.1:
                await some_muxer_frames(rng, hostile, victim)
            else:
                await hostile.say(victim, protocol, some_input(rng, protocol, authors))
        assert friend.network.post(victim.peer, b"still there?")
        await victim.until(lambda: b"still there?" in victim.frames())
        assert victim.network.post(friend.peer, b"I am")
        await friend.until(lambda: b"I am" in friend.frames())
        assert friend.network.connected() == {victim.peer}
        assert len(friend.stimuli) == 2
        assert len(victim.frames()) > 1, "the input did not even reach the protocols"
