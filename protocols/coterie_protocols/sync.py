"""When to ask whom for events, and what to answer. One question and one answer bring two clocks together.

Frontiers say exactly what is missing as long as each author's log is a chain. Where an author forked, equal
frontiers can hide different sets; then, and only then, that author's events are sent whole.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from coterie_protocols.clock import Clock
from coterie_protocols.effects import SendEvents
from coterie_protocols.event import Frontier
from coterie_protocols.identity import PeerId

T = TypeVar("T")


class Chance(Protocol):
    """Where the core's randomness comes from, such as a seeded `random.Random`."""

    def uniform(self, a: float, b: float) -> float:
        """A number between the two."""
        ...

    def choice(self, seq: Sequence[T]) -> T:
        """One of several."""
        ...


class Sync:
    """The open questions of one peer, and its clock for asking around. Times are monotonic seconds."""

    def __init__(self, timeout_s: float, anti_entropy_interval_s: float, chance: Chance) -> None:
        self._timeout_s = timeout_s
        self._interval_s = anti_entropy_interval_s
        self._chance = chance
        self._open: dict[PeerId, float] = {}
        self._next_round = float("inf")

    def start(self, now: float) -> None:
        """The first round of anti-entropy is one interval away, give or take half."""
        self._schedule(now)

    def begin(self, peer: PeerId, now: float, *, beside: bool = False) -> bool:
        """Opens a question to `peer`; False if one is open already: a second answer would bring the same events.

        `beside` asks all the same if the open one is to somebody else, who may be slow on purpose.
        """
        if peer in self._open or (self._open and not beside):
            return False
        self._open[peer] = now + self._timeout_s
        return True

    def progress(self, peer: PeerId, now: float) -> None:
        """The answer is still coming in."""
        if peer in self._open:
            self._open[peer] = now + self._timeout_s

    def end(self, peer: PeerId) -> None:
        """The answer is complete."""
        self._open.pop(peer, None)

    forget = end

    def expired(self, now: float) -> list[PeerId]:
        """Closes and returns the questions that were not answered in time."""
        late = sorted(peer for peer, until in self._open.items() if until <= now)
        for peer in late:
            del self._open[peer]
        return late

    def round_due(self, now: float) -> bool:
        """Is it time for anti-entropy? If so, the next round is scheduled."""
        if now < self._next_round:
            return False
        self._schedule(now)
        return True

    def _schedule(self, now: float) -> None:
        self._next_round = now + self._interval_s * self._chance.uniform(0.5, 1.5)

    def choose(self, peers: Sequence[PeerId]) -> PeerId | None:
        """One of several to ask, by chance; one that owes no answer if there is such."""
        idle = [peer for peer in peers if peer not in self._open]
        return self._chance.choice(idle) if idle else None

    def deadline(self) -> float:
        """When a question expires or a round is due."""
        return min([self._next_round, *self._open.values()])


def answer(peer: PeerId, have: Frontier, fingerprint: bytes, clock: Clock, *, reply_wanted: bool) -> SendEvents:
    """What to stream to a peer that holds `have`."""
    if clock.forks and fingerprint != clock.fingerprint:
        have = {author: tip for author, tip in have.items() if author not in clock.forks}
    return SendEvents(peer, have, reply_wanted)
