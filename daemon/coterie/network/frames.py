"""Frames between two peers: `/coterie/frames/1`, one long-lived stream in each direction.

Outbound, one writer per peer takes frames from a bounded queue, joins small ones, and opens its stream at the first
frame and anew after a failure. A frame is given to a stream once: what was under way when a stream broke may be lost,
never doubled. Frames keep their order on one stream, and hence between two connected peers that lose no connection.

Inbound, a frame is read when the one before it was delivered, so that a full inbox holds up the sender. What waits
meanwhile is the muxer's window: 256 KiB to 1 MiB a stream, enforced (see `muxer`). A queue of our own behind it would
make that bound larger and nothing better. The sender's muxer gives up after five seconds without any progress; then
it loses the frames under way and begins a new stream.
"""

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from coterie.network.connections import Connections, Contact, Link
from coterie.network.counters import Tally
from coterie.network.framing import FrameReader, StreamBroken, abandon, encode_frame, finish, open_stream, write
from coterie.network.settings import NetworkSettings
from coterie.ports import Deliver
from coterie_protocols.errors import BadMessage
from coterie_protocols.identity import PeerId
from coterie_protocols.stimuli import FrameReceived

if TYPE_CHECKING:
    from collections.abc import Callable

    from libp2p.abc import INetStream
    from libp2p.network.stream.net_stream import NetStream

log = logging.getLogger(__name__)

FRAMES_PROTOCOL: Final = "/coterie/frames/1"
JOINED_BYTES_MAX: Final = 60 * 1024
"""Small frames are written together up to this size: one muxer frame, one Noise record."""


class Frames:
    """Both directions of the protocol."""

    def __init__(
        self,
        settings: NetworkSettings,
        connections: Connections,
        deliver: Deliver,
        is_trusted: "Callable[[PeerId], bool]",
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._deliver = deliver
        self._is_trusted = is_trusted
        self._tally = tally
        self._unwritten = 0
        self.idle = trio.Event()
        self.idle.set()

    def post(self, peer: PeerId, data: bytes) -> bool:
        """Queues one frame; False if the peer is not connected or its queue is full."""
        self._require_size(data)
        contact = self._connections.contact(peer)
        if contact is None:
            return False
        try:
            contact.outbox.send_nowait(data)
        except trio.WouldBlock:
            self._tally.dropped["frame queue full"] += 1
            return False
        self._count_queued(1)
        return True

    async def send(self, peer: PeerId, data: bytes) -> bool:
        """The same, but waits `send_timeout_s` for room in the queue."""
        self._require_size(data)
        contact = self._connections.contact(peer)
        if contact is None:
            await trio.lowlevel.checkpoint()
            return False
        try:
            with trio.fail_after(self._settings.send_timeout_s):
                await contact.outbox.send(data)
        except (trio.TooSlowError, trio.ClosedResourceError, trio.BrokenResourceError):
            self._tally.dropped["frame queue full"] += 1
            return False
        self._count_queued(1)
        return True

    async def write_all(self, contact: Contact) -> None:
        """The writer of one contact, until the contact is gone."""
        stream: INetStream | None = None
        try:
            while not contact.gone.is_set():
                try:
                    first = await contact.queued.receive()
                except trio.EndOfChannel:
                    return
                frames = _with_more(first, contact.queued)
                try:
                    stream = await self._write(contact, stream, frames)
                finally:
                    self._count_queued(-len(frames))
        finally:
            self._count_queued(-contact.queued.statistics().current_buffer_used)
            contact.queued.close()
            await abandon(stream)

    async def _write(self, contact: Contact, stream: "INetStream | None", frames: list[bytes]) -> "INetStream | None":
        """The stream to go on with; None if it broke and the frames are lost."""
        try:
            if stream is None or _ended(stream):
                await abandon(stream)
                stream = await self._open(contact)
            await write(stream, b"".join(map(encode_frame, frames)), self._settings.write_timeout_s)
        except StreamBroken as error:
            log.debug("%d frames to %s are lost: %s", len(frames), contact.peer, error)
            self._tally.dropped["frame not sent"] += len(frames)
            await abandon(stream)
            return None
        self._tally.frames_out += len(frames)
        self._tally.frame_bytes_out += sum(map(len, frames))
        return stream

    async def _open(self, contact: Contact) -> "INetStream":
        """On any live connection, the newest first."""
        for link in reversed(contact.links.copy()):
            try:
                return await open_stream(link.connection, FRAMES_PROTOCOL, self._settings.stream_open_timeout_s)
            except StreamBroken as error:
                log.debug("no stream to %s: %s", contact.peer, error)
        raise StreamBroken("no connection takes a stream")

    async def read_all(self, link: Link, contact: Contact, stream: "INetStream") -> None:
        """The reader of one inbound stream, until it ends."""
        reader = FrameReader(stream, self._settings.frame_bytes_max, self._settings.write_timeout_s)
        try:
            await contact.announced.wait()
            while (data := await reader.frame()) is not None:
                if not self._admissible(link, data):
                    return
                self._tally.frames_in += 1
                self._tally.frame_bytes_in += len(data)
                await self._deliver(FrameReceived(link.peer, data))
            await finish(stream)
        except StreamBroken as error:
            log.debug("frames from %s ended: %s", link.peer, error)
            await abandon(stream)
        except BadMessage as error:
            log.info("closing a connection of %s: %s", link.peer, error)
            self._tally.dropped["frame too long"] += 1
            self._connections.cut(link)

    def _admissible(self, link: Link, data: bytes) -> bool:
        """A stranger may say a few things, such as who invited it; then it must be a member, or go."""
        if self._is_trusted(link.peer):
            return True
        link.frames += 1
        link.frame_bytes += len(data)
        if link.frames <= self._settings.stranger_frames_max and link.frame_bytes <= self._settings.stranger_bytes_max:
            return True
        log.info("closing a connection of %s: too much from a stranger", link.peer)
        self._tally.dropped["too much from a stranger"] += 1
        self._connections.drop(link.peer)
        return False

    def _require_size(self, data: bytes) -> None:
        if len(data) > self._settings.frame_bytes_max:
            raise ValueError(f"a frame of {len(data)} bytes; the limit is {self._settings.frame_bytes_max}")

    def _count_queued(self, change: int) -> None:
        self._unwritten += change
        if self._unwritten:
            if self.idle.is_set():
                self.idle = trio.Event()
        else:
            self.idle.set()


def _ended(stream: "INetStream") -> bool:
    """Has the other side ended it, or the connection under it? Nothing more would arrive, and no error would say so."""
    muxed: Any = cast("NetStream", stream).muxed_stream
    return bool(muxed.closed or muxed.recv_closed)


def _with_more(first: bytes, queued: "trio.MemoryReceiveChannel[bytes]") -> list[bytes]:
    """`first` and the frames that wait behind it, up to one write's worth."""
    frames, size = [first], len(first)
    while size < JOINED_BYTES_MAX:
        try:
            frames.append(queued.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            break
        size += len(frames[-1])
    return frames
