"""What the engine and a worker say to each other: JSON behind its length, on a stream socket.

To the worker: one call at a time, and answers to what it asks. From the worker: "ready" once, then for each call any
number of questions about the execution and of signs of life, and at last a result or a failure.
"""

import json
from typing import Any, Final

HEADER_BYTES: Final = 8
READ_BYTES: Final = 256 * 1024
SLACK_BYTES: Final = 1024 * 1024
"""What a message may hold beside a result: an error's texts, names."""


def body_of(message: dict[str, Any]) -> bytes:
    """A message as JSON. Raises TypeError or ValueError for what is none."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def header_of(body: bytes) -> bytes:
    """What goes before it."""
    return len(body).to_bytes(HEADER_BYTES, "big")


class Reader:
    """Puts messages together from the pieces in which they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        self._buffer += data

    def next(self, bytes_max: int) -> dict[str, Any] | None:
        """The next whole message; None while there is none. Raises ValueError for one that is too large."""
        if len(self._buffer) < HEADER_BYTES:
            return None
        size = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        if size > bytes_max:
            raise ValueError(f"a message of {size} bytes; the limit is {bytes_max}")
        if len(self._buffer) < HEADER_BYTES + size:
            return None
        message: dict[str, Any] = json.loads(self._buffer[HEADER_BYTES : HEADER_BYTES + size])
        del self._buffer[: HEADER_BYTES + size]
        return message
