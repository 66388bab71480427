"""Merging a stranger's log on one core: decoded, verified, ordered, applied and stored, as after a long absence.

A replica is told frames of about 200 events, as sync sends them, and what it wants saved goes into a real store, one
transaction a frame. The floor is what no implementation with these libraries goes below: one bare signature check an
event, and the same bytes inserted bare.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_store import bare_checks, bare_commits
from bench.figures import Effort, Figure, main
from bench.histories import History, working_history
from coterie.store.sqlite import SqliteStore
from coterie_protocols.clock import NoHeaders
from coterie_protocols.effects import Save
from coterie_protocols.event import Event
from coterie_protocols.identity import SigningKey
from coterie_protocols.messages import Events, encode_message
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import Instant, ReplicaSettings
from coterie_protocols.scheduler_settings import SchedulerSettings
from coterie_protocols.stimuli import FrameReceived

EVENTS = {Effort.QUICK: 5_000, Effort.NORMAL: 20_000, Effort.LONG: 100_000}
ROUNDS = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.LONG: 3}
FRAME_EVENTS = 200
GOAL_PER_S = 5_000


def replica_of(key: SigningKey, events: Sequence[Event], stored: SqliteStore | NoHeaders) -> Replica:
    """A peer that knows the members and nothing else, and offers what nobody asks for."""
    settings = ReplicaSettings("merger", SchedulerSettings(labels=frozenset(("linux",)), slots=2))
    replica = Replica(key, events[0].cid, stored, settings, Random(1))
    replica.load(event.data for event in events)
    replica.start(Instant(0.0, 0), ())
    replica.handle(FrameReceived(key.peer_id, b""), Instant(100.0, 0))  # the time of recovery is over
    return replica


def frames_of(events: Sequence[Event]) -> list[bytes]:
    """The frames in which a member sends the events."""
    batches = [events[start : start + FRAME_EVENTS] for start in range(0, len(events), FRAME_EVENTS)]
    return [encode_message(Events(tuple(event.data for event in batch))) for batch in batches]


def merge_s(history: History, path: Path) -> tuple[float, float]:
    """Seconds until the newcomer has stored everything: of the clock on the wall, and of the processor."""
    with closing(SqliteStore(path)) as store:
        store.append(history.entries)
        replica = replica_of(history.newcomer, history.entries, store)
        frames = frames_of(history.events)
        sender = history.entries[0].header.author
        start, start_cpu = time.perf_counter(), time.process_time()
        for frame in frames:
            effects = replica.handle(FrameReceived(sender, frame), Instant(100.0, 0))
            store.append([effect.event for effect in effects if isinstance(effect, Save)])
        taken, taken_cpu = time.perf_counter() - start, time.process_time() - start_cpu
        missing = len(history.entries) + len(history.events) - replica.clock.count
        assert missing <= 0, f"{missing} events were not merged"
    return taken, taken_cpu


def measure(effort: Effort) -> Iterator[Figure]:
    """Events a second, beside the floor; the best of a few rounds of both, taken in turn."""
    history = working_history(EVENTS[effort])
    count = len(history.events)
    with tempfile.TemporaryDirectory() as folder:
        ours: list[tuple[float, float]] = []
        floors: list[float] = []
        for number in range(ROUNDS[effort]):
            bare = bare_commits(Path(folder) / f"bare{number}.db", history.events, FRAME_EVENTS)
            floors.append(bare + bare_checks(history.events))
            ours.append(merge_s(history, Path(folder) / f"merge{number}.db"))
    event_bytes = sum(len(event.data) for event in history.events) // count
    yield Figure(
        what=f"merge of {count:,} events, stored",
        value=count / min(ours)[0],
        unit="events/s",
        better="more",
        goal=GOAL_PER_S,
        floor=count / min(floors),
        floor_is="bare checks and commits",
        note=f"{event_bytes} B each, {count / min(ours)[1]:,.0f}/s of processor time",
    )


if __name__ == "__main__":
    main(measure)
