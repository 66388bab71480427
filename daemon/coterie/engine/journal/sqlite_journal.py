"""The `Journal` port on one SQLite file."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from coterie.engine.journal.errors import failure_of
from coterie.engine.journal.executions import Executions
from coterie.engine.journal.file import Durability, JournalFile, Row
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, StepRow
from coterie.engine.journal.result_files import BlobsPort, ResultFiles
from coterie.engine.journal.retention import Pruned, Retention
from coterie.engine.journal.rows import (
    AT_POSITION,
    NOTES,
    PUT_NOTE,
    PUT_STEP,
    STEP,
    STEPS_FROM,
    change_statement,
    note_values,
    numbered_note,
    step_row,
    step_values,
)
from coterie.engine.journal.timeline import Attempt, StepTimes, Timeline, Totals, chunked

INLINE_BYTES_MAX: Final = 64 * 1024
RESULT_ROWS: Final = 64  # read at once, of whatever size they are

_RESULT: Final = f"SELECT result, result_blob FROM step WHERE {AT_POSITION}"
_RESULTS: Final = (
    "SELECT position, result, result_blob FROM step WHERE key >= (?1 << 32) + ?2 AND key < (?1 << 32) + ?3 "
    "AND (result IS NOT NULL OR result_blob IS NOT NULL) ORDER BY key LIMIT ?4"
)
_LAST_NOTE: Final = "SELECT coalesce(max(sequence), 0) FROM note WHERE execution = ?"
_NEEDS_FILE: Final = "INSERT OR IGNORE INTO result_file (cid, execution, bytes) VALUES (?, ?, ?)"


class SqliteJournal:
    """Executions in the file `path`, or in memory where it is None; one engine at a time, one thread at a time.

    A result of more than `result_inline_bytes_max` bytes becomes a file, durable before the row that names it: among
    `blobs`, or else in `<path>.results` beside the database. In memory without `blobs` all results stay in the rows.
    Methods raise JournalFailed (a DiskFailed), and then nothing is half done. Opening raises JournalInUse too.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        durability: Durability = "strict",
        result_inline_bytes_max: int = INLINE_BYTES_MAX,
        blobs: BlobsPort | None = None,
    ) -> None:
        self._file = JournalFile(path, durability)
        self._inline_bytes_max = result_inline_bytes_max
        self._results = ResultFiles(blobs, None if path is None else path.with_name(f"{path.name}.results"))
        self._executions = Executions(self._file)
        self._timeline = Timeline(self._file, self._executions)
        self._retention = Retention(self._file, self._executions, self._results)

    def create(self, record: ExecutionRecord, rows: Iterable[StepRow] = (), *, sync: bool = True) -> None:
        """Keeps a new execution; `rows` are steps that it takes over from its origin. Raises KeyTaken.

        Without `sync` it is durable with the next commit, of whatever execution.
        """
        needed: list[Row] = []
        with self._file.transaction(sync=sync) as connection:
            number = self._executions.add(record)
            connection.executemany(PUT_STEP, self._values(number, rows, needed))
            connection.executemany(_NEEDS_FILE, needed)
        self._executions.added(record, number)

    def commit(
        self,
        execution: str,
        rows: Sequence[StepRow] = (),
        notes: Sequence[Note] = (),
        change: ExecutionChange | None = None,
    ) -> None:
        """Writes all of it in one transaction, each row whole over what was there. Raises DiskFailed, NotFound.

        A completed row that comes without result and blob keeps those that it had under the same attempt: who reads
        rows from here gets them without results, and may write them again.
        """
        number = self._executions.number(execution)
        needed: list[Row] = []
        values = self._values(number, rows, needed)  # large results are on the disk before the rows that name them
        connection = self._file.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if values:
                    connection.executemany(PUT_STEP, values)
                if needed:
                    connection.executemany(_NEEDS_FILE, needed)
                if notes:
                    first = self._file.integer(_LAST_NOTE, (number,)) + 1
                    numbered = enumerate(notes, first)
                    connection.executemany(PUT_NOTE, [note_values(number, at, note) for at, note in numbered])
                if change is not None:
                    self._change(number, change)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if (failure := failure_of(self._file.place, error)) is None:
                raise
            raise failure from error

    def execution(self, id_: str) -> ExecutionRecord:
        """One execution. Raises NotFound."""
        return self._executions.get(id_)

    def find(self, prefix: str) -> ExecutionRecord:
        """One execution by a unique prefix of its id (at least 4 characters), `@last` or `@last-failed`.

        Raises NotFound, or UserError that lists the candidates where it is ambiguous.
        """
        return self._executions.find(prefix)

    def by_key(self, key: str) -> ExecutionRecord | None:
        """The execution that was submitted with that key."""
        return self._executions.by_key(key)

    def executions(self, limit: int, workflow: str | None = None) -> list[ExecutionRecord]:
        """The newest first, without their documents (empty)."""
        return self._executions.newest(limit, workflow)

    def unfinished(self) -> list[ExecutionRecord]:
        """Those that have not ended, the oldest first."""
        return self._executions.unfinished()

    def rows(self, execution: str, start: int = 0, limit: int | None = None) -> Iterator[StepRow]:
        """The rows by position, from `start` on; results are left out of them (see `result`).

        They are read in chunks, and may change between two of them.
        """
        number = self._executions.number(execution)
        return self._decoded(chunked(self._file, STEPS_FROM, number, start, limit))

    def row(self, execution: str, position: int) -> StepRow | None:
        """One row, without its result."""
        row = self._file.one(STEP, (self._executions.number(execution), position))
        if row is None:
            return None
        with self._executions.decoding():
            return step_row(row)

    def result(self, execution: str, position: int) -> bytes | None:
        """The JSON that a completed step returned, wherever it is kept; None where it returned nothing."""
        row = self._file.one(_RESULT, (self._executions.number(execution), position))
        if row is None:
            return None
        result, blob = row
        return result if blob is None else self._results.get(blob)

    def results(self, execution: str, start: int, count: int) -> Iterator[tuple[int, bytes]]:
        """The positions in [start, start + count) that returned something, with what it was, in order."""
        return self._results_between(self._executions.number(execution), start, start + count)

    def notes(self, execution: str, position: int | None = None, after: int = 0) -> list[tuple[int, Note]]:
        """With their sequence numbers, in order; with `position`, those of that step alone."""
        number = self._executions.number(execution)
        only, values = ("", ()) if position is None else (" AND position = ?", (position,))
        rows = self._file.all(f"{NOTES}{only} ORDER BY sequence", (number, after, *values))
        with self._executions.decoding():
            return [numbered_note(row) for row in rows]

    def signals(self, execution: str, name: str) -> list[tuple[int, Note]]:
        """The signals of that name (notes of kind "signalled" whose body has `name`), in order."""
        return self._timeline.signals(execution, name)

    def times(self, execution: str) -> Iterator[StepTimes]:
        """When each step became ready, started and ended, by position: for timelines and metrics."""
        return self._timeline.times(execution)

    def attempts(self, execution: str, position: int | None = None) -> Iterator[Attempt]:
        """Every attempt of every step, or of one; see `Timeline.attempts` for what notes must tell."""
        return self._timeline.attempts(execution, position)

    def totals(self, execution: str) -> Totals:
        """Sums over the steps of one execution, children of map steps included."""
        return self._timeline.totals(execution)

    def step_totals(self, plan_hash: str, executions_max: int) -> dict[int, Totals]:
        """Sums by position over the newest executions of one plan."""
        return self._timeline.step_totals(plan_hash, executions_max)

    def repeated_ms(self, execution: str) -> int:
        """Milliseconds that went into attempts after which there was another."""
        return self._timeline.repeated_ms(execution)

    def prune(self, keep_bytes_max: int, keep_s: float, now_ms: int) -> int:
        """Forgets ended executions, the oldest first, until both limits hold; returns how many.

        What they took is given back to the file system. May take long: in an event loop call `prune_piece` and `tidy`.
        """
        count, more = 0, True
        while more:  # each piece removes rows, of which there is an end
            piece = self.prune_piece(keep_bytes_max, keep_s, now_ms)
            count, more = count + piece.executions, piece.more
        while self.tidy():  # each gives pages back, of which there is an end
            pass
        return count

    def prune_piece(self, keep_bytes_max: int, keep_s: float, now_ms: int) -> Pruned:
        """A part of `prune` that blocks for a few milliseconds; to be called again while it says that there is more."""
        return self._retention.piece(keep_bytes_max, keep_s, now_ms)

    def tidy(self) -> bool:
        """To be called when nothing runs: cuts a long log, gives free pages back; says whether there is more to do."""
        return self._file.tidy()

    def used_bytes(self) -> int:
        """What executions take on the disk, as `keep_bytes_max` of `prune` counts it."""
        return self._retention.used_bytes()

    def quick_check(self) -> tuple[str, ...]:
        """What is wrong with the file; empty when all is well. Reads every page."""
        return self._file.quick_check()

    def close(self) -> None:
        """Writes what is left and lets go of the file. May be called again."""
        self._file.close()

    def _values(self, number: int, rows: Iterable[StepRow], needed: list[Row]) -> list[Sequence[object]]:
        """The columns of rows, whose large results become files; these are added to `needed`."""
        values: list[Sequence[object]] = []
        for row in rows:
            result, blob = row.result, row.result_blob
            if result is not None and len(result) > self._inline_bytes_max and self._results.usable:
                blob = self._results.put(result)
                needed.append((blob, number, len(result)))
                result = None
            elif blob is not None:
                needed.append((blob, number, self._results.size(blob)))
            values.append(step_values(number, row, result, blob))
        return values

    def _results_between(self, number: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        while rows := self._file.all(_RESULTS, (number, start, end, RESULT_ROWS)):
            for position, result, blob in rows:
                yield position, result if blob is None else self._results.get(blob)
            start = rows[-1][0] + 1

    def _change(self, number: int, change: ExecutionChange) -> None:
        sql, values = change_statement(change)
        if sql:
            self._file.connection.execute(sql, (*values, number))

    def _decoded(self, rows: Iterator[Row]) -> Iterator[StepRow]:
        with self._executions.decoding():
            for row in rows:
                yield step_row(row)
