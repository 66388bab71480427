"""Streams of bytes on request: `/coterie/fetch/1`.

The client sends one frame, the request. The server answers with frames, whose first byte is their kind:

    0  chunk       the rest is a part of the answer; an empty one says "I am here, and there is nothing new"
    1  end         the whole answer was sent; the rest is its length in bytes, as 8 bytes, big-endian
    2  error       there is no more; the rest is UTF-8 text that says why

A stream that ends without one of the last two was broken off, and what came is not the answer. A client that reads
nothing for five seconds, with the window full, is broken off too: that is the muxer's rule.
"""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from coterie.network.connections import Connections, Link
from coterie.network.counters import Tally
from coterie.network.framing import FrameReader, StreamBroken, abandon, encode_frame, finish, open_stream, write
from coterie.network.settings import NetworkSettings
from coterie.ports import Serve, Unreachable
from coterie_protocols.errors import BadMessage
from coterie_protocols.identity import PeerId

if TYPE_CHECKING:
    from libp2p.abc import INetStream

log = logging.getLogger(__name__)

FETCH_PROTOCOL: Final = "/coterie/fetch/1"
CHUNK, END, ERROR = b"\0", b"\1", b"\2"
ERROR_BYTES_MAX: Final = 1024
RECORDS_QUEUED_MAX: Final = 2
LINGER_S: Final = 60.0
"""How long a client may take to read the last of an answer; a reset sooner would throw away what it has not read."""


def encode_record(kind: bytes, data: bytes = b"") -> bytes:
    """One frame of an answer."""
    return encode_frame(kind + data)


def encode_length(length: int) -> bytes:
    """The length of an answer, as its end says it."""
    return length.to_bytes(8, "big")


