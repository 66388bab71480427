"""Killed at any instant, or with the tail of its log lost: what was acknowledged is there, parents first."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from typing import NoReturn

from contracts.event_pen import cids, follow, found, history, signing_key
from contracts.store_contract import stored
from coterie.store.sqlite import SqliteStore
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event

KILLS = 30
AUTHORS = 3
BATCH_MAX = 8
ACKNOWLEDGEMENTS_MAX = 12  # of one writer, before it is killed
SPIN_MAX = 20_000  # steps of an empty loop between an acknowledgement and the kill: up to about a millisecond


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "coterie.db")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{KILLS} kills, nothing lost\n"), done.stdout + done.stderr


def test_a_log_whose_tail_was_lost_keeps_every_batch_before_it_whole(tmp_path: Path) -> None:
    random = Random(3)
    events = history(200)
    cuts = [0, *accumulate(random.randint(1, 20) for _ in range(15))]
    batches = [events[start:end] for start, end in pairwise(cuts)]
    live = tmp_path / "live"
    live.mkdir()
    sizes: list[int] = []
    with closing(SqliteStore(live / "coterie.db")) as store:
        for batch in batches:
            store.append(batch)
            sizes.append((live / "coterie.db-wal").stat().st_size)
        for trial in range(20):
            length = random.randint(0, sizes[-1])
            copy = tmp_path / str(trial)
            copy.mkdir()
            for name in ("coterie.db", "coterie.db-wal"):
                shutil.copyfile(live / name, copy / name)
            _lose_tail(copy / "coterie.db-wal", length, random)
            _check_whole_batches(copy / "coterie.db", batches, acknowledged=sum(size <= length for size in sizes))


def _lose_tail(log: Path, length: int, random: Random) -> None:
    """What a power cut may leave of bytes that were not yet synced: nothing, or anything."""
    size = log.stat().st_size
    os.truncate(log, length)
    if random.random() < 0.5:
        with log.open("ab") as file:
            file.write(random.randbytes(size - length))


def _check_whole_batches(path: Path, batches: list[list[Event]], acknowledged: int) -> None:
    with closing(SqliteStore(path)) as store:
        events = stored(store)
        assert store.quick_check() == ()
    whole = [event for batch in batches[:acknowledged] for event in batch]
    assert cids(events) == cids(whole)


def _main(path: Path) -> None:
    random = Random(2)
    acknowledged = 0
    for _ in range(KILLS):
        acknowledged = _kill_a_writer(path, random)
        with closing(SqliteStore(path)) as store:
            events = stored(store)
            assert len(events) == store.count() >= acknowledged, (len(events), acknowledged)
            assert store.quick_check() == ()
        _assert_parents_come_first(events)
    assert acknowledged > 2 * KILLS
    print(f"{KILLS} kills, nothing lost")


def _assert_parents_come_first(events: list[Event]) -> None:
    seen: set[Cid] = set()
    for event in events:
        header = event.header
        assert seen.issuperset(header.parents)
        assert header.prev is None or header.prev in seen
        seen.add(event.cid)


def _kill_a_writer(path: Path, random: Random) -> int:
    """Starts a writer and kills it at a random instant; returns how many events it acknowledged as stored."""
    reading, writing = os.pipe()
    seed = random.randrange(2**32)
    child = os.fork()
    if child == 0:
        os.close(reading)
        _write_until_killed(path, writing, Random(seed))
    os.close(writing)
    with os.fdopen(reading, "rb") as acknowledgements:
        last = b""
        for _ in range(random.randint(1, ACKNOWLEDGEMENTS_MAX)):
            last = acknowledgements.readline()
        for _ in range(random.randrange(SPIN_MAX)):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for line in acknowledgements:
            last = line
    return int(last)


def _write_until_killed(path: Path, report: int, random: Random) -> NoReturn:
    try:
        store = SqliteStore(path)
        events = stored(store) or [found()]
        store.append(events)
        while True:
            batch: list[Event] = []
            for _ in range(random.randint(1, BATCH_MAX)):
                event = _next_event(events, random)
                batch.append(event)
                events.append(event)
            store.append(batch)
            os.write(report, f"{len(events)}\n".encode())
    finally:
        os._exit(1)  # reached by an error alone; nothing of the parent's may run here


def _next_event(events: list[Event], random: Random) -> Event:
    number = random.randint(1, AUTHORS)
    author = signing_key(number).peer_id
    prev = next((event for event in reversed(events) if event.header.author == author), None)
    return follow(number, events[0], prev, random.sample(events[-4:], min(2, len(events))), str(len(events)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
