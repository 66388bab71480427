"""Each way in which a journal can be unusable gives one clear error that names the file, and loses nothing."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from coterie.disk import DiskFailed
from coterie.engine.journal import file as journal_file
from coterie.engine.journal.errors import (
    JournalDamaged,
    JournalFailed,
    JournalInUse,
    failure_of,
    journal_errors,
)
from coterie.engine.journal.file import shipped
from coterie.engine.journal.port import ExecutionChange, Note
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie_protocols.errors import UserError
from journal_model import INLINE_BYTES_MAX, NOW_MS, accepted, completed, open_fast


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with closing(open_fast(path)) as opened:
        yield opened


def test_two_engines_do_not_share_a_file(journal: SqliteJournal, path: Path) -> None:
    with pytest.raises(JournalInUse, match=f"another engine uses {path} \\(process {os.getpid()}\\)") as caught:
        SqliteJournal(path)
    assert isinstance(caught.value, UserError)
    assert caught.value.hint
    journal.create(accepted(1))
    journal.close()
    code = (
        "import sys, pathlib; from coterie.engine.journal.sqlite_journal import SqliteJournal\n"
        "journal = SqliteJournal(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(JournalInUse, match=f"process {other.pid}"):
            SqliteJournal(path)
        other.kill()
    with closing(open_fast(path)) as again:
        assert again.execution("ex-00000001").id == "ex-00000001"


def _refusal(path: Path) -> DiskFailed:
    with pytest.raises(DiskFailed) as caught:
        SqliteJournal(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("content", [b"garbage", b"x" * 100_000, b"SQLite format 3\x00" + bytes(4080)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert isinstance(_refusal(path), JournalDamaged)
    assert path.read_bytes() == content


def _filled(path: Path) -> None:
    with closing(open_fast(path)) as journal:
        for number in range(40):
            journal.create(accepted(number), [completed(position, b"x" * 150) for position in range(50)])


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_a_torn_file_is_refused(path: Path, keep: float) -> None:
    _filled(path)
    os.truncate(path, int(path.stat().st_size * keep))
    assert isinstance(_refusal(path), JournalDamaged)


def test_pages_that_rotted_are_found_when_the_file_is_opened(path: Path) -> None:
    _filled(path)
    _rot(path)
    assert isinstance(_refusal(path), JournalDamaged)


def _rot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(data)


def test_pages_that_rotted_in_a_large_file_are_found_when_they_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _filled(path)
    _rot(path)
    monkeypatch.setattr(journal_file, "QUICK_CHECK_BYTES_MAX", 0)
    with closing(open_fast(path)) as journal:
        assert journal.quick_check()
        for use in (_read_all, _overwrite_all, _forget_all):
            with pytest.raises(JournalDamaged, match=str(path)):
                use(journal)


def _read_all(journal: SqliteJournal) -> None:
    for number in range(40):
        list(journal.rows(f"ex-{number:08d}"))


def _overwrite_all(journal: SqliteJournal) -> None:
    for number in range(40):
        journal.commit(f"ex-{number:08d}", [completed(position) for position in range(50)])


def _forget_all(journal: SqliteJournal) -> None:
    for number in range(40):
        journal.commit(f"ex-{number:08d}", change=ExecutionChange(state="completed", ended_ms=1))
    journal.prune(0, 0, NOW_MS * 2)


@pytest.mark.parametrize(
    "rotten",
    [
        "UPDATE step SET state = 'complefed'",
        "UPDATE execution SET state = 'runnind'",
        "UPDATE submission SET inputs = '{\"a'",
        "UPDATE execution SET counts = '[1]'",
        "UPDATE note SET kind = 'bailed'",
        "UPDATE note SET body = '{'",
        "UPDATE execution SET name = CAST(x'ff' AS TEXT)",
    ],
)
def test_rows_that_rotted_are_the_files_fault(path: Path, rotten: str) -> None:
    with closing(open_fast(path)) as journal:
        journal.create(accepted(1), [completed(0)])
        journal.commit(
            "ex-00000001", notes=[Note(NOW_MS, "failed", 0, {"name": "go"})], change=ExecutionChange("failed")
        )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(rotten)
    with closing(open_fast(path)) as journal, pytest.raises(JournalDamaged, match=str(path)):
        _read_one(journal)


def _read_one(journal: SqliteJournal) -> None:
    journal.execution("ex-00000001")
    journal.row("ex-00000001", 0)
    journal.notes("ex-00000001")


@pytest.mark.parametrize("method", ["attempts", "signals"])
def test_timelines_of_rotten_notes_too(path: Path, method: str) -> None:
    with closing(open_fast(path)) as journal:
        journal.create(accepted(1), [completed(0)])
        journal.commit("ex-00000001", notes=[Note(NOW_MS, kind, 0, {"name": "go"}) for kind in ("failed", "signalled")])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE note SET body = '[\"go\"]'")
        database.execute("UPDATE note SET body = '{\"name\":\"go\",}' WHERE kind = 'signalled'")
    with closing(open_fast(path)) as journal, pytest.raises(DiskFailed, match=str(path)):
        list(journal.attempts("ex-00000001") if method == "attempts" else journal.signals("ex-00000001", "go"))


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE bookmark (url TEXT)")
    before = path.read_bytes()
    assert "another program" in _refusal(path).message
    assert path.read_bytes() == before


def test_a_journal_of_a_newer_version_is_refused(path: Path) -> None:
    _filled(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {len(shipped()) + 1}")
    assert "newer coterie" in _refusal(path).message


def test_migrations_without_a_number_are_our_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0002_late.sql").write_text("")
    (folder / "README").write_text("")

    def package(_: str) -> Path:
        return tmp_path

    monkeypatch.setattr("importlib.resources.files", package)
    with pytest.raises(ValueError, match="without a gap"):
        shipped()


def test_a_directory_or_nothing_in_the_place_of_the_file(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    assert "cannot be opened" in _refusal(path).message
    with pytest.raises(JournalFailed, match=r"nowhere.*cannot be opened"):
        SqliteJournal(tmp_path / "nowhere" / "journal.db")


def test_a_file_system_without_logs_or_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", refuse)
        with pytest.raises(JournalFailed, match=r"journal\.db\.lock cannot be locked: No locks available"):
            SqliteJournal(path)

    monkeypatch.setattr(journal_file, "_WRITE_AHEAD", "PRAGMA journal_mode = DELETE")
    with pytest.raises(JournalFailed, match="cannot hold a write-ahead log"):
        SqliteJournal(path)


def test_a_second_program_that_writes_is_named_as_the_cause(journal: SqliteJournal, path: Path) -> None:
    journal.create(accepted(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match="another program keeps") as caught:
            journal.commit("ex-00000001", [completed(0)])
        assert "fuser" in caught.value.hint
        with pytest.raises(JournalFailed, match="another program keeps"):
            journal.create(accepted(2))
        other.execute("ROLLBACK")
    journal.commit("ex-00000001", [completed(0)])
    assert [row.position for row in journal.rows("ex-00000001")] == [0]


def test_our_own_mistakes_are_not_blamed_on_the_disk(journal: SqliteJournal) -> None:
    journal.create(accepted(1))
    with pytest.raises(sqlite3.IntegrityError):
        journal.create(accepted(1))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit("ex-00000001", [completed(0, state=None)])
    with pytest.raises(sqlite3.OperationalError), journal_errors("journal.db"):
        raise sqlite3.OperationalError("no such table: nonsense")
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.executions(1)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (sqlite3.SQLITE_FULL, "no room is left for"),
        (sqlite3.SQLITE_IOERR_FSYNC, "the disk failed"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "cannot be opened or written"),
    ],
)
def test_what_the_disk_refuses_is_said_in_a_sentence(code: int, said: str) -> None:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_SOMETHING"
    failure = failure_of("/data/journal.db", error)
    assert failure is not None
    assert said in failure.message
    assert "/data/journal.db" in failure.message
    assert (failure.code, failure.exit_code) == ("journal-failed", 74)


def test_a_full_disk_loses_nothing_and_the_journal_goes_on(journal: SqliteJournal) -> None:
    journal.create(accepted(1))
    connection = journal._file.connection  # pyright: ignore[reportPrivateUsage]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(DiskFailed, match="no room is left"):
        _write_many(journal)
    kept = [row.position for row in journal.rows("ex-00000001")]
    assert kept == list(range(len(kept)))
    connection.execute("PRAGMA max_page_count = 100000")
    journal.commit("ex-00000001", [completed(len(kept))])
    assert len(list(journal.rows("ex-00000001"))) == len(kept) + 1
    assert journal.quick_check() == ()


def _write_many(journal: SqliteJournal) -> None:
    for position in range(1_000):
        journal.commit("ex-00000001", [completed(position, b"x" * INLINE_BYTES_MAX)])
