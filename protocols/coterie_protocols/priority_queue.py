"""The ready tasks of one peer, the most urgent first, none of them waiting for ever."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from coterie_protocols.fibonacci_heap import FibonacciHeap, Node

PRIORITY_CRITICAL: Final = 1.0
"""Ageing makes no task more urgent than this."""
QUEUE_MAX: Final = 100_000
AGEING_S: Final = 60.0


class TaskId(Protocol):
    """What names a task: hashable, unique, and comparable, so that equal priorities have one order everywhere."""

    def __hash__(self) -> int:
        """As of any key of a dictionary."""
        ...

    def __lt__(self, other: Any, /) -> bool:
        """Does this come first?"""
        ...


T = TypeVar("T", bound=TaskId)


class QueueFull(Exception):
    """The queue holds `queue_max` tasks; whoever pushes keeps the task and comes back when there is room."""


@dataclass(frozen=True, slots=True)
class ReadyTask(Generic[T]):
    """A task in the queue. `priority` is as submitted, `aged` as it counts now; lower is sooner."""

    task: T
    priority: float
    aged: float
    lamport: int


@dataclass(slots=True)
class _Entry(Generic[T]):
    """`due` is the node in the heap of coming improvements, None once the task has become critical."""

    priority: float
    since: float
    steps: int
    node: Node[tuple[float, int, T], T]
    due: Node[tuple[float, T], T] | None


class WorkflowPriorityQueue(Generic[T]):
    """Ready tasks in the order of (aged priority, Lamport time of the submission, task id); lower is sooner.

    A task that has waited w seconds counts as max(1.0, priority − ⌊w / ageing_s⌋), and one submitted below 1.0 as
    it was submitted. Whole steps: a task moves a few times in its life, and the outcome depends on `now` alone, not
    on how often `age` is called. The times are monotonic seconds.
    """

    def __init__(self, ageing_s: float = AGEING_S, queue_max: int = QUEUE_MAX) -> None:
        if not ageing_s > 0.0 or queue_max < 1:
            raise ValueError("ageing_s and queue_max must be greater than 0")
        self._ageing_s = ageing_s
        self._queue_max = queue_max
        self._entries: dict[T, _Entry[T]] = {}
        self._ready: FibonacciHeap[tuple[float, int, T], T] = FibonacciHeap()
        self._due: FibonacciHeap[tuple[float, T], T] = FibonacciHeap()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task: object) -> bool:
        return task in self._entries

    def __iter__(self) -> Iterator[ReadyTask[T]]:
        """All tasks as they stand now, in their order; O(n log n), for those who look."""
        return iter([_view(entry) for entry in sorted(self._entries.values(), key=lambda entry: entry.node.key)])

    def push(self, task: T, priority: float, lamport: int, now: float) -> None:
        """Adds a task that became ready at `now`. Raises ValueError if it is there already, QueueFull."""
        if task in self._entries:
            raise ValueError(f"{task!r} is queued already")
        if len(self._entries) >= self._queue_max:
            raise QueueFull(f"{self._queue_max} tasks are queued")
        entry = _Entry(priority, now, 0, self._ready.insert((priority, lamport, task), task), None)
        self._entries[task] = entry
        self._schedule(entry)

    def peek(self) -> ReadyTask[T]:
        """The most urgent task. Raises IndexError if there is none."""
        return _view(self._entries[self._ready.minimum().value])

    def pop(self) -> ReadyTask[T]:
        """Removes the most urgent task. Raises IndexError if there is none."""
        entry = self._entries.pop(self._ready.extract_min().value)
        self._unschedule(entry)
        return _view(entry)

    def remove(self, task: T) -> None:
        """Removes a task wherever it stands. Raises KeyError if it is not queued."""
        entry = self._entries.pop(task)
        self._ready.delete(entry.node)
        self._unschedule(entry)

    def reprioritise(self, task: T, priority: float) -> None:
        """Gives a task another priority, better or worse; its waiting counts on. Raises KeyError if not queued."""
        entry = self._entries[task]
        entry.priority = priority
        self._unschedule(entry)
        self._move(entry)
        self._schedule(entry)

    def age(self, now: float) -> int:
        """Lets those move up that have waited long enough; returns how many did."""
        moved = 0
        while len(self._due) and self._due.minimum().key[0] <= now:
            entry = self._entries[self._due.extract_min().value]
            entry.due = None
            entry.steps = max(entry.steps + 1, int((now - entry.since) // self._ageing_s))
            self._move(entry)
            self._schedule(entry)
            moved += 1
        return moved

    def ages_at(self) -> float:
        """When `age` has something to do next, infinity if never."""
        return self._due.minimum().key[0] if len(self._due) else float("inf")

    def _move(self, entry: _Entry[T]) -> None:
        _, lamport, task = entry.node.key
        key = (_aged(entry.priority, entry.steps), lamport, task)
        if entry.node.key < key:
            self._ready.delete(entry.node)
            entry.node = self._ready.insert(key, task)
        else:
            self._ready.decrease_key(entry.node, key)

    def _schedule(self, entry: _Entry[T]) -> None:
        if entry.node.key[0] > PRIORITY_CRITICAL:
            at = entry.since + (entry.steps + 1) * self._ageing_s
            entry.due = self._due.insert((at, entry.node.value), entry.node.value)

    def _unschedule(self, entry: _Entry[T]) -> None:
        if entry.due is not None:
            self._due.delete(entry.due)
            entry.due = None


def _aged(priority: float, steps: int) -> float:
    return max(min(priority, PRIORITY_CRITICAL), priority - steps)


def _view(entry: _Entry[T]) -> ReadyTask[T]:
    aged, lamport, task = entry.node.key
    return ReadyTask(task, entry.priority, aged, lamport)
