"""Where wants wait for their turn: in pools of like wants, there in the shares of workflows, there in lanes."""

from typing import Any, Final, Generic, Protocol, TypeVar

from coterie.engine.admission.turns import Turns
from coterie.engine.admission.wants import Line, Want

CLASSES: Final = 10
"""Priorities from 0 to 9 are classes of their own; what is below or above belongs to the first or the last."""

PoolKey = tuple[int, tuple[tuple[str, float], ...]]
"""A priority class and what is asked for, by name."""


def priority_class(priority: float) -> int:
    """The class of a priority."""
    return int(priority) if 0.0 <= priority < CLASSES else 0 if priority < 0.0 else CLASSES - 1


class Pool:
    """Waiting wants of one priority class that ask for the same resources, so that none can go where the first cannot.

    `served_s`: when the last of them started, or the first came. `blocked_s`: since when what they ask for has not been
    free at their turn; `kept_for`: it is free, but left to that want.
    """

    __slots__ = ("blocked_s", "kept_for", "priority_class", "served_s", "shares", "waiting")

    def __init__(self, class_: int) -> None:
        self.priority_class = class_
        self.shares: Turns[Share] = Turns()
        self.waiting = 0
        self.served_s = 0.0
        self.blocked_s: float | None = None
        self.kept_for: Want | None = None

    def level(self, now_s: float, ageing_s: float) -> int:
        """The priority class, less one for every `ageing_s` in which none of them has started."""
        return self.priority_class - int(max(now_s - self.served_s, 0.0) / ageing_s)

    def served(self, now_s: float) -> None:
        """One of them has started."""
        self.served_s = now_s
        self.blocked_s = None

    def blocked(self, now_s: float, kept_for: Want | None) -> None:
        """What the first of them asks for is not there, or kept for another."""
        if self.blocked_s is None:
            self.blocked_s = now_s
        self.kept_for = kept_for


class Place(Protocol):
    """Where an account has wants waiting, and the turns in which it takes part there."""

    @property
    def turns(self) -> Turns[Any]: ...

    def refresh(self) -> None:
        """Takes part in the turns while there is something that could go."""
        ...


P = TypeVar("P", bound=Place)


class Account(Generic[P]):
    """A workflow or an execution: how many of its steps run and wait, and where they wait, by pool.

    `max_running` 0: it has no limit of its own. `paused`: nothing of it starts. `open`: neither keeps it from starting.
    """

    __slots__ = ("max_running", "name", "open", "paused", "places", "running", "waiting")

    def __init__(self, name: str, max_running: int, paused: bool) -> None:
        self.name = name
        self.running = 0
        self.waiting = 0
        self.max_running = max_running
        self.paused = paused
        self.open = not paused
        self.places: dict[PoolKey, P] = {}

    def limit(self, max_running: int, paused: bool) -> None:
        """Sets both."""
        self.max_running, self.paused = max_running, paused
        self._refresh()

    def started(self) -> None:
        """One more runs."""
        self.running += 1
        self._moved()

    def ended(self) -> None:
        """One less runs."""
        self.running -= 1
        self._moved()

    def _moved(self) -> None:
        if self.open != (not self.max_running or self.running < self.max_running):
            self._refresh()
        for place in self.places.values():
            if place.turns.size > 1:
                place.turns.moved(place)

    def _refresh(self) -> None:
        self.open = not self.paused and (self.max_running == 0 or self.running < self.max_running)
        for place in self.places.values():
            place.refresh()


class Share:
    """One workflow in one pool."""

    __slots__ = ("account", "lanes", "pool", "turns")

    def __init__(self, account: "Account[Share]", pool: Pool) -> None:
        self.account: Account[Share] = account
        self.pool: Pool = pool
        self.turns: Turns[Share] = pool.shares
        self.lanes: Turns[Lane] = Turns()

    def refresh(self) -> None:
        """Takes part in the turns of the pool while one of its lanes has something that could go."""
        if self.lanes.size and self.account.open:
            self.turns.join(self)
        else:
            self.turns.leave(self)


class Lane:
    """One execution in one pool, and the line of its wants there."""

    __slots__ = ("account", "line", "pool", "share", "turns")

    def __init__(self, account: "Account[Lane]", share: Share) -> None:
        self.account: Account[Lane] = account
        self.share: Share = share
        self.pool: Pool = share.pool
        self.turns: Turns[Lane] = share.lanes
        self.line = Line()

    def refresh(self) -> None:
        """Takes part in the turns of the share while one of its wants could go."""
        turns = self.turns
        before = turns.size
        if self.line.waiting and self.account.open:
            turns.join(self)
        else:
            turns.leave(self)
        if (before == 0) != (turns.size == 0):
            self.share.refresh()

    def push(self, want: Want) -> None:
        """It waits here for its turn from now on."""
        pool = self.pool
        if pool.waiting == 0:
            pool.served_s = want.since_s
        pool.waiting += 1
        self.line.push(want)
        if self.line.waiting == 1:
            self.refresh()

    def withdraw(self, want: Want) -> None:
        """It waits here no more."""
        self.line.withdraw(want)
        self._left()

    def take(self, first: Want) -> None:
        """The first of the line waits here no more."""
        self.line.take(first)
        self._left()

    def _left(self) -> None:
        pool = self.pool
        pool.waiting -= 1
        if pool.waiting == 0:
            pool.blocked_s = None
        if self.line.waiting == 0:
            self.refresh()
