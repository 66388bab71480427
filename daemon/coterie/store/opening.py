"""Opens the database file: whose it is, how safely it is written, how far its schema has come."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from coterie.store.errors import StoreFailed, failures_of
from coterie.store.upgrade import Migration, create_private, shipped, sync_directory, upgrade

APPLICATION_ID = 0x436F7465
BUSY_TIMEOUT_S = 0.25  # the whole daemon waits meanwhile, and nobody else has business here
WAL_PAGES = 1_000  # a commit that makes the write-ahead log longer than this copies it into the database
WAL_BYTES_KEPT = 16 * 1024 * 1024  # a log that grew beyond this in one burst is cut back
CACHE_KIB = 8 * 1024


def open_database(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """The one connection to `path`, created with mode 0600 if need be, upgraded to the present schema.

    Every commit on it is fsynced (WAL, synchronous=FULL: sqlite.org/pragma.html#pragma_synchronous).
    Raises StoreFailed.
    """
    with failures_of(path):
        create_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _refuse_foreign(connection, path)
            _configure(connection, path)
            upgrade(connection, path, shipped() if migrations is None else migrations)
            connection.execute("PRAGMA foreign_keys = ON")
            sync_directory(path.parent)
        except BaseException:
            connection.close()
            raise
    return connection


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        raise StoreFailed(
            f"{path} is a database of another program",
            f"move it out of {path.parent}, or name another data directory with `data_dir`",
        )


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreFailed(
            f"the file system of {path} cannot hold a write-ahead log",
            "name a data directory on a local disk with `data_dir`; network file systems do not do",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA cell_size_check = ON")  # finds damaged pages as they are read
    connection.execute("PRAGMA trusted_schema = OFF")
