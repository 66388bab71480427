"""Cuts a stream of bytes into lines of text."""

import codecs
import io
from collections.abc import Iterator

LINE_CHARS_MAX = 64 * 1024


class LineSplitter:
    """Lines end with LF, CRLF or CR, as GitHub's runner reads them; invalid UTF-8 becomes U+FFFD.

    A line longer than `chars_max` is told in pieces, so that memory stays bounded.
    """

    def __init__(self, chars_max: int = LINE_CHARS_MAX) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._chars_max = chars_max
        self._rest = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes."""
        lines = (self._rest + self._decoder.decode(data)).split("\n")
        self._rest = lines.pop()
        for line in lines:
            yield from self._pieces(line)
        while len(self._rest) >= self._chars_max:
            piece, self._rest = self._rest[: self._chars_max], self._rest[self._chars_max :]
            yield piece

    def end(self) -> Iterator[str]:
        """The last line, if it did not end."""
        last = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if last:
            yield from self._pieces(last.removesuffix("\n"))

    def _pieces(self, line: str) -> Iterator[str]:
        if len(line) <= self._chars_max:
            yield line
            return
        for start in range(0, len(line), self._chars_max):
            yield line[start : start + self._chars_max]
