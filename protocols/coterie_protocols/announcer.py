"""When to announce, and what: presence at a slow pace, news at once but never more often than the budget allows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from coterie_protocols.clock import Clock
from coterie_protocols.encoding import Cid
from coterie_protocols.messages import (
    ADDRESSES_MAX,
    CLAIMS_SHOWN_MAX,
    GOSSIP_BYTES_MAX,
    HEADS_SHOWN_MAX,
    INLINE_BYTES_MAX,
    Announcement,
    encode_message,
)

LABELS_BYTES_MAX: Final = 4096
LEASE_SIGNS: Final = 4
"""Signs of life that a holder gives in one lease, so that three may be lost."""


class Announcer:
    """What one peer tells all the others of itself. Times are monotonic seconds."""

    def __init__(
        self, name: str, labels: Sequence[str], slots: int, interval_s: float, presence_interval_s: float
    ) -> None:
        if len("".join(labels).encode()) > LABELS_BYTES_MAX:
            raise ValueError(f"labels: an announcement has room for {LABELS_BYTES_MAX} bytes of them")
        self._name = name
        self._labels = tuple(labels)
        self._slots = slots
        self._interval_s = interval_s
        self._presence_interval_s = presence_interval_s
        self._boot_ms = 0
        self._number = 0
        self._news: list[bytes] = []
        self._wanted = True
        self._announced_at = float("-inf")
        self.addresses: tuple[str, ...] = ()
        self.leaving = False

    def start(self, boot_ms: int) -> None:
        """The daemon began at `boot_ms` (Unix milliseconds)."""
        self._boot_ms = boot_ms

    def add(self, event: bytes) -> None:
        """An event of our own to show with the next announcement, while there is room for it."""
        self._wanted = True
        if sum(map(len, self._news)) + len(event) <= INLINE_BYTES_MAX:
            self._news.append(event)

    def want(self) -> None:
        """Something about us changed: announce as soon as the budget allows."""
        self._wanted = True

    def due(self, lease_s: float | None) -> float:
        """When to announce next; `lease_s` is given while we hold claims, whose leases each sign of life renews."""
        if self._wanted:
            return self._announced_at + self._interval_s
        pace = self._presence_interval_s
        return self._announced_at + (pace if lease_s is None else min(pace, lease_s / LEASE_SIGNS))

    def publish(self, clock: Clock, claims: Sequence[Cid], now: float) -> Announcement:
        """The announcement that is due; the news in it are told by it."""
        self._wanted, self._announced_at = False, now
        news, self._news = tuple(self._news), []
        announcement = self.compose(clock, claims, news)
        if len(encode_message(announcement)) <= GOSSIP_BYTES_MAX:
            return announcement
        return replace(announcement, events=())  # long labels leave no room: the heads tell that there is news

    def compose(self, clock: Clock, claims: Sequence[Cid], news: tuple[bytes, ...] = ()) -> Announcement:
        """An announcement of the present moment, newer than all before it."""
        self._number += 1
        return Announcement(
            boot_ms=self._boot_ms,
            number=self._number,
            name=self._name,
            labels=self._labels,
            slots=self._slots,
            leaving=self.leaving,
            claims=tuple(claims)[:CLAIMS_SHOWN_MAX],
            addresses=self.addresses[:ADDRESSES_MAX],
            heads=tuple(head.cid for head in clock.heads[:HEADS_SHOWN_MAX]),
            fingerprint=clock.fingerprint,
            events=news,
        )
