"""What goes wrong with a journal, told to the person who can mend it."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from coterie.disk import DiskFailed
from coterie_protocols.errors import UserError

_PRIMARY_CODE = 0xFF  # the low byte of an extended result code: sqlite.org/rescode.html
_NOT_WHAT_WAS_WRITTEN = ("Could not decode to UTF-8", "malformed JSON")  # these have no code of their own


class KeyTaken(UserError):
    """An execution was submitted with that key already; `execution` is its id."""

    code = "key-taken"

    def __init__(self, key: str, execution: str) -> None:
        super().__init__(f"execution {execution} was submitted with the key {key!r} before", "use another key")
        self.key = key
        self.execution = execution


class JournalInUse(UserError):
    """Another engine keeps its executions in the same file."""

    code = "journal-in-use"
    exit_code = 75


class JournalFailed(DiskFailed):
    """The journal cannot be read or written; what was being written is undone whole."""

    code = "journal-failed"


class JournalDamaged(JournalFailed):
    """The file's content is not what was written."""

    code = "journal-damaged"


@contextmanager
def journal_errors(place: str) -> Generator[None]:
    """Turns what the disk, the file or another program did into `JournalFailed`; our own mistakes pass unchanged.

    `place` is the path of the file.
    """
    try:
        yield
    except sqlite3.Error as error:
        failure = failure_of(place, error)
        if failure is None:
            raise
        raise failure from error
    except OSError as error:
        raise JournalFailed(
            f"{place} cannot be opened or written: {error.strerror}",
            "check that its folder exists, that this user may write there, and that the disk has room",
        ) from error


def damaged(place: str, what: str) -> JournalDamaged:
    """The failure of a file whose content is not what was written."""
    return JournalDamaged(
        f"{place} is damaged or no journal: {what}",
        "stop the engine, move this file and those that begin with its name elsewhere, and put a backup in their place "
        "if there is one; without one the engine begins anew and knows none of its executions",
    )


def failure_of(place: str, error: sqlite3.Error) -> JournalFailed | None:
    """What `error` means to the user; None where it is a mistake of ours."""
    if str(error).startswith(_NOT_WHAT_WAS_WRITTEN):
        return damaged(place, str(error))
    extended: int | None = getattr(error, "sqlite_errorcode", None)  # absent on errors of the module itself
    if extended is None:
        return None
    name = error.sqlite_errorname
    match extended & _PRIMARY_CODE:
        case sqlite3.SQLITE_FULL:
            return JournalFailed(
                f"no room is left for {place}", "free space on its file system; nothing was half written, so then go on"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return JournalFailed(
                f"{place} cannot be opened or written ({name})",
                "give this user write access to it and to its folder, and check that the file system is not mounted "
                "read-only",
            )
        case sqlite3.SQLITE_IOERR:
            return JournalFailed(
                f"the disk failed while {place} was in use ({name})",
                "check the disk, its free space and any quota or file size limit; nothing was half written",
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(place, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return JournalFailed(
                f"another program keeps {place} locked",
                f"end that program (`fuser {place}` names it): only one engine may write this file",
            )
        case _:
            return None
