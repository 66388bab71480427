"""What a journal forgets, and that the disk gets it back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from coterie.engine.journal import file as journal_file
from coterie.engine.journal import retention as journal_retention
from coterie.engine.journal.port import ExecutionRecord, Note
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie_protocols.errors import NotFound
from journal_model import INLINE_BYTES_MAX, NOW_MS, accepted, completed, open_fast

LARGE = b"x" * 1_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with closing(open_fast(path)) as opened:
        yield opened


def _ended(number: int, key: str | None = None) -> ExecutionRecord:
    return accepted(number, state="completed", ended_ms=NOW_MS + number, key=key)


def test_pruning_forgets_what_ended_long_ago(journal: SqliteJournal, path: Path) -> None:
    for number in range(5):
        journal.create(_ended(number, key=f"key {number}"), [completed(0)])
        journal.commit(f"ex-{number:08d}", notes=[Note(NOW_MS, "paused", None, {})])
    journal.create(accepted(9, state="running"), [completed(0)])
    assert journal.prune(2**40, 60, NOW_MS + 60_003) == 3
    assert [record.id[-1] for record in journal.executions(9)] == ["9", "4", "3"]
    with pytest.raises(NotFound):
        journal.commit("ex-00000000", [completed(0)])
    journal.create(accepted(10, key="key 1"))
    assert journal.prune(2**40, 60, NOW_MS + 60_003) == 0
    assert journal.prune(0, 10**9, NOW_MS) == 2, "bytes count as well as age; what has not ended stays"
    journal.close()
    with closing(sqlite3.connect(path)) as database:
        counts = [
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("execution", "submission", "step", "note", "remains", "plan")
        ]
    assert counts == [2, 2, 1, 0, 0, 1]


def test_pruning_gives_pages_and_files_back(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "VACUUM_PAGES_MAX", 16)
    monkeypatch.setattr(journal_retention, "PIECE_BYTES_MAX", 5_000)
    shared = b"s" * 30_000
    for number in range(20):
        results = [completed(position, b"r" * INLINE_BYTES_MAX) for position in range(200)]
        journal.create(_ended(number), [*results, completed(200, shared), completed(201, b"%d" % number * 20_000)])
    journal.create(accepted(90), [completed(0, shared)])
    before, used = _size(path), journal.used_bytes()
    assert used > 20 * 200 * INLINE_BYTES_MAX
    assert journal.prune(used // 2, 10**9, NOW_MS) in range(8, 13)
    assert used // 3 < journal.used_bytes() <= used // 2
    assert _size(path) < before * 0.6
    journal.prune(0, 0, NOW_MS * 2)
    assert _size(path) < before * 0.1
    assert len(list(path.with_name("journal.db.results").glob("??/*"))) == 1
    assert journal.result("ex-00000090", 0) == shared
    assert journal.quick_check() == ()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file() and "-shm" not in file.name)


def test_pruning_goes_on_in_pieces_also_after_a_restart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_retention, "PIECE_ROWS_MAX", 10)
    with closing(open_fast(path)) as journal:
        for number in range(3):
            journal.create(_ended(number), [completed(position, LARGE + bytes(position)) for position in range(15)])
        piece = journal.prune_piece(0, 0, NOW_MS * 2)
        assert (piece.executions, piece.more) == (1, True)
        assert len(journal.executions(9)) == 2
    orphan = path.with_name("journal.db.results") / "ab" / ("b" * 57 + "ab")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"of a row that was never written")
    orphan.with_name("note").write_bytes(b"somebody else's")
    with closing(open_fast(path)) as journal:
        assert journal.prune(0, 0, NOW_MS * 2) == 2
        assert journal.quick_check() == ()
    assert [file.name for file in path.with_name("journal.db.results").glob("??/*")] == ["note"]


def test_a_long_log_is_cut_when_there_is_time(journal: SqliteJournal, path: Path) -> None:
    journal.create(accepted(1), [completed(position, b"x" * 100) for position in range(10_000)])
    log = path.with_name("journal.db-wal")
    assert log.stat().st_size > journal_file.WAL_IDLE_BYTES_MAX
    assert not journal.tidy()
    assert log.stat().st_size == 0
    assert not journal.tidy()
    log.unlink()
    assert not journal.tidy()
