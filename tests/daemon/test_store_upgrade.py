"""Migrations: in order, each whole or not at all, with a copy of the old file beside the new."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from contracts.event_pen import cids, history
from contracts.store_contract import stored
from coterie.store.errors import StoreFailed
from coterie.store.opening import APPLICATION_ID, open_database
from coterie.store.sqlite import SqliteStore
from coterie.store.upgrade import Migration, shipped

NEXT = len(shipped()) + 1
ADDS_A_TABLE = Migration(NEXT, "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT;\nINSERT INTO extra VALUES (7);")


def _setting(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_file_has_the_present_schema_and_safe_settings(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "coterie.db")) as connection:
        assert _setting(connection, "user_version") == len(shipped())
        assert _setting(connection, "application_id") == APPLICATION_ID
        assert _setting(connection, "journal_mode") == "wal"
        assert _setting(connection, "synchronous") == 2  # FULL: every commit is fsynced
        assert _setting(connection, "foreign_keys") == 1
        tables = connection.execute(
            "SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite%'"
        ).fetchall()
        assert tables
        assert all(strict for _, strict in tables)
    assert [path.name for path in tmp_path.iterdir()] == ["coterie.db"]


def test_an_upgrade_keeps_the_events_and_a_copy_of_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    events = history(30)
    with closing(SqliteStore(path)) as store:
        store.append(events)
    with closing(open_database(path, [*shipped(), ADDS_A_TABLE])) as connection:
        assert _setting(connection, "user_version") == NEXT
        assert connection.execute("SELECT id FROM extra").fetchall() == [(7,)]
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (30,)
    copy = tmp_path / f"coterie.db.v{NEXT - 1}.backup"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["coterie.db", copy.name]
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(SqliteStore(copy)) as old:
        assert cids(stored(old)) == cids(events)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    open_database(path, [*shipped(), ADDS_A_TABLE]).close()
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match=f"newer coterie .schema {NEXT}; this one knows {NEXT - 1}") as caught:
        SqliteStore(path)
    assert "install that version again" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("CREATE TABLE extra (id INTEGER) STRICT; INSERT INTO nowhere VALUES (1);", sqlite3.OperationalError),
        ("CREATE TABLE extra (id INTEGER) STRICT; INSERT INTO chain (author, base) VALUES ('x', 999);", ValueError),
    ],
    ids=["an error in the middle", "a dangling reference"],
)
def test_a_migration_that_fails_leaves_the_old_schema_whole(tmp_path: Path, sql: str, error: type[Exception]) -> None:
    path = tmp_path / "coterie.db"
    with closing(SqliteStore(path)) as store:
        store.append(history(10))
    with pytest.raises(error):
        open_database(path, [*shipped(), ADDS_A_TABLE, Migration(NEXT + 1, sql.replace("extra", "second"))])
    with closing(open_database(path, [*shipped(), ADDS_A_TABLE])) as connection:
        assert _setting(connection, "user_version") == NEXT
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'second'").fetchall() == []
        assert connection.execute("SELECT count(*), max(position) FROM event").fetchone() == (10, 10)


def test_a_half_made_copy_from_before_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "coterie.db"
    SqliteStore(path).close()
    (tmp_path / "coterie.db.part").write_bytes(b"half")
    open_database(path, [*shipped(), ADDS_A_TABLE]).close()
    assert not (tmp_path / "coterie.db.part").exists()
    SqliteStore(tmp_path / f"coterie.db.v{NEXT - 1}.backup").close()
