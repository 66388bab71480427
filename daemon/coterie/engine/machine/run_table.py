"""Where every step of one execution stands, column by column, and what the rules of merging make of that."""

from array import array
from collections.abc import Iterator
from itertools import repeat
from typing import Final, Literal

from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import StepState

# Finer than StepState, and in an order in which one comparison answers most questions.
PENDING: Final = 0  # some of its needs have not ended
WAITING: Final = 1  # for another try
QUEUED: Final = 2  # could start, but its group has no room or the execution is paused
READY: Final = 3  # the driver was told
RUNNING: Final = 4
COMPLETED: Final = 5  # from here on it has ended
TOLERATED: Final = 6  # failed, and counts as completed
WAIVED: Final = 7  # skipped by a person, and counts as completed
SKIPPED: Final = 8  # from here on it does not count as completed
FAILED: Final = 9  # from here on it keeps those that need it from running
CANCELLED: Final = 10

STATES: Final[tuple[StepState, ...]] = (
    "pending",
    "pending",
    "pending",
    "ready",
    "running",
    "completed",
    "failed",
    "skipped",
    "skipped",
    "failed",
    "cancelled",
)
CODES: Final[dict[StepState, tuple[int, ...]]] = {
    state: tuple(code for code, name in enumerate(STATES) if name == state) for state in dict.fromkeys(STATES)
}

Verdict = Literal["run", "skip", "wait"]


class RunTable:
    """One row a step, children of maps after the steps of the plan (`size` is the number of those).

    `code` is where it stands, `missing` the number of its needs that have not ended (right while it is PENDING), and
    `attempt` its starts. What few steps have is kept by position: `lost` starts, the `arm` of a conditional, a `reason`
    that was given, and in milliseconds when it is `due`. `changed` has those whose row must be written.
    """

    __slots__ = ("arm", "attempt", "changed", "code", "counts", "due", "graph", "lost", "missing", "reason", "size")

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self.size = len(graph.ids)
        self.code = bytearray(self.size)
        self.missing = list(map(len, graph.needs))
        self.attempt = array("I", repeat(0, self.size))
        self.counts = [self.size, *repeat(0, CANCELLED)]
        self.lost: dict[int, int] = {}
        self.due: dict[int, int] = {}
        self.arm: dict[int, str] = {}
        self.reason: dict[int, str] = {}
        self.changed: dict[int, None] = {}

    def grow(self, count: int) -> int:
        """Adds `count` rows, and returns the position of the first."""
        first = len(self.code)
        self.code.extend(bytes(count))
        self.attempt.extend(repeat(0, count))
        self.counts[PENDING] += count
        return first

    def put(self, position: int, code: int) -> int:
        """The step stands at `code` now; returns where it stood."""
        before = self.code[position]
        self.code[position] = code
        counts = self.counts
        counts[before] -= 1
        counts[code] += 1
        return before

    @property
    def all_ended(self) -> bool:
        """Has every step ended?"""
        return not any(self.counts[:COMPLETED])

    def at(self, code: int) -> Iterator[int]:
        """The positions that stand there, in order. Safe against changes on the way."""
        position = self.code.find(code)
        while position >= 0:
            yield position
            position = self.code.find(code, position + 1)

    def unended_needs(self, position: int) -> list[int]:
        """The needs of a step that have not ended."""
        return [need for need in self.graph.needs[position] if self.code[need] < COMPLETED]

    def verdict(self, position: int) -> Verdict:
        """Does a step of the plan run, by its merge rule and arms? It waits while that cannot be said.

        Only `first` can say yes before all needs have ended; no is never said before.
        """
        all_ended = not self.missing[position]
        needs = self.graph.needs[position]
        if not needs:
            return "run"
        if position in self.graph.arms and not self.arms_chosen(position):
            return "skip" if all_ended else "wait"
        code = self.code
        match self.graph.merge[position]:
            case "first":
                if any(COMPLETED <= code[need] < SKIPPED for need in needs):
                    return "run"
                return "skip" if all_ended else "wait"
            case "ended":
                runs = True
            case "none-failed":
                best, worst = _span(code, needs)
                runs = best < SKIPPED and worst < FAILED
            case "all":
                runs = _span(code, needs)[1] < SKIPPED
            case "any":
                runs = _span(code, needs)[0] < SKIPPED
        return "wait" if not all_ended else "run" if runs else "skip"

    def arms_chosen(self, position: int) -> bool:
        """Has every conditional step that it names an arm of chosen that arm?"""
        return all(self.arm.get(need) == arm for need, arm in self.graph.arms[position])


def _span(code: bytearray, needs: tuple[int, ...]) -> tuple[int, int]:
    """The best and the worst that they stand at."""
    if len(needs) == 1:
        only = code[needs[0]]
        return only, only
    found = [code[need] for need in needs]
    return min(found), max(found)
