"""Keeps output within bounds: its beginning and its end."""

from collections import deque


class HeadAndTail:
    """The first half of `bytes_max` and the last half; what lies between is left out, and said."""

    def __init__(self, bytes_max: int) -> None:
        self._head_max = bytes_max // 2
        self._tail_max = bytes_max - self._head_max
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.left_out = 0

    def add(self, data: bytes) -> None:
        """One more piece of output."""
        room = self._head_max - self._head_bytes
        if room > 0:
            self._head.append(data[:room])
            self._head_bytes += min(room, len(data))
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
            self._shorten()

    def _shorten(self) -> None:
        surplus = self._tail_bytes - self._tail_max
        while surplus > 0:
            piece = self._tail.popleft()
            gone = min(surplus, len(piece))
            if gone < len(piece):
                self._tail.appendleft(piece[gone:])
            self._tail_bytes -= gone
            self.left_out += gone
            surplus -= gone

    @property
    def value(self) -> bytes:
        """What is kept, with a line in the place of what is left out."""
        gap = f"\n[... {self.left_out} bytes left out ...]\n".encode() if self.left_out else b""
        return b"".join([*self._head, gap, *self._tail])
