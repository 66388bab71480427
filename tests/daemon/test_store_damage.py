"""Each way in which a database file can be unusable gives one clear StoreFailed, and loses nothing."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from contracts.event_pen import cids, history
from contracts.store_contract import stored
from coterie.store.errors import StoreFailed, failures_of
from coterie.store.sqlite import SqliteStore
from coterie_protocols.errors import UserError
from coterie_protocols.event import Event


def _filled(path: Path, count: int = 400) -> None:
    with closing(SqliteStore(path)) as store:
        store.append(history(count))


def _refusal(path: Path) -> StoreFailed:
    with pytest.raises(StoreFailed) as caught:
        SqliteStore(path)
    failure = caught.value
    assert isinstance(failure, UserError)
    assert (failure.code, failure.exit_code) == ("store-failed", 74)
    assert str(path) in failure.message
    assert failure.hint
    return failure


@pytest.mark.parametrize("content", [b"garbage", b"x" * 100_000, b"SQLite format 3\x00" + bytes(4080)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "coterie.db"
    path.write_bytes(content)
    failure = _refusal(path)
    assert "damaged or no database" in failure.message
    assert "move coterie.db" in failure.hint
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    path.touch()
    _filled(path, 5)
    with closing(SqliteStore(path)) as store:
        assert store.count() == 5


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "coterie.db"
    _filled(path)
    os.truncate(path, int(path.stat().st_size * keep))
    assert "damaged" in _refusal(path).message


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE bookmark (url TEXT)")
    before = path.read_bytes()
    assert "another program" in _refusal(path).message
    assert path.read_bytes() == before


def test_pages_that_rotted_are_reported_and_never_taken_for_events(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    events = history(400)
    _filled(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    with closing(SqliteStore(path)) as store:
        assert store.quick_check()
        with pytest.raises(StoreFailed, match="damaged"):
            _read_all(store, events)


def _read_all(store: SqliteStore, events: list[Event]) -> None:
    for event in events:
        assert store.header(event.cid) == event.header
    assert cids(stored(store)) == cids(events)


def test_a_bit_that_flipped_in_an_event_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    events = history(5)
    _filled(path, 5)
    data = path.read_bytes()
    at = data.index(events[2].data) + len(events[2].data) - 10  # in the signature: the map still decodes
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with closing(SqliteStore(path)) as store, pytest.raises(StoreFailed, match="other bytes than were written"):
        store.header(events[2].cid)


def test_a_directory_or_nothing_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "coterie.db").mkdir()
    assert "cannot be opened" in _refusal(tmp_path / "coterie.db").message
    assert "cannot be opened" in _refusal(tmp_path / "nowhere" / "coterie.db").message


def test_a_second_program_that_writes_is_named_as_the_cause(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    events = history(6)
    _filled(path, 3)
    with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="another program keeps") as caught:
            store.append(events[3:])
        assert "fuser" in caught.value.hint
        other.execute("ROLLBACK")
        store.append(events[3:])
        assert cids(stored(store)) == cids(events)


def test_our_own_mistakes_are_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.OperationalError):
        with failures_of(tmp_path):
            connection.execute("SELECT nonsense")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; see the mounted file system below")
def test_a_directory_without_write_permission(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o500)
    assert "cannot be opened" in _refusal(folder / "coterie.db").message


def _in_child(scenario: str, folder: Path, *wrapper: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    return subprocess.run(
        [*wrapper, sys.executable, __file__, scenario, str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _can_mount() -> bool:
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    done = _in_child("limit", tmp_path)
    assert (done.returncode, done.stdout) == (0, "the disk failed; nothing lost; goes on\n"), done.stderr


@pytest.mark.skipif(not _can_mount(), reason="needs root and mount namespaces")
@pytest.mark.parametrize("scenario", ["full", "read-only"])
def test_a_mounted_file_system(tmp_path: Path, scenario: str) -> None:
    mount = 'mount -t tmpfs -o size=1m none "$3" && exec "$0" "$@"'
    done = _in_child(scenario, tmp_path, "unshare", "-m", "sh", "-c", mount)
    assert (done.returncode, done.stdout) == (0, "nothing lost; goes on\n"), done.stderr


def _fill_until_it_fails(store: SqliteStore) -> tuple[StoreFailed, int]:
    """Appends in batches until the store refuses; returns why, and how many events were acknowledged."""
    events = history(6000)
    for start in range(0, len(events), 50):
        try:
            store.append(events[start : start + 50])
        except StoreFailed as failure:
            assert cids(stored(store)) == cids(events[:start])
            assert store.count() == start
            return failure, start
    raise AssertionError("the disk took everything")


def _goes_on(path: Path, acknowledged: int) -> None:
    events = history(6000)
    with closing(SqliteStore(path)) as store:
        assert cids(stored(store)) == cids(events[:acknowledged])
        store.append(events[acknowledged : acknowledged + 50])
        assert store.count() == acknowledged + 50
        assert store.quick_check() == ()


def _scenario_limit(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    with closing(SqliteStore(path)) as store:
        failure, acknowledged = _fill_until_it_fails(store)
    assert "the disk failed" in failure.message, failure.message
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _goes_on(path, acknowledged)
    print("the disk failed; nothing lost; goes on")


def _scenario_full(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        failure, acknowledged = _fill_until_it_fails(store)
        assert "no room is left" in failure.message, failure.message
        assert acknowledged > 0
    subprocess.run(["mount", "-o", "remount,size=4m", str(path.parent)], check=True)
    _goes_on(path, acknowledged)
    print("nothing lost; goes on")


def _scenario_read_only(path: Path) -> None:
    _filled(path, 100)
    subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
    failure = _refusal(path)
    assert "cannot be opened" in failure.message, failure.message
    subprocess.run(["mount", "-o", "remount,rw", str(path.parent)], check=True)
    with closing(SqliteStore(path)) as store:
        assert store.count() == 100
    print("nothing lost; goes on")


if __name__ == "__main__":
    scenarios = {"limit": _scenario_limit, "full": _scenario_full, "read-only": _scenario_read_only}
    scenarios[sys.argv[1]](Path(sys.argv[2]) / "coterie.db")


@pytest.mark.parametrize("place", [5, -1])
def test_an_event_whose_bytes_were_changed_is_not_read_as_sound(tmp_path: Path, place: int) -> None:
    """Also where it decodes as before: its signature would no longer hold, and others would drop us for it."""
    path = tmp_path / "coterie.db"
    events = history(3)
    with closing(SqliteStore(path)) as store:
        store.append(events)
        assert list(store.replay_checked()) == [event.data for event in events]
    data = bytearray(events[1].data)
    data[place] ^= 1
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE event SET data = ? WHERE position = 2", (bytes(data),))
    with (
        closing(SqliteStore(path)) as reopened,
        pytest.raises(StoreFailed, match="position 2 has other bytes than were written"),
    ):
        list(reopened.replay_checked())
