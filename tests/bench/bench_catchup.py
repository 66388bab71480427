"""A peer that was away for 10,000 events comes back: two real daemons, real libp2p over loopback.

From the moment when the newcomer has a connection until the last event is durable there. The floor is what the events
cost without a network and without a coterie: bare signature checks and bare commits.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_merge import FRAME_EVENTS
from bench.bench_store import bare_checks, bare_commits
from bench.figures import Effort, Figure, main
from bench.histories import write_runs
from bench.testnets import client_of, restart_timed, stop_and_read_stamps, timed_testnet, wait_until
from coterie.founding import IDENTITY_FILE
from coterie.network.identity_file import load_or_create_identity
from coterie.store.sqlite import SqliteStore
from coterie.testnet.processes import stop_daemons
from coterie.testnet.state import PeerState
from coterie_protocols.clock import Clock
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import UserError
from coterie_protocols.event import Event, decode_event_untrusted

EVENTS = {Effort.QUICK: 3_000, Effort.NORMAL: 10_000, Effort.LONG: 50_000}
CATCH_UP_TIMEOUT_S = 120.0


def write_history(peer: PeerState, count: int) -> list[Event]:
    """Puts `count` events of the peer's own into its store, while its daemon is down."""
    key = load_or_create_identity(Path(peer.dir) / IDENTITY_FILE)
    with closing(SqliteStore(Path(peer.dir) / "coterie.db")) as store:
        known = [decode_event_untrusted(data, verify=False) for data in store.replay()]
        clock = Clock(Cid(known[0].cid), store)
        for event in known:
            clock.restore(event)
        events = write_runs(clock, key, count)
        store.append(events)
    return events


def floor_s(events: list[Event]) -> float:
    """Bare checks and commits of the same events, as many to a commit as sync brings in a frame."""
    with tempfile.TemporaryDirectory() as folder:
        return bare_checks(events) + bare_commits(Path(folder) / "bare.db", events, FRAME_EVENTS)


def measure(effort: Effort) -> Iterator[Figure]:
    """The time, and how many frames and questions it took."""
    with timed_testnet(2) as state:
        stop_daemons(state.peers)
        here, away = state.peers
        events = write_history(here, EVENTS[effort])
        state = restart_timed(state, here)
        wait_until(lambda: _events_of(here) >= len(events), "the peer that has all", CATCH_UP_TIMEOUT_S, 0.1)
        state = restart_timed(state, away)
        wait_until(lambda: _events_of(away) == _events_of(here), "the other", CATCH_UP_TIMEOUT_S, 0.5)
        floor = floor_s(events)
        stamps = stop_and_read_stamps(state)[away.peer]
    wanted = {event.cid for event in events}
    arrived = [stamp.at_ns for stamp in stamps if stamp.whose in wanted]
    connected = min(stamp.at_ns for stamp in stamps if stamp.what == "connected")
    frames = [stamp for stamp in stamps if stamp.what == "frame" and stamp.at_ns <= max(arrived)]
    questions = [stamp for stamp in stamps if stamp.what == "question" and stamp.at_ns <= max(arrived)]
    megabytes = sum(int(stamp.facts[0]) for stamp in frames) / 1e6
    taken_s = (max(arrived) - connected) / 1e9
    yield Figure(
        what=f"catch up on {len(events):,} events",
        value=taken_s,
        unit="s",
        floor=floor,
        floor_is="bare checks and commits",
        note=f"{len(events) / taken_s:,.0f} events/s; first after {(min(arrived) - connected) / 1e6:.0f} ms",
    )
    yield Figure(what="  frames received", value=len(frames), unit="", note=f"{megabytes:.1f} MB")
    yield Figure(what="  questions asked (round trips)", value=len(questions), unit="", goal=1)


def _events_of(peer: PeerState) -> int:
    try:
        return int(client_of(peer).status()["events"])
    except UserError:
        return -1  # not up yet


if __name__ == "__main__":
    main(measure)
