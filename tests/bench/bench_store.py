"""What the store costs, each figure beside a floor measured in the same run: `python tests/bench/bench_store.py`.

The floors are what nobody can go below here: a bare SQLite transaction with the same settings and the same bytes,
and a bare Ed25519 check. A ratio of 1.5x means half as much time again as the floor.
"""

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from nacl.signing import SigningKey as NaclKey

from coterie.store.opening import BUSY_TIMEOUT_S
from coterie.store.sqlite import SqliteStore
from coterie_protocols.event import Event, Tip, decode_event_untrusted, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.ops import Claim, Genesis, RunId

EVENTS = 100_000
AUTHORS = 10
ONE_BY_ONE = 2_000
MERGED = 10_000
BATCH = 200
NEWEST = 100
FRAME_BYTES = 60 * 1024
ROUNDS = 5


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


def show(what: str, count: int, ours_s: float, floor: str, floor_s: float) -> None:
    """One line: events a second, microseconds an event, the floor, the ratio."""
    us, floor_us = ours_s / count * 1e6, floor_s / count * 1e6
    print(f"{what:<34} {count / ours_s:>9,.0f}/s {us:8.1f} us  {floor:<32} {floor_us:8.1f} us {us / floor_us:6.2f}x")


def bench_writing(folder: Path, events: list[Event]) -> None:
    """Append and merge, on files of their own; best of a few rounds, ours and the floor in turn."""

    def best(name: str, measure: Callable[[Path], float]) -> float:
        return min(measure(folder / f"{name}{number}.db") for number in range(ROUNDS))

    few, some = events[:ONE_BY_ONE], events[:MERGED]
    floor_s = best("bare-one", lambda path: bare_commits(path, few, 1))
    show("append, one by one", len(few), best("one", lambda path: appends(path, few, 1)), "bare commit each", floor_s)
    floor_s = best("bare", lambda path: bare_commits(path, some, BATCH))
    show(
        f"append, {BATCH} at a time",
        len(some),
        best("batch", lambda path: appends(path, some, BATCH)),
        "bare commits",
        floor_s,
    )
    floor_s += best("checks", lambda _: bare_checks(some))
    show(
        "merge: decode, verify, append",
        len(some),
        best("merge", lambda path: merge(path, some)),
        "bare checks and commits",
        floor_s,
    )


def bench_reading(folder: Path, events: list[Event]) -> None:
    """Open, replay, and what a peer lacks, on one large store."""
    path = folder / "coterie.db"
    filled_s = appends(path, events, BATCH)
    bare_s = bare_commits(folder / "plain.db", events, BATCH)
    show(f"append, up to {len(events):,}", len(events), filled_s, "bare commits", bare_s)
    print(f"{'size on disk':<34} {path.stat().st_size / len(events):>9,.0f} B an event of {len(events[-1].data)} B")
    print(f"{'open':<34} {min(seconds(lambda: SqliteStore(path).close()) for _ in range(ROUNDS)) * 1e3:>9,.1f} ms")
    with closing(SqliteStore(path)) as store:
        bare_s = min(bare_read(folder / "plain.db") for _ in range(ROUNDS))
        replay_s = min(seconds(lambda: sum(len(data) for data in store.replay())) for _ in range(ROUNDS))
        show("replay", len(events), replay_s, "bare read", bare_s)
        all_s = min(seconds(lambda: send_all(store, {})) for _ in range(ROUNDS))
        show("missing: everything", len(events), all_s, "bare read", bare_s)
        newest = frontier(events[:-NEWEST])
        assert send_all(store, newest) == NEWEST
        newest_s = min(seconds(lambda: send_all(store, newest)) for _ in range(ROUNDS))
        show(f"missing: the newest {NEWEST}", NEWEST, newest_s, "bare read", bare_s * NEWEST / len(events))
        nothing = frontier(events)
        nothing_s = min(seconds(lambda: send_all(store, nothing)) for _ in range(ROUNDS))
        print(f"{'missing: nothing':<34} {nothing_s * 1e6:>9,.0f} us a session")
        random = Random(2)
        asked = [random.choice(events).cid for _ in range(5_000)]
        headers_s = seconds(lambda: [store.header(cid) for cid in asked])
        print(f"{'header, at random':<34} {headers_s / len(asked) * 1e6:>9,.1f} us each")


def main(count: int) -> None:
    """Prints the table."""
    events = history(count)
    with tempfile.TemporaryDirectory() as folder:
        bench_writing(Path(folder), events)
        bench_reading(Path(folder), events)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
