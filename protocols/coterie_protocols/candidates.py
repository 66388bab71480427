"""Who could run an attempt: which members fit, in which order they stand, and how long this peer leaves it to them."""

from collections.abc import Mapping
from dataclasses import dataclass

from coterie_protocols.assignment import rank
from coterie_protocols.identity import PeerId
from coterie_protocols.openings import Opening
from coterie_protocols.presence import Presence
from coterie_protocols.scheduler_settings import SchedulerSettings
from coterie_protocols.state import State


@dataclass(frozen=True, slots=True)
class Candidates:
    """The members as workers, seen by `me`."""

    me: PeerId
    settings: SchedulerSettings
    state: State
    presence: Presence

    def wait(self, opening: Opening, free: Mapping[PeerId, int], now: float) -> float | None:
        """Seconds that this peer leaves an attempt to nearer ones; None where it does not fit itself."""
        if not opening.labels <= self.settings.labels or not self.state.authority.may(self.me, "work"):
            return None
        stagger = self.settings.careful_stagger_s if opening.careful else self.settings.stagger_s
        nearer = [peer for peer in self._nearer(opening) if self._fits(peer, opening, now)]
        opening.nearest = not nearer
        return stagger * sum(1 for peer in nearer if free.get(peer, 0) > 0)

    def _nearer(self, opening: Opening) -> tuple[PeerId, ...]:
        ranking = self._ranking(opening)
        return ranking[: ranking.index(self.me)]

    def _fits(self, peer: PeerId, opening: Opening, now: float) -> bool:
        return self.presence.alive(peer, now) and opening.labels <= self.labels_of(peer)

    def _ranking(self, opening: Opening) -> tuple[PeerId, ...]:
        authority = self.state.authority
        if opening.ranked_for is not authority:
            workers = [peer for peer in authority.members if authority.may(peer, "work")]
            opening.ranked_for, opening.ranking = authority, tuple(rank(opening.combined, workers))
        return opening.ranking

    def labels_of(self, peer: PeerId) -> frozenset[str]:
        """What a peer offers, lower-case: what it announces, else what it declared when it joined."""
        if peer == self.me:
            return self.settings.labels
        announcement = self.presence.sighting(peer).announcement
        member = self.state.members.get(peer)
        labels = announcement.labels if announcement else member.labels if member else ()
        return frozenset(label.lower() for label in labels)

    def slots_of(self, peer: PeerId) -> int:
        """How many tasks a peer runs at once, by its own word."""
        if peer == self.me:
            return self.settings.slots
        announcement = self.presence.sighting(peer).announcement
        member = self.state.members.get(peer)
        return announcement.slots if announcement else member.slots if member else 0

    def alone(self) -> bool:
        """Is no other member in reach?"""
        return not any(peer in self.state.members for peer in self.presence.connected())

    def needs_company(self, careful: bool) -> bool:
        """May a task not run where no other member is in reach? In a coterie of one there is nobody to wait for."""
        return (self.settings.when_isolated == "stop" or careful) and len(self.state.members) > 1
