"""A journal as plain dictionaries, random workloads, and the question whether a real journal holds the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, NoteKind, StepRow
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import RUN_ENDED, RunState, StepState

INLINE_BYTES_MAX = 200
STEPS_MAX = 30
NOW_MS = 1_790_000_000_000


def open_fast(path: Path) -> SqliteJournal:
    """A journal that nobody means to cut from power."""
    return SqliteJournal(path, durability="none", result_inline_bytes_max=INLINE_BYTES_MAX)


def accepted(number: int, workflow: str = "build", **other: Any) -> ExecutionRecord:
    """An execution with the id ex-<number in 8 digits>."""
    record = ExecutionRecord(f"ex-{number:08d}", workflow, workflow.title(), b"{}", "hash", NOW_MS + number)
    return replace(record, **other)


def completed(position: int, result: bytes | None = b"null", **other: Any) -> StepRow:
    """A step that waited for 10 ms and ran for 20."""
    row = StepRow(position, "completed", 1, 0, NOW_MS, NOW_MS + 10, NOW_MS + 30, result=result)
    return replace(row, **other)


@dataclass(frozen=True, slots=True)
class Create:
    """A call of `Journal.create`."""

    record: ExecutionRecord
    rows: tuple[StepRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """A call of `Journal.commit`."""

    execution: str
    rows: tuple[StepRow, ...] = ()
    notes: tuple[Note, ...] = ()
    change: ExecutionChange | None = None


Call = Create | Commit


@dataclass(slots=True)
class Kept:
    """All of one execution."""

    record: ExecutionRecord
    rows: dict[int, StepRow] = field(default_factory=dict[int, StepRow])
    notes: list[Note] = field(default_factory=list[Note])

    def put(self, row: StepRow) -> None:
        """Writes a row over what was there; a completed one that comes without its result keeps it."""
        old = self.rows.get(row.position)
        repeated = old is not None and (old.state, old.attempt) == (row.state, row.attempt) == (
            "completed",
            row.attempt,
        )
        self.rows[row.position] = replace(
            row, result=old.result if old and repeated and row.result is None else row.result
        )


class Model:
    """What a journal must hold."""

    def __init__(self) -> None:
        self.executions: dict[str, Kept] = {}

    def apply(self, call: Call) -> None:
        """Does what the journal does."""
        match call:
            case Create(record, rows):
                self.executions[record.id] = Kept(record, {row.position: row for row in rows})
            case Commit(execution, rows, notes, change):
                kept = self.executions[execution]
                for row in rows:
                    kept.put(row)
                kept.notes += notes
                if change is not None:
                    kept.record = _changed(kept.record, change)

    def drop(self, id_: str) -> None:
        """The execution was pruned."""
        del self.executions[id_]

    def assert_kept_in(self, journal: SqliteJournal) -> None:
        """Does the journal hold exactly this?"""
        listed = [record.id for record in journal.executions(10_000)]
        assert listed == list(reversed(self.executions))
        open_ = [kept.record for kept in self.executions.values() if kept.record.state not in RUN_ENDED]
        assert journal.unfinished() == open_
        for kept in self.executions.values():
            assert_whole(journal, kept)


def perform(journal: SqliteJournal, call: Call) -> None:
    """Makes the call."""
    match call:
        case Create(record, rows):
            journal.create(record, rows)
        case Commit(execution, rows, notes, change):
            journal.commit(execution, rows, notes, change)


def assert_whole(journal: SqliteJournal, kept: Kept) -> None:
    """Is the execution in the journal just as it was written?"""
    id_ = kept.record.id
    assert journal.execution(id_) == kept.record
    found = list(journal.rows(id_))
    expected = [kept.rows[position] for position in sorted(kept.rows)]
    assert [replace(row, result_blob=None) for row in found] == [replace(row, result=None) for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert (row.result_blob is not None) == (wanted.result is not None and len(wanted.result) > INLINE_BYTES_MAX)
        assert journal.result(id_, row.position) == wanted.result
    notes = journal.notes(id_)
    assert [note for _, note in notes] == kept.notes
    assert [sequence for sequence, _ in notes] == list(range(1, len(notes) + 1))


def workload(seed: int, calls: int) -> list[Call]:
    """Random calls of engines' kind: the same for the same seed."""
    random, model, made = Random(seed), Model(), list[Call]()
    for turn in range(calls):
        going = [kept for kept in model.executions.values() if kept.record.state not in RUN_ENDED]
        call = _commit(random, random.choice(going), turn) if going and random.random() < 0.9 else _create(random, turn)
        model.apply(call)
        made.append(call)
    return made


