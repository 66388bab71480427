"""Derived state made again from the bytes of events alone, every signature checked."""

from typing import Final

from coterie_protocols.clock import Clock, NoHeaders
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import decode_event_untrusted
from coterie_protocols.state import State

PROBLEMS_MAX: Final = 100


class Rebuilt:
    """A clock and its state that grow by `take`; `problems` tells which bytes are no sound events, the
    first hundred of them."""

    def __init__(self, coterie: Cid) -> None:
        self.clock = Clock(coterie, NoHeaders())
        self.state = State(self.clock)
        self._problems: dict[bytes, str] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, once for each event."""
        return tuple(self._problems.values())

    def take(self, data: bytes) -> None:
        """Inserts an event if it is sound; one that was taken before changes nothing."""
        try:
            for event in self.clock.insert(decode_event_untrusted(data)):
                self.state.apply(event)
        except BadMessage as error:
            if len(self._problems) < PROBLEMS_MAX:
                self._problems[data] = str(error)
