"""What is repaired in yamux: whole writes, bounded reads, sparing window updates, and a sign of life."""

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.stream_muxer.yamux import yamux

if TYPE_CHECKING:
    from libp2p.stream_muxer.yamux.yamux import Yamux

WINDOW_BYTES_MAX: Final = 1024 * 1024
"""What a sender may have under way on one stream; the library's own limit is 16 MiB."""
UNREAD_BYTES_MAX: Final = WINDOW_BYTES_MAX + 2 * 64 * 1024
CREDIT_PARTS: Final = 4
WRITE_STALL_S: Final = 5.0
"""How long the kernel may refuse to take one muxer frame (64 KiB) before the connection counts as dead."""


def repair_windows() -> None:
    """For all connections: a smaller window, which with `repair` bounds what a peer can make us hold, given sparingly.

    The library answers every read with a window update, a frame and a system call of its own, and its readers of
    lengths read byte by byte: three quarters of all frames of an idle gossip were such updates.
    """
    yamux.MAX_WINDOW_SIZE = WINDOW_BYTES_MAX
    cast(Any, yamux.YamuxStream)._auto_tune_and_send_window_update = _give_credit


async def _give_credit(stream: Any, *, bytes_read: int = 0) -> None:
    """Tells the sender of what was read once it comes to a quarter of the window."""
    async with stream.window_lock:
        stream._pending_recv_release += bytes_read
        credit: int = stream._pending_recv_release
        if credit * CREDIT_PARTS < stream.target_recv_window:
            return
        stream._pending_recv_release = 0
        stream.recv_window += credit
        credit += stream._apply_autotune_epoch(len(stream.conn.stream_buffers.get(stream.stream_id, b"")))
    await stream.send_window_update(credit)


def repair(muxed: "Yamux") -> None:
    """Whole writes, an end to peers that ignore the window, and `heard_at`."""
    _note_reads(muxed)
    cast(Any, muxed)._write_frame = _whole_writes(muxed)
    muxed.stream_buffers = _Buffers(lambda: cut(muxed))


def heard_at(muxed: "Yamux") -> float:
    """When bytes came last, of whatever protocol, by trio's clock."""
    return cast(float, cast(Any, muxed).heard_at)


async def ping(muxed: "Yamux", timeout_s: float) -> bool:
    """Asks for a sign of life: does any byte come within `timeout_s`? Twelve bytes each way, and no new stream."""
    noted = cast(Any, muxed)
    header = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, 0)
    with trio.move_on_after(timeout_s), suppress(IOException):
        heard = noted.heard = trio.Event()
        await noted._write_frame(header)
        noted._ping_sent_time = trio.current_time()  # the library measures the round trip from here
        await heard.wait()
        return True
    return False


def cut(muxed: "Yamux") -> None:
    """Closes the socket at once. The muxer sees its end and takes everything above it down, by itself."""
    session: Any = muxed.secured_conn
    session.conn.read_writer.read_write_closer.stream.stream.socket.close()


def _whole_writes(muxed: "Yamux") -> Callable[[bytes], Any]:
    """A write that cancellation does not interrupt.

    Noise counts records: one that was encrypted but only partly sent makes the other side close the connection,
    so a timeout on one stream would kill all the others.
    """
    lock = muxed._write_lock  # pyright: ignore[reportPrivateUsage]

    async def write_frame(data: bytes) -> None:
        async with lock:
            with trio.CancelScope(deadline=trio.current_time() + WRITE_STALL_S, shield=True) as stall:
                await muxed.secured_conn.write(data)
            if stall.cancelled_caught:
                cut(muxed)
                raise ConnectionClosedError("the peer takes nothing any more")
        await trio.lowlevel.checkpoint()

    return write_frame


def _note_reads(muxed: "Yamux") -> None:
    noted, session = cast(Any, muxed), cast(Any, muxed.secured_conn)
    read = session.read
    noted.heard, noted.heard_at = trio.Event(), trio.current_time()

    async def read_and_note(n: int | None = None) -> bytes:
        data: bytes = await read(n)
        noted.heard_at = trio.current_time()
        noted.heard.set()
        return data

    session.read = read_and_note


class _Buffer(bytearray):
    """What came on one stream and was not read yet."""

    __slots__ = ("overrun",)

    def __init__(self, overrun: Callable[[], None]) -> None:
        super().__init__()
        self.overrun = overrun

    def extend(self, data: Any, /) -> None:
        """Takes the bytes, or ends the connection if the peer sends more than its window."""
        if len(self) + len(data) > UNREAD_BYTES_MAX:
            self.overrun()
        else:
            super().extend(data)


class _Buffers(dict[int, bytearray]):
    """By stream; the library fills it with plain bytearrays."""

    def __init__(self, overrun: Callable[[], None]) -> None:
        super().__init__()
        self._overrun = overrun

    def __setitem__(self, stream: int, buffer: bytearray, /) -> None:
        super().__setitem__(stream, _Buffer(self._overrun))
