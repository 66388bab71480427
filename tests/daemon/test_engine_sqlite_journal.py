"""The journal on SQLite: what is kept, and how it is found again."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from coterie.blobs.file_blobs import FileBlobs
from coterie.engine.journal import executions as journal_executions
from coterie.engine.journal import file as journal_file
from coterie.engine.journal.errors import JournalDamaged, KeyTaken
from coterie.engine.journal.port import ExecutionChange, Journal, Note, NoteKind
from coterie.engine.journal.sqlite_journal import RESULT_ROWS, SqliteJournal
from coterie.engine.journal.timeline import Attempt, Totals
from coterie.engine.model import RUN_ENDED, RunState
from coterie_protocols.errors import NotFound, UserError
from journal_model import INLINE_BYTES_MAX, NOW_MS, Model, accepted, completed, open_fast, perform, workload

LARGE = b'"' + b"x" * 100_000 + b'"'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with closing(open_fast(path)) as opened:
        yield opened


def test_it_is_a_journal(journal: SqliteJournal) -> None:
    port: Journal = journal
    assert port.executions(1) == []


@pytest.mark.parametrize("seed", range(12))
def test_it_holds_what_dictionaries_hold(path: Path, seed: int) -> None:
    model, random = Model(), Random(seed)
    journal = open_fast(path)
    for call in workload(seed, 60):
        perform(journal, call)
        model.apply(call)
        if random.random() < 0.1:
            journal.close()
            journal = open_fast(path)
        if random.random() < 0.1:
            journal.tidy()
        if random.random() < 0.05:
            _prune_alike(journal, model)
        if random.random() < 0.2:
            model.assert_kept_in(journal)
    model.assert_kept_in(journal)
    assert journal.quick_check() == ()
    journal.close()


def _prune_alike(journal: SqliteJournal, model: Model) -> None:
    """Prunes some, and drops the same from the model: the oldest that have ended."""
    ended = [kept.record for kept in model.executions.values() if kept.record.state in RUN_ENDED]
    ended.sort(key=lambda record: record.ended_ms or 0)
    before = [record.ended_ms or 0 for record in ended]
    limit = before[len(before) // 2] if before else NOW_MS
    gone = [record for record in ended if (record.ended_ms or 0) < limit]
    assert journal.prune(2**40, 0, limit) == len(gone)
    for record in gone:
        model.drop(record.id)


def test_in_memory_it_is_the_same_without_files() -> None:
    model = Model()
    with closing(SqliteJournal(None, result_inline_bytes_max=2**40)) as journal:
        for call in workload(99, 80):
            perform(journal, call)
            model.apply(call)
        for id_, kept in model.executions.items():
            assert journal.execution(id_) == kept.record
            assert {row.position: journal.result(id_, row.position) for row in journal.rows(id_)} == {
                position: row.result for position, row in kept.rows.items()
            }
        assert not journal.tidy()
        assert journal.prune(0, 0, NOW_MS * 2) > 0


def test_the_file_is_private(journal: SqliteJournal, path: Path) -> None:
    journal.create(accepted(1))
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes) == {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(("durability", "synchronous"), [("strict", 2), ("relaxed", 1), ("none", 0)])
def test_durability_is_how_often_sqlite_syncs(
    path: Path, durability: journal_file.Durability, synchronous: int
) -> None:
    file = journal_file.JournalFile(path, durability)
    assert file.integer("PRAGMA synchronous") == synchronous
    assert file.one("PRAGMA journal_mode") == ("wal",)
    assert file.integer("PRAGMA auto_vacuum") == 2
    file.close()


def test_closing_puts_the_log_into_the_database_and_lets_go(path: Path) -> None:
    journal = open_fast(path)
    journal.create(accepted(1))
    journal.close()
    journal.close()
    assert not path.with_name("journal.db-wal").exists()
    with closing(open_fast(path)) as again:
        assert again.execution("ex-00000001").workflow == "build"


def test_a_key_is_taken_once(journal: SqliteJournal) -> None:
    journal.create(accepted(1, key="release-42"))
    with pytest.raises(KeyTaken, match="ex-00000001") as caught:
        journal.create(accepted(2, key="release-42"), [completed(0)])
    assert (caught.value.execution, caught.value.key, caught.value.code) == ("ex-00000001", "release-42", "key-taken")
    assert [record.id for record in journal.executions(5)] == ["ex-00000001"]
    found = journal.by_key("release-42")
    assert found is not None
    assert found.id == "ex-00000001"
    assert journal.by_key("release-43") is None
    journal.create(accepted(3))
    journal.create(accepted(4))  # no key is taken by none


def test_an_id_is_found_by_what_it_begins_with(journal: SqliteJournal) -> None:
    for number in (11, 12, 20, *range(30, 37)):
        journal.create(accepted(number))
    journal.create(accepted(21, id="ex-00000020-2"))
    assert journal.find("ex-00000011").id == "ex-00000011"
    assert journal.find("ex-00000020").id == "ex-00000020", "the whole id, though another begins with it"
    assert journal.find("ex-00000020-").id == "ex-00000020-2"
    with pytest.raises(UserError, match=r"ex-00000011 \(build\), ex-00000012 \(build\) begin with 'ex-0000001'"):
        journal.find("ex-0000001")
    with pytest.raises(UserError, match="and more begin with"):
        journal.find("ex-0000003")
    with pytest.raises(NotFound, match="ex-7"):
        journal.find("ex-7")
    with pytest.raises(UserError, match="too short"):
        journal.find("ex-")
    with pytest.raises(NotFound, match="ex-x%_"):
        journal.find("ex-x%_")


def test_the_last_and_the_last_that_failed(journal: SqliteJournal) -> None:
    for name in ("@last", "@last-failed"):
        with pytest.raises(NotFound, match=name):
            journal.find(name)
    states: list[RunState] = ["completed", "failed", "failed", "completed", "running"]
    for number, state in enumerate(states):
        journal.create(accepted(number, state=state))
    assert journal.find("@last").id == "ex-00000004"
    assert journal.find("@last-failed").id == "ex-00000002"


def test_the_newest_come_first_and_without_documents(journal: SqliteJournal) -> None:
    for number in range(6):
        journal.create(accepted(number, "test" if number % 2 else "build"))
    assert [record.id[-1] for record in journal.executions(4)] == ["5", "4", "3", "2"]
    assert [record.id[-1] for record in journal.executions(2, "build")] == ["4", "2"]
    assert {record.document for record in journal.executions(9)} == {b""}
    assert journal.executions(9, "none") == []


@pytest.mark.parametrize("method", ["execution", "rows", "notes", "times", "totals", "repeated_ms"])
def test_what_is_not_there_is_not_found(journal: SqliteJournal, method: str) -> None:
    with pytest.raises(NotFound, match="ex-nothing"):
        getattr(journal, method)("ex-nothing")
    with pytest.raises(NotFound):
        journal.commit("ex-nothing", [completed(0)])


def test_documents_are_kept_once_and_only_under_their_own_hash(journal: SqliteJournal, path: Path) -> None:
    document = b"x" * 100_000
    for number in range(20):
        journal.create(accepted(number, document=document, plan_hash="large"))
    assert journal.used_bytes() < 300_000
    with pytest.raises(ValueError, match="names another document"):
        journal.create(accepted(90, document=b"other", plan_hash="large"))
    journal.close()
    with closing(open_fast(path)) as again:
        assert {record.document for record in again.unfinished()} == {document}


def test_documents_are_remembered_within_a_limit(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_executions, "DOCUMENT_BYTES_MAX", 1_000)
    monkeypatch.setattr(journal_executions, "NUMBERS_MAX", 3)
    for number in range(10):
        journal.create(accepted(number, document=bytes([number]) * 300, plan_hash=f"hash {number}"))
    for number in range(10):
        assert journal.execution(f"ex-{number:08d}").document == bytes([number]) * 300
        journal.commit(f"ex-{number:08d}", [completed(0)])


def test_rows_come_in_order_from_any_position(journal: SqliteJournal) -> None:
    journal.create(accepted(1), [completed(position) for position in range(2_500)])
    assert [row.position for row in journal.rows("ex-00000001")] == list(range(2_500))
    assert [row.position for row in journal.rows("ex-00000001", 2_400)] == list(range(2_400, 2_500))
    assert [row.position for row in journal.rows("ex-00000001", 990, 1_020)] == list(range(990, 2_010))
    assert [row.position for row in journal.rows("ex-00000001", 7, 2)] == [7, 8]
    assert list(journal.rows("ex-00000001", 0, 0)) == []
    assert journal.row("ex-00000001", 7) == completed(7, None)
    assert journal.row("ex-00000001", 2_500) is None


def test_rows_may_be_written_while_they_are_read(journal: SqliteJournal) -> None:
    journal.create(accepted(1), [completed(position) for position in range(1_500)])
    for row in journal.rows("ex-00000001"):
        row.compensation = "done"
        journal.commit("ex-00000001", [row])
    assert {row.compensation for row in journal.rows("ex-00000001")} == {"done"}
    assert journal.result("ex-00000001", 3) == b"null"


def test_a_completed_row_that_comes_without_its_result_keeps_it(journal: SqliteJournal) -> None:
    journal.create(accepted(1), [completed(0, b"1"), completed(1, LARGE), completed(2, b"3")])
    journal.commit("ex-00000001", [completed(position, None, compensation="done") for position in range(3)])
    assert [journal.result("ex-00000001", position) for position in range(3)] == [b"1", LARGE, b"3"]
    journal.commit(
        "ex-00000001", [completed(0, None, attempt=2), completed(1, None, state="failed"), completed(2, b"4")]
    )
    assert [journal.result("ex-00000001", position) for position in range(3)] == [None, None, b"4"]
    assert journal.row("ex-00000001", 1) == completed(1, None, state="failed")


def test_text_that_is_no_text_is_kept_as_escapes(journal: SqliteJournal) -> None:
    journal.create(accepted(1), [completed(0, reason="no file \udcff", compensation="\udcfe")])
    journal.commit("ex-00000001", change=ExecutionChange(reason="größer \udcff"))
    row = journal.row("ex-00000001", 0)
    assert row is not None
    assert (row.reason, row.compensation) == ("no file \\udcff", "\\udcfe")
    assert journal.execution("ex-00000001").reason == "größer \\udcff"


def test_a_commit_that_cannot_be_written_leaves_nothing(journal: SqliteJournal) -> None:
    journal.create(accepted(1))
    with pytest.raises(TypeError):
        journal.commit("ex-00000001", [completed(0)], [Note(1, "failed", 0, {"what": object()})])
    with pytest.raises(OverflowError):
        journal.commit("ex-00000001", [completed(0), completed(1, attempt=2**80)])
    assert list(journal.rows("ex-00000001")) == []
    journal.commit("ex-00000001", change=ExecutionChange())
    assert journal.execution("ex-00000001") == accepted(1)


def test_large_results_are_files_in_a_folder_of_the_journal(journal: SqliteJournal, path: Path) -> None:
    journal.create(accepted(1))
    journal.commit("ex-00000001", [completed(0, LARGE), completed(1, b"x" * INLINE_BYTES_MAX)])
    found = list(journal.rows("ex-00000001"))
    assert found[1].result_blob is None
    cid = found[0].result_blob
    assert cid is not None
    file = path.with_name("journal.db.results") / cid[-2:] / cid
    assert file.read_bytes() == LARGE == journal.result("ex-00000001", 0)
    assert journal.result("ex-00000001", 9) is None
    file.write_bytes(b"changed")
    with pytest.raises(JournalDamaged, match=cid):
        journal.result("ex-00000001", 0)
    file.unlink()
    with pytest.raises(JournalDamaged, match=f"gone: {cid}"):
        journal.result("ex-00000001", 0)
    with pytest.raises(JournalDamaged, match="gone: bafynowhere"):
        journal.commit("ex-00000001", [completed(2, None, result_blob="bafynowhere")])


def test_large_results_go_among_the_blobs_that_are_given_and_stay_there(path: Path, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs", 2**20)
    with closing(SqliteJournal(path, durability="none", result_inline_bytes_max=10, blobs=blobs)) as journal:
        journal.create(accepted(1, state="completed", ended_ms=NOW_MS), [completed(0, LARGE)])
        row = journal.row("ex-00000001", 0)
        assert row is not None
        assert row.result_blob is not None
        place = tmp_path / "blobs" / row.result_blob[-2:] / row.result_blob
        assert place.read_bytes() == LARGE
        assert journal.prune(0, 0, NOW_MS * 2) == 1
        assert place.exists(), "they are not the journal's own"
    with closing(SqliteJournal(None, result_inline_bytes_max=10, blobs=blobs)) as journal:
        journal.create(accepted(1), [completed(0, LARGE)])
        assert journal.result("ex-00000001", 0) == LARGE
        row = journal.row("ex-00000001", 0)
        assert row is not None
        assert row.result_blob is not None


def test_results_come_in_order_and_without_those_that_are_none(journal: SqliteJournal) -> None:
    results = {at: LARGE if at == 7 else b"%d" % at for at in range(3 * RESULT_ROWS) if at % 3}
    journal.create(accepted(1), [completed(at, results.get(at)) for at in range(3 * RESULT_ROWS)])
    assert dict(journal.results("ex-00000001", 0, 10**6)) == results
    assert [at for at, _ in journal.results("ex-00000001", 5, 6)] == [5, 7, 8, 10]
    assert list(journal.results("ex-00000001", 10**6, 5)) == []


def test_notes_are_numbered_in_each_execution(journal: SqliteJournal) -> None:
    kinds: list[NoteKind] = ["failed", "signalled", "paused", "signalled"]
    notes = [
        Note(NOW_MS + at, kind, [3, None, 4, 3][at], {"name": "go" if at == 1 else "stop"})
        for at, kind in enumerate(kinds)
    ]
    for number in (1, 2):
        journal.create(accepted(number))
        journal.commit(f"ex-0000000{number}", notes=notes[:3])
        journal.commit(f"ex-0000000{number}", notes=notes[3:])
        assert journal.notes(f"ex-0000000{number}") == list(enumerate(notes, 1))
    assert [sequence for sequence, _ in journal.notes("ex-00000001", 3)] == [1, 4]
    assert [sequence for sequence, _ in journal.notes("ex-00000001", after=2)] == [3, 4]
    assert [sequence for sequence, _ in journal.notes("ex-00000001", 3, 1)] == [4]
    assert journal.signals("ex-00000001", "go") == [(2, notes[1])]
    assert journal.signals("ex-00000001", "none") == []


def test_attempts_are_told_by_notes_and_by_therow(journal: SqliteJournal) -> None:
    failed = {"attempt": 1, "started_ms": NOW_MS, "ended_ms": NOW_MS + 5, "message": "no"}
    lost = {"attempt": 2, "started_ms": NOW_MS + 7}
    last = {"attempt": 1, "started_ms": NOW_MS + 1, "ended_ms": NOW_MS + 2}
    journal.create(accepted(1))
    journal.commit(
        "ex-00000001",
        [
            completed(0, attempt=3, lost=1),
            completed(1, None, state="failed", started_ms=NOW_MS + 1, ended_ms=NOW_MS + 2),
            completed(2, None, state="pending", attempt=0, started_ms=None, ended_ms=None),
            completed(4, None, state="running", ended_ms=None),
        ],
        [
            Note(NOW_MS + 6, "failed", 0, failed),
            Note(NOW_MS + 9, "lost", 0, lost),
            Note(NOW_MS + 2, "failed", 1, last),
            Note(NOW_MS + 3, "failed", None, {"of": "the execution"}),
        ],
    )
    first = [
        Attempt(0, 1, "failed", NOW_MS, NOW_MS + 5, failed),
        Attempt(0, 2, "lost", NOW_MS + 7, NOW_MS + 9, lost),
        Attempt(0, 3, "completed", NOW_MS + 10, NOW_MS + 30),
    ]
    second = [Attempt(1, 1, "failed", NOW_MS + 1, NOW_MS + 2, last)]
    fourth = [Attempt(4, 1, "running", NOW_MS + 10, None)]
    assert list(journal.attempts("ex-00000001")) == [*first, *second, *fourth]
    assert [list(journal.attempts("ex-00000001", position)) for position in range(5)] == [
        first, second, [], [], fourth,
    ]  # fmt: skip
    assert (*next(journal.times("ex-00000001")),) == (
        0, 3, "completed", NOW_MS, NOW_MS + 10, NOW_MS + 30,
    )  # fmt: skip
    assert journal.repeated_ms("ex-00000001") == 5 + 2


def test_sums_over_steps_and_over_executions_of_a_plan(journal: SqliteJournal) -> None:
    journal.create(accepted(1))
    assert journal.totals("ex-00000001") == Totals(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert journal.repeated_ms("ex-00000001") == 0
    for number in (2, 3, 4):
        rows = [
            completed(0, attempt=3, lost=1),
            completed(1, None, state="failed", ended_ms=NOW_MS + 10 + number),
            completed(2, None, state="skipped", attempt=0, ready_ms=None, started_ms=None),
            completed(3, None, state="cancelled", started_ms=NOW_MS, ended_ms=None),
        ]
        journal.create(accepted(number), rows)
    assert journal.totals("ex-00000002") == Totals(4, 1, 1, 1, 1, 22, 20, 20, 10, 1, 1)
    by_step = journal.step_totals("hash", 2)
    assert list(by_step) == [0, 1, 2, 3]
    assert by_step[1] == Totals(2, 0, 2, 0, 0, 7, 4, 20, 10, 0, 0)
    assert journal.step_totals("other", 9) == {}
