"""Whose turn it is among those that share something: who has the least of it goes first."""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Final, Generic, Protocol, TypeVar


class HasRunning(Protocol):
    """Knows how much its members have."""

    @property
    def running(self) -> int: ...


class Member(Protocol):
    """Takes turns, by what its account has running."""

    @property
    def account(self) -> HasRunning: ...


M = TypeVar("M", bound=Member)

_NOWHERE: Final = -1


class Turns(Generic[M]):
    """The member with the fewest running goes first; among equals, the one that moved longest ago.

    Members with equally many running stand in one queue, and a heap knows the queues. Both are brought up to date only
    when somebody asks and there is a choice: one member alone, the usual case, costs next to nothing. Every operation
    is O(log n) or better, amortised. `size` is how many members there are.
    """

    __slots__ = ("_alone", "_members", "_moved", "_queues", "_ranks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._alone: M | None = None
        # OrderedDict throughout: to find the first of a plain dict whose front was emptied is O(n).
        self._members: OrderedDict[M, int] = OrderedDict()  # and in which queue each stands
        self._moved: dict[M, None] = {}
        self._queues: dict[int, OrderedDict[M, None]] = {}
        self._ranks: list[int] = []  # a heap of the keys of _queues

    def join(self, member: M) -> None:
        """It takes part from now on."""
        if member in self._members:
            return
        if self._alone is not None:
            self._moved[self._alone] = None  # which was not noted while it was alone
        self._alone = None if self.size else member
        self.size += 1
        self._members[member] = _NOWHERE
        self._moved[member] = None

    def leave(self, member: M) -> None:
        """It takes part no more, if it did."""
        rank = self._members.pop(member, None)
        if rank is None:
            return
        if rank != _NOWHERE:
            del self._queues[rank][member]
        self._moved.pop(member, None)
        self.size -= 1
        self._alone = next(iter(self._members)) if self.size == 1 else None

    def moved(self, member: M) -> None:
        """What it has running changed. Need not be told while it is alone."""
        if member in self._members:
            self._moved[member] = None

    def first(self) -> M:
        """Whose turn it is. Raises IndexError when nobody takes part."""
        if self._alone is not None:
            return self._alone
        for member in self._moved:
            self._queue_up(member)
        self._moved.clear()
        while not (queue := self._queues[self._ranks[0]]):
            del self._queues[heappop(self._ranks)]
        return next(iter(queue))

    def _queue_up(self, member: M) -> None:
        before, rank = self._members[member], member.account.running
        if before != _NOWHERE:
            del self._queues[before][member]
        queue = self._queues.get(rank)
        if queue is None:
            queue = self._queues[rank] = OrderedDict()
            heappush(self._ranks, rank)
        queue[member] = None
        self._members[member] = rank
