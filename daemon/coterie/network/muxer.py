"""Three repairs of one yamux connection, made before its first frame."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.yamux import yamux

if TYPE_CHECKING:
    from libp2p.stream_muxer.yamux.yamux import Yamux

WINDOW_BYTES_MAX: Final = 1024 * 1024
"""What a sender may have under way on one stream; the library's own limit is 16 MiB."""
UNREAD_BYTES_MAX: Final = WINDOW_BYTES_MAX + 2 * 64 * 1024
WRITE_STALL_S: Final = 5.0
"""How long the kernel may refuse to take one muxer frame (64 KiB) before the connection counts as dead."""


def limit_windows() -> None:
    """Lowers the library's window and frame limit: together with `repair` it bounds what a peer can make us hold."""
    yamux.MAX_WINDOW_SIZE = WINDOW_BYTES_MAX


def repair(muxed: "Yamux") -> None:
    """Whole writes, and an end to peers that ignore the window."""
    cast(Any, muxed)._write_frame = _whole_writes(muxed)
    muxed.stream_buffers = _Buffers(lambda: cut(muxed))


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
