"""What goes wrong with a database file, told to the person who can mend it."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from coterie_protocols.errors import UserError

_PRIMARY_CODE = 0xFF  # the low byte of an extended result code: sqlite.org/rescode.html


class StoreFailed(UserError):
    """The database cannot be read or written; what was being written is undone whole."""

    code = "store-failed"
    exit_code = 74


@contextmanager
def failures_of(path: Path) -> Generator[None, None, None]:
    """Turns what the disk, the file or another program did into `StoreFailed`; our own mistakes pass unchanged."""
    try:
        yield
    except sqlite3.Error as error:
        failure = _from_sqlite(path, error)
        if failure is None:
            raise
        raise failure from error
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be opened: {error.strerror}",
            f"check that {path.parent} exists, that the daemon's user may write there, and that the disk has room",
        ) from error


def damaged(path: Path, what: str) -> StoreFailed:
    """The failure of a file whose content is not what was written."""
    return StoreFailed(
        f"{path} is damaged or no database: {what}",
        f"stop the daemon, move {path.name}, {path.name}-wal and {path.name}-shm out of {path.parent}, restore a "
        "backup if there is one, and start again: the other peers still have the events and send them",
    )


def _from_sqlite(path: Path, error: sqlite3.Error) -> StoreFailed | None:
    extended: int | None = getattr(error, "sqlite_errorcode", None)  # absent on errors of the module itself
    if extended is None:
        return None
    name = error.sqlite_errorname
    match extended & _PRIMARY_CODE:
        case sqlite3.SQLITE_FULL:
            return StoreFailed(
                f"no room is left for {path}",
                f"free space on the file system of {path.parent}; nothing was half written, so then simply go on",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return StoreFailed(
                f"{path} cannot be opened or written ({name})",
                f"give the daemon's user write access to {path.parent} and all files in it, and check that the file "
                "system is not mounted read-only",
            )
        case sqlite3.SQLITE_IOERR:
            return StoreFailed(
                f"the disk failed while {path} was in use ({name})",
                "check the disk, its free space and any quota or file size limit; nothing was half written",
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return StoreFailed(
                f"another program keeps {path} locked",
                f"end that program (`fuser {path}` names it): only the daemon may write this file",
            )
        case _:
            return None
