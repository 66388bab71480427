"""Durable appends of one's own events: signed, put into the clock and fsynced, one by one and in batches.

The floor is a bare signature and a bare SQLite commit of the same bytes with the same settings.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_store import bare_commits, seconds
from bench.figures import Effort, Figure, main
from bench.histories import START_MS, History, working_history
from coterie.store.sqlite import SqliteStore
from coterie_protocols.clock import Clock
from coterie_protocols.event import Event

EVENTS = {Effort.QUICK: 300, Effort.NORMAL: 3_000, Effort.LONG: 10_000}
ROUNDS = 3
BATCH_EVENTS = 64
"""As many stimuli share one commit at most."""
GOAL_ONE_BY_ONE_PER_S = 1_000
GOAL_BATCHED_PER_S = 3_000


def append_s(history: History, path: Path, batch: int) -> float:
    """Seconds for writing ops like those of the history as the newcomer's own events, `batch` of them a commit."""
    with closing(SqliteStore(path)) as store:
        store.append(history.entries)
        clock = Clock(history.entries[0].cid, store)
        for entry in history.entries:
            clock.restore(entry)
        start = time.perf_counter()
        for first in range(0, len(history.events), batch):
            ops = [event.ops for event in history.events[first : first + batch]]
            store.append([clock.write(history.newcomer, each, START_MS) for each in ops])
        return time.perf_counter() - start


def bare_s(history: History, path: Path, batch: int) -> float:
    """Seconds for signing and committing the same bytes."""
    return bare_commits(path, history.events, batch) + _bare_signatures_s(history, history.events)


def _bare_signatures_s(history: History, events: Sequence[Event]) -> float:
    return seconds(lambda: [history.newcomer.sign(event.data) for event in events])


def measure(effort: Effort) -> Iterator[Figure]:
    """Both paces, each the best of a few rounds, ours and the floor in turn."""
    history = working_history(EVENTS[effort])
    count = len(history.events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, batch, goal in (
            ("append, one by one", 1, GOAL_ONE_BY_ONE_PER_S),
            (f"append, {BATCH_EVENTS} to a commit", BATCH_EVENTS, GOAL_BATCHED_PER_S),
        ):
            ours: list[float] = []
            floors: list[float] = []
            for number in range(ROUNDS):
                floors.append(bare_s(history, folder / f"bare-{batch}-{number}.db", batch))
                ours.append(append_s(history, folder / f"ours-{batch}-{number}.db", batch))
            yield Figure(
                what=what,
                value=count / min(ours),
                unit="events/s",
                better="more",
                goal=goal,
                floor=count / min(floors),
                floor_is="bare signature and commit",
            )


if __name__ == "__main__":
    main(measure)
