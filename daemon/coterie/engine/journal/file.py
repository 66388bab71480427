"""The database file of a journal: whose it is, how safely it is written, how far its schema has come."""

import fcntl
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal
from weakref import finalize

from coterie.engine.journal.errors import JournalDamaged, JournalFailed, JournalInUse, damaged, journal_errors
from coterie.store.errors import StoreFailed
from coterie.store.upgrade import Migration, create_private, sync_directory, upgrade

Durability = Literal["strict", "relaxed", "none"]
"""What outlives what. strict: a commit outlives a power cut. relaxed: it outlives the death of the process, and a power
cut may take the last few, the newest first. none: a power cut may damage the file."""

APPLICATION_ID: Final = 0x436F744A
BUSY_TIMEOUT_S: Final = 0.25  # the whole engine waits meanwhile, and nobody else has business here
WAL_PAGES: Final = 1_000  # a commit that makes the write-ahead log longer than this copies it into the database
WAL_BYTES_KEPT: Final = 16 * 1024 * 1024  # a log that grew beyond this in one burst is cut back
WAL_IDLE_BYTES_MAX: Final = 256 * 1024  # what may stay in the log while nothing runs
CACHE_KIB: Final = 16 * 1024
STATEMENTS_MAX: Final = 128
QUICK_CHECK_BYTES_MAX: Final = 32 * 1024 * 1024  # larger files are read through only when somebody asks
VACUUM_PAGES_MAX: Final = 256  # given back to the file system in one go
PROBLEMS_MAX: Final = 20
_WRITE_AHEAD: Final = "PRAGMA journal_mode = WAL"
_SYNCHRONOUS: Final[dict[Durability, str]] = {"strict": "FULL", "relaxed": "NORMAL", "none": "OFF"}

Row = tuple[Any, ...]
"""What SQLite gave, column by column."""


