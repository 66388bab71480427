"""Length-prefixed frames on a libp2p stream: four bytes, big-endian, then as many bytes.

A reset of the muxer looks like an orderly end to the reader, so an end is orderly only between two frames, and a
protocol that needs to know that all has come says so in a frame.
"""

from typing import TYPE_CHECKING, Final, cast

import trio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from coterie_protocols.errors import BadMessage

if TYPE_CHECKING:
    from libp2p.abc import INetStream
    from libp2p.custom_types import TProtocol

LENGTH_BYTES: Final = 4
READ_BYTES: Final = 64 * 1024
RESET_TIMEOUT_S: Final = 1.0


class StreamBroken(Exception):
    """The stream ended, was reset or stood still too long: nobody's fault that could be named."""


def encode_frame(data: bytes) -> bytes:
    """`data` with its length before it."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class FrameReader:
    """Takes frames out of a stream, holding at most one frame and one read."""

    def __init__(self, stream: "INetStream", frame_bytes_max: int, timeout_s: float) -> None:
        """`timeout_s` bounds the wait for the rest of a frame that has begun, not the wait for the next one."""
        self._stream = stream
        self._frame_bytes_max = frame_bytes_max
        self._timeout_s = timeout_s
        self._buffer = bytearray()

    async def frame(self) -> bytes | None:
        """The next frame; None at an end between two frames. Raises StreamBroken, and BadMessage if it is too long."""
        if not self._buffer and not await self._more():
            return None
        try:
            with trio.fail_after(self._timeout_s):
                length = int.from_bytes(await self._take(LENGTH_BYTES), "big")
                if length > self._frame_bytes_max:
                    raise BadMessage(f"a frame of {length} bytes")
                return await self._take(length)
        except trio.TooSlowError:
            raise StreamBroken("half a frame, then nothing") from None

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise StreamBroken("the stream ended inside a frame")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _more(self) -> bool:
        try:
            data = await self._stream.read(READ_BYTES)
        except StreamEOF:
            return False
        except Exception as error:  # the library raises a dozen unrelated types
            raise StreamBroken(str(error)) from error
        self._buffer += data
        return bool(data)


async def write(stream: "INetStream", data: bytes, timeout_s: float) -> None:
    """Writes all of `data`, or raises StreamBroken."""
    try:
        with trio.fail_after(timeout_s):
            await stream.write(data)
    except trio.TooSlowError:
        raise StreamBroken("the other side does not read") from None
    except Exception as error:  # as above
        raise StreamBroken(str(error)) from error


async def open_stream(connection: SwarmConn, protocol: str, timeout_s: float) -> "INetStream":
    """A new stream on this very connection, with the protocol agreed. Raises StreamBroken.

    The host's own `new_stream` dials when no connection stands, with all the faults of its dialling.
    """
    stream: INetStream | None = None
    try:
        with trio.fail_after(timeout_s):
            stream = await connection.new_stream()
            name = cast("TProtocol", protocol)
            await MultiselectClient().select_one_of([name], MultiselectCommunicator(stream))
            stream.set_protocol(name)
    except trio.TooSlowError:
        await abandon(stream)
        raise StreamBroken(f"no answer about {protocol}") from None
    except BaseException as error:
        await abandon(stream)
        if isinstance(error, Exception):
            raise StreamBroken(str(error)) from error
        raise
    return stream


async def abandon(stream: "INetStream | None") -> None:
    """Resets the stream, also while cancelled; returns within `RESET_TIMEOUT_S`."""
    if stream is not None:
        with trio.CancelScope(deadline=trio.current_time() + RESET_TIMEOUT_S, shield=True):
            await stream.reset()


async def finish(stream: "INetStream") -> None:
    """Closes our side of the stream in order; a stream that is broken already is reset."""
    try:
        with trio.fail_after(RESET_TIMEOUT_S):
            await stream.close()
    except Exception:  # noqa: BLE001 - as above; what mattered was acknowledged before
        await abandon(stream)
