"""What the store costs, each figure beside a floor measured in the same run.

The floors are what nobody can go below here: a bare SQLite transaction with the same settings and the same bytes,
and a bare Ed25519 check. A ratio of 1.5x means half as much time again as the floor.
"""

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from nacl.signing import SigningKey as NaclKey

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main
from coterie.store.opening import BUSY_TIMEOUT_S
from coterie.store.sqlite import SqliteStore
from coterie_protocols.event import Event, Tip, decode_event_untrusted, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.ops import Claim, Genesis, RunId

EVENTS = {Effort.QUICK: 10_000, Effort.NORMAL: 30_000, Effort.LONG: 100_000}
AUTHORS = 10
ONE_BY_ONE = 300
MERGED = 10_000
BATCH = 200
NEWEST = 100
FRAME_BYTES = 60 * 1024
ROUNDS = 3


def history(count: int) -> list[Event]:
    """Claims by ten authors, each over the two newest events: what a busy clock looks like."""
    random = Random(1)
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, AUTHORS + 1)]
    events = [_event(keys[0], None, None, ())]
    last: dict[PeerId, Event] = {keys[0].peer_id: events[0]}
    while len(events) < count:
        key = random.choice(keys)
        event = _event(key, events[0], last.get(key.peer_id), events[-2:])
        last[key.peer_id] = event
        events.append(event)
    return events


def _event(key: SigningKey, genesis: Event | None, prev: Event | None, parents: Sequence[Event]) -> Event:
    claim = Claim(RunId("r4k7q2m9x1c8"), "test (3.12, linux)", 1, None, {})
    return write_event(
        key,
        coterie=None if genesis is None else genesis.cid,
        seq=1 if prev is None else prev.header.seq + 1,
        prev=None if prev is None else prev.cid,
        parents=tuple(parent.cid for parent in parents),
        lamport=1 + max((parent.header.lamport for parent in parents), default=0),
        time_ms=1_790_000_000_000,
        ops=(Genesis("bench", bytes(16)) if genesis is None else claim,),
    )


