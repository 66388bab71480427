"""The attempts that wait to be claimed, as one peer sees them: first for their turn by rank, then for a free slot."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from coterie_protocols.authority import Authority
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import RunId
from coterie_protocols.priority_queue import QUEUE_MAX, WorkflowPriorityQueue

TaskKey = tuple[RunId, str]


@dataclass(slots=True)
class Opening:
    """An attempt that may be claimed from `opens_at` on (monotonic seconds). `ranking` is for one authority."""

    key: TaskKey
    attempt: int
    supersedes: Cid | None
    opens_at: float
    priority: float
    lamport: int
    combined: bytes
    labels: frozenset[str]
    careful: bool
    ranked_for: Authority | None = None
    ranking: tuple[PeerId, ...] = field(default=())
    nearest: bool = True
    """Is this peer the nearest of all that fit, full ones too? So peers whose slots free take different tasks."""


class Openings:
    """Openings by task. They wait for their turn by rank, then in a queue for a free slot.

    Of those whose turn has come the most urgent is claimed first, and among equally urgent ones those to which this
    peer is the nearest before those where it only helps out.
    """

    def __init__(self) -> None:
        self._openings: dict[TaskKey, Opening] = {}
        self._waiting: dict[TaskKey, Opening] = {}
        self._nearest: WorkflowPriorityQueue[TaskKey] = WorkflowPriorityQueue()
        self._helping: WorkflowPriorityQueue[TaskKey] = WorkflowPriorityQueue()

    def __iter__(self) -> Iterator[Opening]:
        return iter(self._openings.values())

    def __len__(self) -> int:
        return len(self._openings)

    @property
    def waiting(self) -> Iterable[Opening]:
        """The openings whose turn has not come, for which ranks and sightings still matter."""
        return self._waiting.values()

    def get(self, key: TaskKey) -> Opening | None:
        """The opening of a task."""
        return self._openings.get(key)

    def add(self, opening: Opening) -> None:
        """A task may be claimed; replaces what was known of it."""
        self.remove(opening.key)
        self._openings[opening.key] = self._waiting[opening.key] = opening

    def remove(self, key: TaskKey) -> None:
        """A task may no longer be claimed."""
        self._openings.pop(key, None)
        self._waiting.pop(key, None)
        for queue in (self._nearest, self._helping):
            if key in queue:
                queue.remove(key)

    def pop_due(self, now: float, waits: Mapping[TaskKey, float | None]) -> Opening | None:
        """Takes out the opening to claim now, if one is due. `waits` has what the waiting ones leave to nearer peers,
        in seconds, None where this peer does not fit."""
        for opening in [each for each in self._waiting.values() if _due(each, waits) <= now]:
            queue = self._nearest if opening.nearest else self._helping
            if len(queue) < QUEUE_MAX:
                queue.push(opening.key, opening.priority, opening.lamport, opening.opens_at)
                del self._waiting[opening.key]
        ready = self._most_urgent(now)
        return None if ready is None else self._openings.pop(ready.pop().task)

    def _most_urgent(self, now: float) -> WorkflowPriorityQueue[TaskKey] | None:
        queues = [queue for queue in (self._nearest, self._helping) if queue]
        for queue in queues:
            queue.age(now)
        return min(queues, key=lambda queue: queue.peek().aged, default=None)

    def next_due(self, waits: Mapping[TaskKey, float | None]) -> float:
        """When the next opening is due, infinity if none ever is; minus infinity if one is due already."""
        if self._nearest or self._helping:
            return float("-inf")
        return min((_due(opening, waits) for opening in self._waiting.values()), default=float("inf"))


def _due(opening: Opening, waits: Mapping[TaskKey, float | None]) -> float:
    wait = waits.get(opening.key)
    return float("inf") if wait is None else opening.opens_at + wait
