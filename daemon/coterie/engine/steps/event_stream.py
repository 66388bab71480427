"""Server-sent events, read as they come. Source: WHATWG HTML, 9.2.6 "Interpreting an event stream"."""

import codecs
import re
from typing import Final

EVENT_CHARS_MAX: Final = 4 * 1024 * 1024

_LINE_END: Final = re.compile("\r\n|\r|\n")


class EventTooLarge(ValueError):
    """One event is larger than EVENT_CHARS_MAX."""


class EventStream:
    """Takes bytes in pieces of any size and gives the data of whole events; names, ids and comments are left out."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending: list[str] = []
        self._pending_size = 0
        self._data: list[str] = []
        self._data_size = 0
        self._begun = False

    def feed(self, piece: bytes) -> list[str]:
        """The data of every event that `piece` completes. Raises EventTooLarge."""
        text = self._decoder.decode(piece)
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        self._keep(text)
        if not _LINE_END.search(text):
            return []
        held = "\r" if text.endswith("\r") else ""  # perhaps half of a line's end
        *lines, last = _LINE_END.split("".join(self._pending).removesuffix(held))
        self._pending, self._pending_size = [], 0
        self._keep(last + held)
        events: list[str] = []
        for line in lines:
            self._line(line, events)
        return events

    def _keep(self, text: str) -> None:
        self._pending.append(text)
        self._pending_size += len(text)
        if self._pending_size + self._data_size > EVENT_CHARS_MAX:
            raise EventTooLarge(f"an event has more than {EVENT_CHARS_MAX} characters")

    def _line(self, line: str, events: list[str]) -> None:
        if not line:
            if self._data:
                events.append("\n".join(self._data))
            self._data, self._data_size = [], 0
            return
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
            self._data_size += len(value)
