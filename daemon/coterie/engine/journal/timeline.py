"""What an execution's rows and notes say of time: attempts, waits, durations, sums."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from coterie.engine.journal.executions import Executions
from coterie.engine.journal.file import JournalFile, Row
from coterie.engine.journal.port import Note
from coterie.engine.journal.rows import FROM_POSITION, NOTES, OF_EXECUTION, numbered_note
from coterie.engine.model import Json, StepState

CHUNK_ROWS: Final = 1_000  # read at once; between chunks the file is free

_TIMES: Final = f"SELECT position, attempt, state, ready_ms, started_ms, ended_ms FROM step WHERE {FROM_POSITION}"
_FAILURES: Final = NOTES + " AND kind IN ('failed', 'lost') AND position IS NOT NULL"
_SIGNALS: Final = NOTES + " AND kind = 'signalled' AND json_extract(body, '$.name') = ? ORDER BY sequence"
_SUMS: Final = """
    count(*), sum(state = 'completed'), sum(state = 'failed'), sum(state = 'skipped'), sum(state = 'cancelled'),
    sum(ended_ms - started_ms), max(ended_ms - started_ms), sum(started_ms - ready_ms), max(started_ms - ready_ms),
    sum(max(attempt - 1 - lost, 0)), sum(lost)"""
_OF_EXECUTION: Final = f"SELECT {_SUMS} FROM step WHERE {OF_EXECUTION}"
_BY_STEP: Final = f"""
    SELECT position, {_SUMS} FROM (
        SELECT e.number << 32 AS first, (e.number + 1) << 32 AS behind
        FROM execution e JOIN plan p ON p.number = e.plan WHERE p.hash = ? ORDER BY e.number DESC LIMIT ?)
    CROSS JOIN step ON key >= first AND key < behind
    GROUP BY position ORDER BY position"""
_EARLIER: Final = """
    SELECT sum(coalesce(json_extract(n.body, '$.ended_ms'), n.at_ms) - json_extract(n.body, '$.started_ms'))
    FROM note n JOIN step s ON s.key = (n.execution << 32) + n.position
    WHERE n.execution = ? AND n.kind IN ('failed', 'lost') AND json_extract(n.body, '$.attempt') < s.attempt"""


class StepTimes(NamedTuple):
    """When a step became ready, when its present attempt began, when it ended. Unix milliseconds or None."""

    position: int
    attempt: int
    state: StepState
    ready_ms: int | None
    started_ms: int | None
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step. Times are Unix milliseconds; `ended_ms` is None while it runs.

    `state` is "failed" or "lost" for what a note tells of, whose body is `note`; else it is the state of the step.
    """

    position: int
    attempt: int
    state: str
    started_ms: int | None
    ended_ms: int | None
    note: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over step rows; times are milliseconds.

    `ran_ms` is of last attempts and `waited_ms` lies between ready and that start. `retries` counts attempts after a
    failure, `lost` those that died with an engine.
    """

    steps: int
    completed: int
    failed: int
    skipped: int
    cancelled: int
    ran_ms: int
    ran_ms_max: int
    waited_ms: int
    waited_ms_max: int
    retries: int
    lost: int


class Timeline:
    """Reads times of the executions in `file`. Everything raises NotFound for an execution that there is not."""

    def __init__(self, file: JournalFile, executions: Executions) -> None:
        self._file = file
        self._executions = executions

    def times(self, execution: str) -> Iterator[StepTimes]:
        """The times of every step by position, in chunks: rows may change between two of them."""
        number = self._executions.number(execution)
        return map(StepTimes._make, chunked(self._file, _TIMES, number, 0))

    def attempts(self, execution: str, position: int | None = None) -> Iterator[Attempt]:
        """Every attempt of every step, or of one, by position and then in order.

        Attempts before the last are known from notes of kind "failed" and "lost": their body holds `attempt`,
        `started_ms` and `ended_ms` (where that is missing, the note's own time counts).
        """
        number = self._executions.number(execution)
        only, values = ("", ()) if position is None else (" AND position = ?", (position,))
        notes: dict[int, list[Attempt]] = {}
        with self._executions.decoding():
            for row in self._file.all(f"{_FAILURES}{only} ORDER BY sequence", (number, 0, *values)):
                told = _told(row)
                notes.setdefault(told.position, []).append(told)
        first, limit = (0, None) if position is None else (position, 1)
        for row in chunked(self._file, _TIMES, number, first, limit):
            if position in (None, row[0]):
                yield from _attempts(StepTimes(*row), notes.get(row[0], []))

    def totals(self, execution: str) -> Totals:
        """Sums over the steps of one execution, children of map steps included."""
        rows = self._file.all(_OF_EXECUTION, (self._executions.number(execution),))
        return _totals(rows[0])

    def step_totals(self, plan_hash: str, executions_max: int) -> dict[int, Totals]:
        """Sums by position over the newest executions of one plan."""
        return {row[0]: _totals(row[1:]) for row in self._file.all(_BY_STEP, (plan_hash, executions_max))}

    def repeated_ms(self, execution: str) -> int:
        """Milliseconds that went into attempts after which there was another."""
        row = self._file.one(_EARLIER, (self._executions.number(execution),))
        return 0 if row is None or row[0] is None else int(row[0])

    def signals(self, execution: str, name: str) -> list[tuple[int, Note]]:
        """The signals of that name with their sequence numbers, in order."""
        rows = self._file.all(_SIGNALS, (self._executions.number(execution), 0, name))
        with self._executions.decoding():
            return [numbered_note(row) for row in rows]


def chunked(file: JournalFile, sql: str, execution: int, start: int, limit: int | None = None) -> Iterator[Row]:
    """Rows of `sql` (values: execution, first position, rows; the first column is the position), chunk by chunk."""
    left = limit
    while left is None or left > 0:
        size = CHUNK_ROWS if left is None else min(left, CHUNK_ROWS)
        rows = file.all(sql, (execution, start, size))
        yield from rows
        if len(rows) < size:
            return
        start = rows[-1][0] + 1
        left = None if left is None else left - size


def _told(row: Row) -> Attempt:
    _, note = numbered_note(row)
    assert note.position is not None
    attempt, began, ended = (_integer(note.body, name) for name in ("attempt", "started_ms", "ended_ms"))
    return Attempt(note.position, attempt or 0, note.kind, began, note.at_ms if ended is None else ended, note.body)


def _attempts(row: StepTimes, told: list[Attempt]) -> Iterator[Attempt]:
    yield from told
    if row.started_ms is not None and all(attempt.attempt != row.attempt for attempt in told):
        yield Attempt(row.position, row.attempt, row.state, row.started_ms, row.ended_ms)


def _integer(body: Mapping[str, Json], name: str) -> int | None:
    value = body.get(name)
    return value if isinstance(value, int) else None


def _totals(row: Row) -> Totals:
    return Totals(*(value or 0 for value in row))
