"""Who is alive, by announcements and connections. Only waiting depends on it, never who may claim.

A peer is believed alive while it is connected, or was heard of lately and not lost since, until it says goodbye.
All times are monotonic seconds of this peer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from coterie_protocols.identity import PeerId
from coterie_protocols.messages import Announcement

Liveness = Literal["alive", "suspect", "gone", "unknown"]


@dataclass(slots=True)
class Sighting:
    """What is known of one peer beside the clock."""

    announcement: Announcement | None = None
    heard_at: float | None = None
    connected: bool = False
    lost: bool = False


class Presence:
    """The sightings of all peers, and when the picture last changed."""

    def __init__(self, alive_for_s: float) -> None:
        self._alive_for_s = alive_for_s
        self._sightings: dict[PeerId, Sighting] = {}
        self._believed: dict[PeerId, bool] = {}
        self.changed_at = float("-inf")

    def sighting(self, peer: PeerId) -> Sighting:
        """What is known of a peer."""
        return self._sightings.setdefault(peer, Sighting())

    def hear(self, peer: PeerId, announcement: Announcement, now: float) -> bool:
        """Takes an announcement; False if it is older than one already heard."""
        sighting = self.sighting(peer)
        last = sighting.announcement
        if last and (announcement.boot_ms, announcement.number) <= (last.boot_ms, last.number):
            return False
        sighting.announcement, sighting.heard_at, sighting.lost = announcement, now, False
        self._note(peer, now)
        return True

    def connect(self, peer: PeerId, now: float, *, counts: bool = True) -> None:
        """A connection stands; that of a stranger does not count as a change."""
        sighting = self.sighting(peer)
        sighting.connected, sighting.lost, sighting.heard_at = True, False, now
        if counts:
            self._note(peer, now)

    def disconnect(self, peer: PeerId, now: float) -> None:
        """The last connection is gone: a peer that was here and is cut off is not waited for."""
        sighting = self.sighting(peer)
        sighting.connected, sighting.lost = False, True
        self._note(peer, now)

    def forget(self, peer: PeerId) -> None:
        """The last connection of a stranger is gone: it leaves nothing behind."""
        self._sightings.pop(peer, None)
        self._believed.pop(peer, None)

    def alive(self, peer: PeerId, now: float) -> bool:
        """Is the peer believed to be there?"""
        sighting = self._sightings.get(peer)
        if sighting is None or (sighting.announcement and sighting.announcement.leaving):
            return False
        recent = sighting.heard_at is not None and now - sighting.heard_at < self._alive_for_s
        return sighting.connected or (recent and not sighting.lost)

    def liveness(self, peer: PeerId, now: float) -> Liveness:
        """The same in words, for people."""
        sighting = self._sightings.get(peer)
        if sighting is None or (sighting.heard_at is None and not sighting.connected):
            return "unknown"
        if sighting.announcement and sighting.announcement.leaving:
            return "gone"
        return "alive" if self.alive(peer, now) else "suspect"

    def connected(self) -> list[PeerId]:
        """The connected peers, sorted."""
        return sorted(peer for peer, sighting in self._sightings.items() if sighting.connected)

    def refresh(self, peers: Iterable[PeerId], now: float) -> None:
        """Notices who went silent since the last look."""
        for peer in peers:
            self._note(peer, now)

    def _note(self, peer: PeerId, now: float) -> None:
        alive = self.alive(peer, now)
        if self._believed.get(peer) != alive:
            self._believed[peer] = alive
            self.changed_at = now
