"""What every `coterie.ports.Network` does, whatever carries it. A test module supplies the fixture `pair`.

Two stations, members of one coterie, each told of the other's addresses, connected when a test begins.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import pytest
import trio

from coterie.ports import Network, Unreachable
from coterie_protocols.errors import BadMessage
from coterie_protocols.identity import PeerId
from coterie_protocols.stimuli import FrameReceived, GossipReceived, PeerConnected, PeerDisconnected, Stimulus

DEADLINE_S: Final = 20.0
S = TypeVar("S", bound=Stimulus)


class Station:
    """One peer's side: what was delivered, what it serves, whom it takes for a member."""

    def __init__(self) -> None:
        self.network: Network
        self.stimuli: list[Stimulus] = []
        self.requests: list[tuple[PeerId, bytes]] = []
        self.answers: Callable[[bytes], AsyncGenerator[bytes]] = refuse
        self.open = trio.Event()
        self.open.set()
        self.strangers: set[PeerId] = set()
        self._arrived = trio.Event()

    @property
    def peer(self) -> PeerId:
        """Who this is."""
        return self.network.peer_id

    def is_member(self, peer: PeerId) -> bool:
        """Everybody is, but those set aside as strangers."""
        return peer not in self.strangers

    async def deliver(self, stimulus: Stimulus) -> None:
        """Records it, once `open` is set."""
        await self.open.wait()
        self.stimuli.append(stimulus)
        self._arrived.set()
        self._arrived = trio.Event()

    @asynccontextmanager
    async def serve(self, peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Answers with what `answers` makes of the request."""
        self.requests.append((peer, request))
        async with aclosing(self.answers(request)) as chunks:
            yield chunks

    def of(self, kind: type[S]) -> list[S]:
        """The stimuli of one kind, in the order of their coming."""
        return [stimulus for stimulus in self.stimuli if isinstance(stimulus, kind)]

    def frames(self) -> list[bytes]:
        """The frames that came."""
        return [stimulus.data for stimulus in self.of(FrameReceived)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what was delivered makes `condition` true."""
        with trio.fail_after(DEADLINE_S):
            while not condition():
                await self._arrived.wait()


@dataclass(frozen=True)
class Pair:
    """Two connected stations."""

    left: Station
    right: Station


async def refuse(request: bytes) -> AsyncGenerator[bytes]:
    """The answer to a request that nobody expected."""
    raise BadMessage(f"no such thing as {request!r}")
    yield b""


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until `condition` is true, for what tells nobody that it changed."""
    with trio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def fetch_all(network: Network, peer: PeerId, request: bytes) -> bytes:
    """A whole answer."""
    with trio.fail_after(DEADLINE_S):
        async with network.fetch(peer, request) as chunks:
            return b"".join([chunk async for chunk in chunks])


class NetworkContract:
    """The tests; subclass it beside a `pair`."""

    async def test_both_learn_of_the_connection_once(self, pair: Pair) -> None:
        for here, there in ((pair.left, pair.right), (pair.right, pair.left)):
            assert here.stimuli == [PeerConnected(there.peer)]
            assert here.network.connected() == {there.peer}

    async def test_frames_go_both_ways(self, pair: Pair) -> None:
        assert pair.left.network.post(pair.right.peer, b"to the right")
        assert await pair.right.network.send(pair.left.peer, b"to the left")
        await pair.right.until(lambda: pair.right.frames() == [b"to the right"])
        await pair.left.until(lambda: pair.left.frames() == [b"to the left"])
        assert pair.right.of(FrameReceived)[0].peer == pair.left.peer

    async def test_a_burst_keeps_its_order_and_its_bytes(self, pair: Pair) -> None:
        sent = [bytes([n % 256]) * (n * 37 % 70_000) for n in range(400)]
        for frame in sent:
            assert await pair.left.network.send(pair.right.peer, frame)
        await pair.right.until(lambda: len(pair.right.frames()) == len(sent))
        assert pair.right.frames() == sent

    async def test_an_empty_frame_is_a_frame(self, pair: Pair) -> None:
        assert pair.left.network.post(pair.right.peer, b"")
        await pair.right.until(lambda: pair.right.frames() == [b""])

    async def test_a_full_queue_says_so_and_what_was_taken_arrives(self, pair: Pair) -> None:
        pair.right.open = trio.Event()
        frame = bytes(64 * 1024)
        taken = 0
        while pair.left.network.post(pair.right.peer, frame):
            taken += 1
        pair.right.open.set()
        await pair.right.until(lambda: len(pair.right.frames()) == taken)

    async def test_nothing_goes_to_a_peer_that_is_not_connected(self, pair: Pair) -> None:
        nobody = PeerId("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")
        assert not pair.left.network.post(nobody, b"hello?")
        assert not await pair.left.network.send(nobody, b"hello?")
        with pytest.raises(Unreachable):
            await fetch_all(pair.left.network, nobody, b"hello?")

    async def test_an_announcement_reaches_others_and_not_its_author(self, pair: Pair) -> None:
        pair.left.network.broadcast(b"news")
        await pair.right.until(lambda: bool(pair.right.of(GossipReceived)))
        pair.right.network.broadcast(b"more news")
        await pair.left.until(lambda: bool(pair.left.of(GossipReceived)))
        assert pair.right.of(GossipReceived) == [GossipReceived(pair.left.peer, b"news")]
        assert pair.left.of(GossipReceived) == [GossipReceived(pair.right.peer, b"more news")]

    async def test_a_fetch_yields_all_chunks(self, pair: Pair) -> None:
        async def twenty_megabytes(_: bytes) -> AsyncGenerator[bytes]:
            for n in range(20):
                yield bytes([n]) * 1024 * 1024

        pair.right.answers = twenty_megabytes
        got = await fetch_all(pair.left.network, pair.right.peer, b"everything")
        assert got == b"".join(bytes([n]) * 1024 * 1024 for n in range(20))
        assert pair.right.requests == [(pair.left.peer, b"everything")]

    async def test_an_empty_answer_is_an_answer(self, pair: Pair) -> None:
        async def nothing(_: bytes) -> AsyncGenerator[bytes]:
            return
            yield b""

        pair.right.answers = nothing
        assert await fetch_all(pair.left.network, pair.right.peer, b"nothing") == b""

    async def test_a_refusal_is_told(self, pair: Pair) -> None:
        with pytest.raises(Unreachable, match="no such thing"):
            await fetch_all(pair.left.network, pair.right.peer, b"secrets")

    async def test_a_refusal_in_the_middle_is_no_complete_answer(self, pair: Pair) -> None:
        async def half(_: bytes) -> AsyncGenerator[bytes]:
            yield b"half of it"
            raise BadMessage("lost the rest")

        pair.right.answers = half
        with trio.fail_after(DEADLINE_S):
            async with pair.left.network.fetch(pair.right.peer, b"all") as chunks:
                assert await anext(chunks) == b"half of it"
                with pytest.raises(Unreachable, match="lost the rest"):
                    await anext(chunks)

    async def test_a_stranger_is_served_nothing(self, pair: Pair) -> None:
        pair.right.strangers.add(pair.left.peer)
        with pytest.raises(Unreachable, match="not a member"):
            await fetch_all(pair.left.network, pair.right.peer, b"secrets")
        assert pair.right.requests == []

    async def test_a_client_that_leaves_ends_the_serving(self, pair: Pair) -> None:
        ended = trio.Event()

        async def endless(_: bytes) -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield bytes(64 * 1024)
            finally:
                ended.set()

        pair.right.answers = endless
        with trio.fail_after(DEADLINE_S):
            async with pair.left.network.fetch(pair.right.peer, b"log") as chunks:
                async for _ in chunks:
                    break
            await ended.wait()

    async def test_a_dropped_peer_is_gone_for_both(self, pair: Pair) -> None:
        pair.left.network.drop(pair.right.peer, "a test")
        assert not pair.left.network.post(pair.right.peer, b"too late")
        assert pair.left.network.connected() == frozenset()
        await pair.left.until(lambda: pair.left.of(PeerDisconnected) == [PeerDisconnected(pair.right.peer)])
        await pair.right.until(lambda: PeerDisconnected(pair.left.peer) in pair.right.stimuli)
