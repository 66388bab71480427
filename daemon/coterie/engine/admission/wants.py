"""Steps that want to start, and the lines in which they wait."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coterie.engine.admission.pools import Lane

GARBAGE_MAX: Final = 32
"""A line holds at most this many withdrawn wants more than wants that wait."""


Ticket = tuple[str, int]
"""An execution and the position of a step in it."""


@dataclass(slots=True, eq=False)
class Want:
    """A step that could start. Once offered it belongs to the Admission until it is released or withdrawn.

    `priority`: lower is sooner. `since_s`: when it became ready, on the clock that `admit` is given.
    `resources`: what it takes while it runs. Wants of one `key` run one at a time.
    """

    ticket: Ticket
    workflow: str
    execution: str
    priority: float
    since_s: float
    resources: Mapping[str, float] | None = None
    key: str = ""
    # Filled in when it is offered: its place in the order, its lane, and the line where it stands now.
    order: float = field(init=False, repr=False)
    number: int = field(init=False, repr=False)
    lane: "Lane" = field(init=False, repr=False)
    line: "Line | None" = field(init=False, repr=False)


_Item = tuple[float, int, Want]


class Line:
    """Wants by `order`, then by `number`.

    Most come in order: those are appended to a queue, O(1), and only the others go to a heap. What is withdrawn stays
    until it comes to the front, or until there is too much of it.
    """

    __slots__ = ("_early", "_steady", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._steady: deque[_Item] = deque()
        self._early: list[_Item] = []

    def push(self, want: Want) -> None:
        """It stands here from now on."""
        item = (want.order, want.number, want)
        if not self._steady or self._steady[-1] < item:
            self._steady.append(item)
        else:
            heappush(self._early, item)
        want.line = self
        self.waiting += 1

    def first(self) -> Want:
        """The first that waits, which stays. Raises IndexError when none does."""
        early, steady = self._early, self._steady
        while steady and not self._waits(steady[0]):
            steady.popleft()
        if not early:
            return steady[0][2]
        while early and not self._waits(early[0]):
            heappop(early)
        return (early[0] if early and (not steady or early[0] < steady[0]) else steady[0])[2]

    def take(self, first: Want) -> None:
        """What `first` has just returned stands here no more."""
        if self._steady and self._steady[0][2] is first:
            self._steady.popleft()
        else:
            heappop(self._early)
        self.waiting -= 1
        first.line = None

    def withdraw(self, want: Want) -> None:
        """It stands here no more."""
        want.line = None
        self.waiting -= 1
        if len(self._steady) + len(self._early) > 2 * self.waiting + GARBAGE_MAX:
            self._steady = deque(filter(self._waits, self._steady))
            self._early = list(filter(self._waits, self._early))
            heapify(self._early)

    def _waits(self, item: _Item) -> bool:
        # The number too: a want that was withdrawn here may have been offered anew.
        return item[2].line is self and item[2].number == item[1]
