"""Brings a database to the present schema, one numbered SQL file and one transaction at a time.

`user_version` holds the number of the last file that was applied; SQLite writes it in the same transaction.
"""

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from coterie.store.errors import StoreFailed


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    sql: str


def shipped() -> tuple[Migration, ...]:
    """The migrations of this release, numbered from 1 without a gap."""
    folder = files("coterie.store").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = tuple(Migration(int(name[:4]), folder.joinpath(name).read_text("utf-8")) for name in names)
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError(f"migrations are not numbered from 1 without a gap: {names}")
    return migrations


def upgrade(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Applies what `path` lacks, after a copy to `<name>.v<version>.backup` if it holds an older schema.

    To be called with foreign keys off, as tables may be rebuilt. Raises StoreFailed for a newer schema.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise StoreFailed(
            f"{path} was written by a newer coterie (schema {version}; this one knows {len(migrations)})",
            "install that version again, or restore the backup that lies beside the file from before its upgrade",
        )
    if 0 < version < len(migrations):
        _back_up(connection, path, version)
    for migration in migrations[version:]:
        _apply(connection, migration)


def sync_directory(folder: Path) -> None:
    """Makes names created or changed in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_private(path: Path) -> None:
    """Creates an empty file that others can't read, unless there is a file. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{migration.sql}\nPRAGMA user_version = {migration.version};")
        dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
        if dangling:
            raise ValueError(f"migration {migration.version} leaves dangling references: {dangling[:3]}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    draft = path.with_name(f"{path.name}.part")
    try:
        draft.unlink(missing_ok=True)
        create_private(draft)  # VACUUM INTO accepts an empty file and keeps its mode
        connection.execute("VACUUM INTO ?", (str(draft),))
        with draft.open("rb") as copy:
            os.fsync(copy.fileno())
        draft.replace(path.with_name(f"{path.name}.v{version}.backup"))
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)