def seconds(measure: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    measure()
    return time.perf_counter() - start


def bare_commits(path: Path, events: Sequence[Event], batch: int) -> float:
    """Seconds for inserting the same bytes into one plain table, `batch` rows a transaction, fsynced."""
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE plain (position INTEGER PRIMARY KEY, data BLOB) STRICT")
        rows = [(event.data,) for event in events]

        def insert() -> None:
            for start in range(0, len(rows), batch):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO plain (data) VALUES (?)", rows[start : start + batch])
                connection.execute("COMMIT")

        return seconds(insert)


def appends(path: Path, events: Sequence[Event], batch: int) -> float:
    """Seconds for appending to a new store, `batch` events a call."""
    with closing(SqliteStore(path)) as store:
        return seconds(lambda: _append(store, events, batch))


def _append(store: SqliteStore, events: Sequence[Event], batch: int) -> None:
    for start in range(0, len(events), batch):
        store.append(events[start : start + batch])


def merge(path: Path, events: Sequence[Event]) -> float:
    """Seconds for decoding, verifying and storing events that came as bytes."""
    received = [event.data for event in events]

    def take_in(store: SqliteStore) -> None:
        for start in range(0, len(received), BATCH):
            store.append([decode_event_untrusted(data) for data in received[start : start + BATCH]])

    with closing(SqliteStore(path)) as store:
        return seconds(lambda: take_in(store))


def bare_checks(events: Sequence[Event]) -> float:
    """Seconds for checking one signature over each event's bytes."""
    key = NaclKey(bytes(range(32)))
    signed = [(event.data, key.sign(event.data).signature) for event in events]

    def check() -> None:
        for message, signature in signed:
            key.verify_key.verify(message, signature)

    return seconds(check)


def bare_read(path: Path) -> float:
    """Seconds for reading all rows of the plain table."""
    with closing(sqlite3.connect(path)) as connection:
        return seconds(lambda: sum(len(row[0]) for row in connection.execute("SELECT data FROM plain")))


def send_all(store: SqliteStore, have: dict[PeerId, Tip]) -> int:
    """How many events a sync session sends to the holder of `have`, frame by frame."""
    after, sent = 0, 0
    while True:
        after, frame = store.missing(have, after, FRAME_BYTES)
        if not frame:
            return sent
        sent += len(frame)


def frontier(events: Sequence[Event]) -> dict[PeerId, Tip]:
    """The last event of each author."""
    return {event.header.author: Tip(event.header.seq, event.cid) for event in events}


def rate(what: str, count: int, ours_s: float, floor_is: str, floor_s: float, note: str = "") -> Figure:
    """Events a second, and the floor in the same unit."""
    return Figure(
        what=what,
        value=count / ours_s,
        unit="events/s",
        better="more",
        floor=count / floor_s,
        floor_is=floor_is,
        note=note,
    )


def bench_writing(folder: Path, events: list[Event]) -> Iterator[Figure]:
    """Append and merge, on files of their own; best of a few rounds, ours and the floor in turn."""

    def best(name: str, measure: Callable[[Path], float]) -> float:
        return min(measure(folder / f"{name}{number}.db") for number in range(ROUNDS))

    few, some = events[:ONE_BY_ONE], events[:MERGED]
    floor_s = best("bare-one", lambda path: bare_commits(path, few, 1))
    ours_s = best("one", lambda path: appends(path, few, 1))
    yield rate("store: append, one by one", len(few), ours_s, "bare commit each", floor_s)
    floor_s = best("bare", lambda path: bare_commits(path, some, BATCH))
    ours_s = best("batch", lambda path: appends(path, some, BATCH))
    yield rate(f"store: append, {BATCH} at a time", len(some), ours_s, "bare commits", floor_s)
    floor_s += best("checks", lambda _: bare_checks(some))
    ours_s = best("merge", lambda path: merge(path, some))
    yield rate("store: decode, verify, append", len(some), ours_s, "bare checks and commits", floor_s)


def bench_reading(folder: Path, events: list[Event]) -> Iterator[Figure]:
    """Open, replay, and what a peer lacks, on one large store."""
    path = folder / "coterie.db"
    filled_s = appends(path, events, BATCH)
    bare_s = bare_commits(folder / "plain.db", events, BATCH)
    size = f"{path.stat().st_size / len(events):.0f} B on disk for an event of {len(events[-1].data)} B"
    yield rate(f"store: append, up to {len(events):,}", len(events), filled_s, "bare commits", bare_s, size)
    opened_s = min(seconds(lambda: SqliteStore(path).close()) for _ in range(ROUNDS))
    yield Figure(what="store: open", value=opened_s * 1e3, unit="ms")
    with closing(SqliteStore(path)) as store:
        bare_s = min(bare_read(folder / "plain.db") for _ in range(ROUNDS))
        replay_s = min(seconds(lambda: sum(len(data) for data in store.replay())) for _ in range(ROUNDS))
        yield rate("store: replay", len(events), replay_s, "bare read", bare_s)
        yield from bench_missing(store, events, bare_s)
        random = Random(2)
        asked = [random.choice(events).cid for _ in range(5_000)]
        headers_s = seconds(lambda: [store.header(cid) for cid in asked])
        yield Figure(what="store: header, at random", value=headers_s / len(asked) * 1e6, unit="us")


def bench_missing(store: SqliteStore, events: list[Event], bare_s: float) -> Iterator[Figure]:
    """What a sync session reads; `bare_s` is the time of reading all rows."""
    all_s = min(seconds(lambda: send_all(store, {})) for _ in range(ROUNDS))
    yield rate("store: missing, everything", len(events), all_s, "bare read", bare_s)
    newest = frontier(events[:-NEWEST])
    assert send_all(store, newest) == NEWEST
    newest_s = min(seconds(lambda: send_all(store, newest)) for _ in range(ROUNDS))
    yield rate(f"store: missing, the newest {NEWEST}", NEWEST, newest_s, "bare read", bare_s * NEWEST / len(events))
    nothing = frontier(events)
    nothing_s = min(seconds(lambda: send_all(store, nothing)) for _ in range(ROUNDS))
    yield Figure(what="store: missing, nothing", value=nothing_s * 1e6, unit="us")


def measure(effort: Effort) -> Iterator[Figure]:
    """Writing, then reading."""
    events = history(EVENTS[effort])
    with tempfile.TemporaryDirectory() as folder:
        yield from bench_writing(Path(folder), events)
        yield from bench_reading(Path(folder), events)


if __name__ == "__main__":
    main(measure)