class Fetches:
    """Both sides of the protocol."""

    def __init__(
        self,
        settings: NetworkSettings,
        connections: Connections,
        serve: Serve,
        is_member: Callable[[PeerId], bool],
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._serve = serve
        self._is_member = is_member
        self._tally = tally
        self._serving = Counter[PeerId]()

    @asynccontextmanager
    async def fetch(self, peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The chunks with which `peer` answers. Raises Unreachable, also while iterating."""
        if len(request) > self._settings.request_bytes_max:
            raise ValueError(f"a request of {len(request)} bytes; the limit is {self._settings.request_bytes_max}")
        link, stream = await self._open(peer)
        answer = _Answer(self._settings, self._tally, link, stream)
        try:
            try:
                await write(stream, encode_frame(request), self._settings.write_timeout_s)
            except StreamBroken as error:
                raise Unreachable(str(error)) from error
            self._tally.fetches_made += 1
            yield answer
        finally:
            await (finish(stream) if answer.complete else abandon(stream))

    async def _open(self, peer: PeerId) -> "tuple[Link, INetStream]":
        contact = self._connections.contact(peer)
        reason = "not connected"
        for link in reversed(contact.links.copy() if contact else []):
            try:
                return link, await open_stream(link.connection, FETCH_PROTOCOL, self._settings.stream_open_timeout_s)
            except StreamBroken as error:
                reason = str(error)
        raise Unreachable(f"{peer}: {reason}")

    async def answer(self, link: Link, stream: "INetStream") -> None:
        """Serves one inbound stream to its end."""
        reader = FrameReader(stream, self._settings.request_bytes_max, self._settings.write_timeout_s)
        try:
            with trio.fail_after(self._settings.write_timeout_s):
                request = await reader.frame()
            if request is None:
                raise StreamBroken("no request")
            await self._answer(link.peer, stream, request)
            await finish(stream)
            with trio.move_on_after(LINGER_S):
                await reader.frame()
        except (StreamBroken, trio.TooSlowError) as error:
            log.debug("a fetch by %s broke off: %r", link.peer, error)
        except BadMessage as error:
            self._connections.fault(link, "broken request")
            log.debug("a fetch by %s: %s", link.peer, error)
        finally:
            await abandon(stream)

    async def _answer(self, peer: PeerId, stream: "INetStream", request: bytes) -> None:
        if objection := self._objection(peer):
            self._tally.dropped[f"fetch: {objection}"] += 1
            await write(stream, _refusal(objection), self._settings.write_timeout_s)
            return
        self._serving[peer] += 1
        try:
            await self._serve_request(peer, stream, request)
        finally:
            self._serving -= Counter([peer])

    def _objection(self, peer: PeerId) -> str:
        if not self._is_member(peer):
            return "not a member"
        if self._serving[peer] >= self._settings.fetches_per_peer_max:
            return "too many fetches at once"
        return ""

    async def _serve_request(self, peer: PeerId, stream: "INetStream", request: bytes) -> None:
        """One task reads the answer, which may be long in coming, and another writes it, and signs of life."""
        send, receive = trio.open_memory_channel[bytes](RECORDS_QUEUED_MAX)
        broken: StreamBroken | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_answer, peer, request, send)
            try:
                await self._write_answer(stream, receive)
            except StreamBroken as error:
                broken = error
                nursery.cancel_scope.cancel()
        if broken:
            raise broken
        self._tally.fetches_served += 1

    async def _read_answer(self, peer: PeerId, request: bytes, send: "trio.MemorySendChannel[bytes]") -> None:
        sent_bytes, size = 0, self._settings.chunk_bytes_max
        async with send:
            try:
                async with self._serve(peer, request) as chunks:
                    async for chunk in chunks:
                        for start in range(0, len(chunk), size):
                            await send.send(encode_record(CHUNK, chunk[start : start + size]))
                        sent_bytes += len(chunk)
            except BadMessage as error:
                await send.send(_refusal(str(error)))
            else:
                await send.send(encode_record(END, encode_length(sent_bytes)))

    async def _write_answer(self, stream: "INetStream", receive: "trio.MemoryReceiveChannel[bytes]") -> None:
        async with receive:
            while True:
                record = encode_record(CHUNK)
                with trio.move_on_after(self._settings.keepalive_s):
                    try:
                        record = await receive.receive()
                    except trio.EndOfChannel:
                        return
                await write(stream, record, self._settings.write_timeout_s)
                self._tally.fetch_bytes_out += len(record)


def _refusal(reason: str) -> bytes:
    return encode_record(ERROR, reason.encode()[:ERROR_BYTES_MAX])


class _Answer(AsyncIterator[bytes]):
    """The client's end of a stream of chunks."""

    def __init__(self, settings: NetworkSettings, tally: Tally, link: Link, stream: "INetStream") -> None:
        self._idle_timeout_s = settings.fetch_idle_timeout_s
        self._reader = FrameReader(stream, settings.chunk_bytes_max + 1, settings.write_timeout_s)
        self._tally = tally
        self._link = link
        self._received_bytes = 0
        self.complete = False

    def __aiter__(self) -> "_Answer":
        return self

    async def __anext__(self) -> bytes:
        if self.complete:
            raise StopAsyncIteration
        while True:
            record = await self._record()
            kind, data = record[:1], record[1:]
            if kind == CHUNK:
                self._received_bytes += len(data)
                if data:
                    return data
            elif kind == END and data == encode_length(self._received_bytes):
                self.complete = True
                raise StopAsyncIteration
            elif kind == ERROR:
                self.complete = True
                raise Unreachable(f"{self._link.peer} refused: {data.decode(errors='replace')}")
            else:
                raise Unreachable(f"{self._link.peer} answered with what is no answer")

    async def _record(self) -> bytes:
        try:
            with trio.fail_after(self._idle_timeout_s):
                record = await self._reader.frame()
        except trio.TooSlowError:
            raise Unreachable(f"{self._link.peer} fell silent") from None
        except (StreamBroken, BadMessage) as error:
            raise Unreachable(f"{self._link.peer} broke off: {error}") from error
        if record is None:
            raise Unreachable(f"{self._link.peer} broke off")
        self._tally.fetch_bytes_in += len(record)
        return record
