"""Ten real daemons, one of which writes five events a second: how long until each of the others has each event.

From the moment when an event is durable on its author to the moment when it is durable on each other peer, by stamps
that the daemons take (see timed_daemon.py): nobody asks them anything meanwhile. The events are wishes to cancel one
run, made through the author's control socket, evenly spaced, so that each goes into an announcement of its own.
The floor is one bare durable commit, since each peer makes the event durable before it counts.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_store import bare_commits
from bench.figures import Effort, Figure, main, percentile
from bench.histories import working_history
from bench.testnets import Stamp, client_of, stop_and_read_stamps, submit, timed_testnet
from coterie.control.client import Client

WRITING_S = {Effort.QUICK: 4.0, Effort.NORMAL: 20.0, Effort.LONG: 60.0}
PEERS = 10
EVENTS_PER_S = 5
CALM_S = 5.0
AFTER_S = 2.0
"""Time for the last events to arrive; what is missing then counts as this late."""
FLOOR_COMMITS = 50
GOAL_P99_MS = 300.0


def write_events(author: Client, run: str, seconds: float) -> None:
    """Wishes to cancel the run, again and again, at an even pace."""
    start = time.monotonic()
    for number in range(int(seconds * EVENTS_PER_S)):
        time.sleep(max(0.0, start + number / EVENTS_PER_S - time.monotonic()))
        author.cancel(run, f"event {number}")


def delays_ms(author: str, stamps: dict[str, list[Stamp]], skipped: frozenset[str]) -> list[float]:
    """Milliseconds to each other peer, for each event that the author wrote, save those to be skipped."""
    written = {stamp.whose: stamp.at_ns for stamp in stamps[author] if stamp.what == "event"}
    delays: list[float] = []
    for peer in stamps.keys() - {author}:
        arrived = {stamp.whose: stamp.at_ns for stamp in stamps[peer]}
        for event in written.keys() - skipped:
            late_ns = arrived.get(event, written[event] + int(AFTER_S * 1e9)) - written[event]
            delays.append(late_ns / 1e6)
    return delays


def bare_commit_ms(folder: Path) -> float:
    """One durable commit of a small event, the mean of a few, without anything else."""
    events = working_history(FLOOR_COMMITS).events
    return bare_commits(folder / "bare.db", events, 1) / len(events) * 1e3


def measure(effort: Effort) -> Iterator[Figure]:
    """p50 and p99 over all events and peers."""
    with timed_testnet(PEERS) as state:
        author = state.peers[0]
        run = str(submit(client_of(author), "true", label="nobody-has-this")["run"])
        time.sleep(CALM_S)
        before = time.time_ns()
        floor = bare_commit_ms(state.dir.parent)
        write_events(client_of(author), run, WRITING_S[effort])
        time.sleep(AFTER_S)
        stamps = stop_and_read_stamps(state)
    early = frozenset(stamp.whose for stamp in stamps[author.peer] if stamp.at_ns < before)
    delays = delays_ms(author.peer, stamps, early)
    for percent, goal in ((50, None), (99, GOAL_P99_MS)):
        yield Figure(
            what=f"{PEERS} peers have an event, p{percent}",
            value=percentile(delays, percent),
            unit="ms",
            goal=goal,
            floor=floor,
            floor_is="a bare commit",
            note=f"{len(delays)} arrivals, worst {max(delays):.0f}",
        )


if __name__ == "__main__":
    main(measure)
