"""What can go wrong between and on the machines of a swarm, as rules; `Weather` tells what they come to at a moment.

Times are virtual seconds since the swarm began. Machines go by their names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

CALM_DELAY_S: Final = (0.001, 0.02)


@dataclass(frozen=True, slots=True)
class Lose:
    """A share of gossip never arrives."""

    share: float
    from_s: float = 0.0
    to_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A share of gossip arrives twice."""

    share: float
    from_s: float = 0.0
    to_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Delay:
    """Everything takes between `min_s` and `max_s`; gossip overtakes gossip, frames keep their order."""

    min_s: float
    max_s: float
    from_s: float = 0.0
    to_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Slow:
    """All that goes to or from a machine takes `extra_s` longer."""

    machine: str
    extra_s: float
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing gets from side a to side b nor, unless `one_way`, back.

    The connections across die once their ends notice, `notice_s` after the cut, if it lasts that long; frames that
    were on the way by then are lost, else they arrive late.
    """

    side_a: frozenset[str]
    side_b: frozenset[str]
    from_s: float
    to_s: float
    one_way: bool = False
    notice_s: float = 0.0

    def severs(self, sender: str, receiver: str) -> bool:
        """Does it lie on the way from `sender` to `receiver`?"""
        if sender in self.side_a and receiver in self.side_b:
            return True
        return not self.one_way and sender in self.side_b and receiver in self.side_a


@dataclass(frozen=True, slots=True)
class Crash:
    """The process is killed, and started again `down_s` later; others notice after `notice_s` (a machine without power
    says nothing)."""

    machine: str
    at_s: float
    down_s: float
    notice_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon is stopped as by SIGTERM, and started again `down_s` later."""

    machine: str
    at_s: float
    down_s: float
    finish: bool = False


@dataclass(frozen=True, slots=True)
class DiskFull:
    """Nothing can be saved: the daemon dies at its next event, and is started again `down_s` later."""

    machine: str
    at_s: float
    down_s: float


@dataclass(frozen=True, slots=True)
class LoseTail:
    """The machine is killed and comes back from a backup that lacks up to `events` newest events that others hold."""

    machine: str
    at_s: float
    down_s: float
    events: int


@dataclass(frozen=True, slots=True)
class Skew:
    """The wall clock jumps."""

    machine: str
    at_s: float
    by_s: float


NetworkFault = Lose | Duplicate | Delay | Slow | Cut
MachineFault = Crash | Restart | DiskFull | LoseTail | Skew
Fault = NetworkFault | MachineFault


class Weather:
    """What the network's faults come to at a moment."""

    def __init__(self, faults: Iterable[Fault], chance: Random) -> None:
        self._chance = chance
        self.cuts: list[Cut] = [fault for fault in faults if isinstance(fault, Cut)]
        self._loses = [fault for fault in faults if isinstance(fault, Lose)]
        self._duplicates = [fault for fault in faults if isinstance(fault, Duplicate)]
        self._delays = [fault for fault in faults if isinstance(fault, Delay)]
        self._slows = [fault for fault in faults if isinstance(fault, Slow)]

    def lost(self, now: float) -> bool:
        """Does this piece of gossip get lost?"""
        return _struck(self._loses, now, self._chance)

    def doubled(self, now: float) -> bool:
        """Does this piece of gossip come twice?"""
        return _struck(self._duplicates, now, self._chance)

    def delay_s(self, sender: str, receiver: str, now: float) -> float:
        """How long something sent now is under way."""
        least, most = CALM_DELAY_S
        for delay in self._delays:
            if delay.from_s <= now < delay.to_s:
                least, most = delay.min_s, delay.max_s
        slow = sum(s.extra_s for s in self._slows if s.machine in (sender, receiver) and s.from_s <= now < s.to_s)
        return self._chance.uniform(least, most) + slow

    def severed_until(self, sender: str, receiver: str, now: float) -> float | None:
        """When the way from one to the other opens again; None if it is open."""
        ends = [cut.to_s for cut in self.cuts if cut.from_s <= now < cut.to_s and cut.severs(sender, receiver)]
        return max(ends) if ends else None

    def severed(self, one: str, other: str, now: float) -> bool:
        """Is one of the two directions cut?"""
        return bool(self.cuts) and (
            self.severed_until(one, other, now) is not None or self.severed_until(other, one, now) is not None
        )


def _struck(rules: Sequence[Lose | Duplicate], now: float, chance: Random) -> bool:
    return any(rule.from_s <= now < rule.to_s and chance.random() < rule.share for rule in rules)
