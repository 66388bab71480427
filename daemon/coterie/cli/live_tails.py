"""The last line of each running job's or step's log, for live pictures."""

import threading
from collections.abc import Callable, Iterable, Iterator

from coterie.cli.follow import without_time
from coterie.cli.log_text import END_GROUP, GROUP
from coterie_protocols.errors import UserError

TAILS_MAX = 16


class Tails:
    """Each log is read by a thread of its own; `last` maps names to lines. `lines` follows a log to its end."""

    def __init__(self, lines: Callable[[str], Iterator[str]], touch: Callable[[], None]) -> None:
        self._lines = lines
        self._touch = touch
        self._reading: set[str] = set()
        self.last: dict[str, str] = {}

    def follow(self, running: Iterable[str]) -> None:
        """Starts to read the logs of what runs now."""
        for name in running:
            if name not in self._reading and len(self._reading) < TAILS_MAX:
                self._reading.add(name)
                threading.Thread(target=self._read, args=(name,), daemon=True).start()

    def _read(self, name: str) -> None:
        try:
            for line in self._lines(name):
                text = without_time(line).strip()
                if text and not text.startswith(END_GROUP):
                    self.last[name] = text.removeprefix(GROUP)
                    self._touch()
        except UserError:
            self.last.pop(name, None)  # the picture does without; the stream of events tells why if it matters
        self._reading.discard(name)
