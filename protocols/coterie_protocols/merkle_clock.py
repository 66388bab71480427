"""The Merkle clock as a library: a whole clock in memory, for people who use it without a daemon."""

from collections.abc import Iterable, Mapping
from typing import cast

from coterie_protocols.clock import Clock, found_coterie
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import Event, Frontier, Header, decode_event_untrusted
from coterie_protocols.identity import SigningKey
from coterie_protocols.ops import Op


class MerkleClock:
    """A whole clock in memory, for use as a library: append, merge, verify, and a form to keep it in.

    >>> clock = MerkleClock.found(key, "home", nonce, time_ms)      # doctest: +SKIP
    >>> clock.append(key, [Cancel(run, "why")], time_ms)            # doctest: +SKIP
    """

    def __init__(self, coterie: Cid) -> None:
        self._clock = Clock(coterie, self)
        self._events: dict[Cid, Event] = {}

    @classmethod
    def found(cls, key: SigningKey, name: str, nonce: bytes, time_ms: int) -> "MerkleClock":
        """A new coterie's clock."""
        genesis = found_coterie(key, name, nonce, time_ms)
        clock = cls(genesis.cid)
        clock.insert(genesis)
        return clock

    @property
    def coterie(self) -> Cid:
        """The coterie's id."""
        return self._clock.coterie

    @property
    def heads(self) -> tuple[Cid, ...]:
        """The events without children, newest first."""
        return tuple(head.cid for head in self._clock.heads)

    @property
    def frontier(self) -> Frontier:
        """Per author, the last event."""
        return dict(self._clock.frontier)

    @property
    def fingerprint(self) -> bytes:
        """Tells the set of events; equal sets, equal fingerprints."""
        return self._clock.fingerprint

    @property
    def events(self) -> tuple[Event, ...]:
        """All events, parents first."""
        return tuple(self._events.values())

    def header(self, cid: Cid) -> Header | None:
        """The header of an event of this clock."""
        event = self._events.get(cid)
        return None if event is None else event.header

    def append(self, key: SigningKey, ops: Iterable[Op], time_ms: int) -> Event:
        """Writes the next event of a member over the present heads."""
        event = self._clock.write(key, tuple(ops), time_ms)
        self._events[event.cid] = event
        return event

    def insert(self, event: Event) -> list[Event]:
        """Inserts an event from elsewhere; returns what became known by it. Raises BadMessage."""
        inserted = self._clock.insert(event)
        self._events.update((each.cid, each) for each in inserted)
        return inserted

    def merge(self, other: "MerkleClock") -> int:
        """Takes over what `other` knows and this one does not; returns how many events that were."""
        return sum(len(self.insert(event)) for event in other.events)

    def verify(self) -> None:
        """Checks every event again from its bytes: signature, CID, causality. Raises BadMessage at the first fault."""
        again = MerkleClock(self.coterie)
        for event in self.events:
            if not again.insert(decode_event_untrusted(event.data)):
                raise BadMessage(f"event {event.cid} stands before its parents")
        if again.fingerprint != self.fingerprint:
            raise BadMessage("the fingerprint does not match the events")

    def to_dict(self) -> dict[str, object]:
        """A form for JSON: the coterie and the events' bytes in hex, parents first."""
        return {"coterie": self.coterie, "events": [event.data.hex() for event in self.events]}

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> "MerkleClock":
        """The clock that `to_dict` described, every event verified. Raises BadMessage."""
        coterie, events = value.get("coterie"), value.get("events")
        if not isinstance(coterie, str) or not isinstance(events, list):
            raise BadMessage("not a clock")
        clock = cls(Cid(coterie))
        for text in cast(list[object], events):
            try:
                data = bytes.fromhex(cast(str, text))
            except (TypeError, ValueError):
                raise BadMessage("an event is not hex") from None
            if not clock.insert(decode_event_untrusted(data)):
                raise BadMessage("an event stands before its parents, or twice")
        return clock