class JournalFile:
    """The one connection to `path`, created with mode 0600 if need be, locked against other engines; None is memory.

    Raises JournalInUse, JournalFailed, JournalDamaged. One thread at a time.
    """

    def __init__(self, path: Path | None, durability: Durability) -> None:
        self.path = path
        self.place = "the journal in memory" if path is None else str(path)
        self._closed = False
        self._lock = None if path is None else _locked(path)
        try:
            self.durability = durability
            self.connection = self._open(durability)
            finalize(self, self.connection.close)  # engines without a file are seldom closed by who made them
        except BaseException:
            self._unlock()
            raise

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query; no read transaction is left open."""
        with journal_errors(self.place):
            return self.connection.execute(sql, values).fetchall()

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """The first row of a query."""
        rows = self.all(sql, values)
        return rows[0] if rows else None

    def integer(self, sql: str, values: Sequence[object] = ()) -> int:
        """The first column of the first row of a query that always has one."""
        rows = self.all(sql, values)
        return int(rows[0][0])

    @contextmanager
    def transaction(self, *, sync: bool = True) -> Generator[sqlite3.Connection]:
        """All of it or nothing; durable when it is left, without `sync` when the next one is."""
        connection = self.connection
        lazily = not sync and self.durability == "strict"
        with journal_errors(self.place):
            if lazily:  # the sync of a later commit takes all of the log with it
                connection.execute("PRAGMA synchronous = NORMAL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # SQLite may have rolled back by itself
                    connection.execute("ROLLBACK")
                if lazily:
                    connection.execute("PRAGMA synchronous = FULL")

    def used_bytes(self) -> int:
        """The size of the database without what is free in it."""
        pages = self.integer("PRAGMA page_count") - self.integer("PRAGMA freelist_count")
        return pages * self.integer("PRAGMA page_size")

    def tidy(self) -> bool:
        """Copies a long log into the database and gives free pages back; says whether there is more to give back."""
        if self.path is None:
            return False
        free = self.integer("PRAGMA freelist_count")
        if free > 0:
            with journal_errors(self.place):  # a script: a cursor would stop after one page
                self.connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES_MAX})")
        more = self.integer("PRAGMA freelist_count") > 0
        if (free > 0 and not more) or self._log_bytes() > WAL_IDLE_BYTES_MAX:
            self.all("PRAGMA wal_checkpoint(TRUNCATE)")
        return more

    def quick_check(self) -> tuple[str, ...]:
        """What is wrong with the file, at most PROBLEMS_MAX findings; empty when all is well. Reads every page."""
        try:
            rows = self.all(f"PRAGMA quick_check({PROBLEMS_MAX})")
        except JournalDamaged as failure:
            return (failure.message,)
        return tuple(str(row[0]) for row in rows if row[0] != "ok")

    def close(self) -> None:
        """Puts the log into the database, where there is room, and lets go of the file. May be called again."""
        if self._closed:
            return
        self._closed = True
        try:
            # On a full disk the log stays what it is, and every commit is in it: the next opening goes on from there.
            with suppress(sqlite3.OperationalError):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self.connection.close()
            self._unlock()

    def _open(self, durability: Durability) -> sqlite3.Connection:
        with journal_errors(self.place):
            if self.path is not None:
                create_private(self.path)
            connection = sqlite3.connect(
                ":memory:" if self.path is None else self.path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                cached_statements=STATEMENTS_MAX,
                check_same_thread=False,  # an engine may be made in one thread and run in another
            )
            try:
                self._prepare(connection, durability)
            except BaseException:
                connection.close()
                raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, durability: Durability) -> None:
        tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and owner != APPLICATION_ID:
            raise JournalFailed(f"{self.place} is a database of another program", "name another file for the journal")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first table alone
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA cell_size_check = ON")  # finds damaged pages as they are read
        connection.execute("PRAGMA trusted_schema = OFF")
        if self.path is not None:
            self._write_ahead(connection, durability)
            self._check(connection, self.path)
        try:
            upgrade(connection, self.path or Path(self.place), shipped())
        except StoreFailed as failure:  # of a newer version
            raise JournalFailed(failure.message, failure.hint) from failure
        if self.path is not None:
            sync_directory(self.path.parent)

    def _write_ahead(self, connection: sqlite3.Connection, durability: Durability) -> None:
        mode: str = connection.execute(_WRITE_AHEAD).fetchone()[0]
        if mode != "wal":
            raise JournalFailed(
                f"the file system of {self.place} cannot hold a write-ahead log",
                "name a file on a local disk for the journal; network file systems do not do",
            )
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")

    def _check(self, connection: sqlite3.Connection, path: Path) -> None:
        if path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
            finding: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if finding != "ok":
                raise damaged(self.place, finding.splitlines()[-1])

    def _log_bytes(self) -> int:
        try:
            return os.stat(f"{self.place}-wal").st_size
        except FileNotFoundError:
            return 0

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def shipped() -> tuple[Migration, ...]:
    """The migrations of this release, numbered from 1 without a gap."""
    folder = resources.files("coterie.engine.journal").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = tuple(Migration(int(name[:4]), folder.joinpath(name).read_text("utf-8")) for name in names)
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError(f"migrations are not numbered from 1 without a gap: {names}")
    return migrations


def _locked(path: Path) -> int:
    """The descriptor of a file beside `path` that this process alone holds, until it closes it or dies.

    Not of the database itself: to close any descriptor of that would drop the locks that SQLite has on it.
    """
    beside = path.with_name(f"{path.name}.lock")
    with journal_errors(str(beside)):
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise JournalInUse(
            f"another engine uses {path}" + (f" (process {owner})" if owner else ""),
            "submit to that one, or end it, or give this one a file of its own",
        ) from None
    except OSError as error:
        os.close(lock)
        raise JournalFailed(
            f"{beside} cannot be locked: {error.strerror}", "name a file on a local disk with room for the journal"
        ) from error
    return lock
