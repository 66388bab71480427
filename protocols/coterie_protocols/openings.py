"""The attempts that wait to be claimed, as one peer sees them: first for their turn by rank, then for a free slot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coterie_protocols.authority import Authority
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import RunId

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


class Openings:
    """Openings by task. Of those that are due, the most urgent comes first, and among equals the nearest."""

    def __init__(self) -> None:
        self._openings: dict[TaskKey, Opening] = {}

    def __iter__(self) -> Iterator[Opening]:
        return iter(self._openings.values())

    def __len__(self) -> int:
        return len(self._openings)

    def get(self, key: TaskKey) -> Opening | None:
        """The opening of a task."""
        return self._openings.get(key)

    def add(self, opening: Opening) -> None:
        """A task may be claimed; replaces what was known of it."""
        self._openings[opening.key] = opening

    def remove(self, key: TaskKey) -> None:
        """A task may no longer be claimed."""
        self._openings.pop(key, None)

    def pop_due(self, now: float, waits: Mapping[TaskKey, float | None]) -> Opening | None:
        """Takes out the opening to claim now, if one is due."""
        due = [o for o in self._openings.values() if _due(o, waits) <= now]
        if not due:
            return None
        best = min(due, key=lambda o: (o.priority, bool(waits.get(o.key)), o.lamport, o.key))
        return self._openings.pop(best.key)

    def next_due(self, waits: Mapping[TaskKey, float | None]) -> float:
        """When the next opening is due, infinity if none ever is."""
        return min((_due(o, waits) for o in self._openings.values()), default=float("inf"))


def _due(opening: Opening, waits: Mapping[TaskKey, float | None]) -> float:
    wait = waits.get(opening.key)
    return float("inf") if wait is None else opening.opens_at + wait