def _create(random: Random, turn: int) -> Create:
    name = random.choice(["build", "test", "déploiement"])
    document = f'{{"id":"{name}"}}'.encode()
    record = ExecutionRecord(
        id=f"ex-{turn:06d}{random.randrange(36**4):06x}",
        workflow=name,
        name=name.title(),
        document=document,
        plan_hash=f"hash of {name}",
        created_ms=NOW_MS + turn,
        inputs=random.choice([{}, {"n": turn, "list": [1, None, "ü\ud800"]}, {"large": "x" * 5_000}]),
        submitter=random.choice(["", "ann"]),
        priority=random.choice([1.0, 3.0, 3.5]),
        key=random.choice([None, f"key-{turn}"]),
        origin=random.choice([None, "ex-before"]),
        source=random.choice([None, "bafy"]),
        code=random.choice([{}, {"fetch": "0123"}]),
    )
    taken = random.choice([0, 0, 3])
    return Create(record, tuple(_row(random, position, "completed", turn) for position in range(taken)))


def _commit(random: Random, kept: Kept, turn: int) -> Commit:
    positions = random.sample(range(STEPS_MAX), random.choice([0, 1, 1, 2, 2, 5]))
    states: Sequence[StepState] = ("pending", "ready", "running", "completed", "completed", "failed", "skipped")
    rows = tuple(_row(random, position, random.choice(states), turn) for position in positions)
    again = tuple(
        replace(row, result=None, compensation="done")
        for row in kept.rows.values()
        if row.state == "completed" and row.position not in positions and random.random() < 0.1
    )
    notes = tuple(_note(random, turn) for _ in range(random.choice([0, 0, 0, 1, 3])))
    change = random.choice([None, None, _change(random, turn)])
    return Commit(kept.record.id, rows + again, notes, change)


def _row(random: Random, position: int, state: StepState, turn: int) -> StepRow:
    at_ms = NOW_MS + turn
    small: list[bytes | None] = [None, b"null", b'{"a":1}', b"[" + b"1," * random.randrange(60) + b"1]"]
    large: list[bytes | None] = [str(random.randrange(10**6)).encode() * random.choice([40, 2_000])]
    return StepRow(
        position,
        state,
        attempt=random.randrange(4),
        lost=random.randrange(2),
        ready_ms=random.choice([None, at_ms]),
        started_ms=random.choice([None, at_ms + 1]),
        ended_ms=at_ms + 2 if state in ("completed", "failed", "skipped") else None,
        due_ms=random.choice([None, at_ms + 1_000]),
        result=random.choice(small * 2 + large) if state == "completed" else None,
        arm=random.choice([None, "yes"]),
        tolerated=random.random() < 0.2,
        reason=random.choice(["", "exit code 1", "nicht möglich"]),
        compensation=random.choice(["", "failed"]),
    )


def _note(random: Random, turn: int) -> Note:
    kind: NoteKind = random.choice(["failed", "lost", "signalled", "paused"])
    body = {"attempt": 1, "name": random.choice(["go", "stop"]), "data": [turn, None]}
    return Note(NOW_MS + turn, kind, random.choice([None, 0, 3]), random.choice([{}, body]))


def _change(random: Random, turn: int) -> ExecutionChange:
    states: Sequence[RunState | Literal["same"]] = ("same", "running", "running", "paused", "completed", "failed")
    state = random.choice(states)
    ended = state in RUN_ENDED
    return ExecutionChange(
        state=None if state == "same" else state,
        started_ms=random.choice([None, NOW_MS + turn]),
        ended_ms=NOW_MS + turn if ended else None,
        reason=random.choice([None, "", "because"]),
        outputs={"artifact": "x" * 100} if ended else None,
        counts=random.choice([None, {"completed": turn}]),
    )


def _changed(record: ExecutionRecord, change: ExecutionChange) -> ExecutionRecord:
    return replace(
        record,
        state=record.state if change.state is None else change.state,
        started_ms=record.started_ms if change.started_ms is None else change.started_ms,
        ended_ms=record.ended_ms if change.ended_ms is None else change.ended_ms,
        reason=record.reason if change.reason is None else change.reason,
        outputs=record.outputs if change.outputs is None else change.outputs,
        counts=record.counts if change.counts is None else change.counts,
    )
