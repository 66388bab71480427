"""Looks executions up: by id, by prefix, by key, by what state they are in."""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from coterie.engine.journal.errors import KeyTaken, damaged
from coterie.engine.journal.file import JournalFile, Row
from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.journal.rows import EXECUTIONS, PUT_EXECUTION, PUT_SUBMISSION, execution_record, execution_values
from coterie.engine.journal.rows import json_text as _json
from coterie_protocols.errors import NotFound, UserError

PREFIX_CHARS_MIN: Final = 4
CANDIDATES_MAX: Final = 5
NUMBERS_MAX: Final = 10_000  # ids whose number is remembered
DOCUMENT_BYTES_MAX: Final = 64 * 1024 * 1024  # documents that are remembered; running executions hold them anyway

_LAST: Final = {
    "@last": EXECUTIONS + "ORDER BY e.number DESC LIMIT 1",
    "@last-failed": EXECUTIONS + "WHERE e.state = 'failed' ORDER BY e.number DESC LIMIT 1",
}
_WITH_PREFIX: Final = (
    "SELECT id, workflow FROM execution WHERE id >= ? AND id < ? || char(0x10FFFF) ORDER BY id LIMIT ?"
)
_UNFINISHED: Final = EXECUTIONS + "WHERE e.state IN ('pending', 'running', 'paused') ORDER BY e.number"


class Executions:
    """The executions in `file`, with the documents of their workflows."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._numbers: dict[str, int] = {}
        self._documents: OrderedDict[str, bytes] = OrderedDict()
        self._document_bytes = 0

    def number(self, id_: str) -> int:
        """The number under which the rows of an execution are kept. Raises NotFound."""
        known = self._numbers.get(id_)
        if known is not None:
            return known
        row = self._file.one("SELECT number FROM execution WHERE id = ?", (id_,))
        if row is None:
            raise _unknown(id_)
        self._remember(id_, int(row[0]))
        return int(row[0])

    def add(self, record: ExecutionRecord) -> int:
        """Inserts a new execution, within a transaction; returns its number. Raises KeyTaken."""
        if record.key is not None:
            taken = self._file.one("SELECT id FROM execution WHERE key = ?", (record.key,))
            if taken is not None:
                raise KeyTaken(record.key, str(taken[0]))
        connection = self._file.connection
        number = connection.execute(PUT_EXECUTION, execution_values(record, self._plan(record))).lastrowid
        assert number is not None
        connection.execute(PUT_SUBMISSION, (number, _json(record.inputs), _json(record.code)))
        return number

    def added(self, record: ExecutionRecord, number: int) -> None:
        """To be called when the transaction of `add` is durable."""
        self._remember(record.id, number)
        self._keep_document(record.plan_hash, record.document)

    def forget(self, id_: str) -> None:
        """The execution is gone."""
        self._numbers.pop(id_, None)

    def get(self, id_: str) -> ExecutionRecord:
        """One execution. Raises NotFound."""
        return self._only(EXECUTIONS + "WHERE e.id = ?", id_)

    def find(self, prefix: str) -> ExecutionRecord:
        """One by a unique prefix of its id, `@last` or `@last-failed`. Raises NotFound, UserError."""
        if prefix in _LAST:
            rows = self._file.all(_LAST[prefix])
            if not rows:
                raise NotFound(f"there is no execution to be {prefix}", "see `coterie workflow list`")
            return self._record(rows[0])
        return self.get(self._whole_id(prefix))

    def by_key(self, key: str) -> ExecutionRecord | None:
        """The execution that was submitted with that key."""
        rows = self._file.all(EXECUTIONS + "WHERE e.key = ?", (key,))
        return self._record(rows[0]) if rows else None

    def newest(self, limit: int, workflow: str | None) -> list[ExecutionRecord]:
        """The newest first, without their documents."""
        where, values = ("", ()) if workflow is None else ("WHERE e.workflow = ? ", (workflow,))
        rows = self._file.all(f"{EXECUTIONS}{where}ORDER BY e.number DESC LIMIT ?", (*values, limit))
        with self.decoding():
            return [execution_record(row, b"") for row in rows]

    def unfinished(self) -> list[ExecutionRecord]:
        """Those that have not ended, the oldest first."""
        return [self._record(row) for row in self._file.all(_UNFINISHED)]

    @contextmanager
    def decoding(self) -> Generator[None]:
        """Rows that are not what was written are the file's fault, not ours."""
        try:
            yield
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged(self._file.place, str(error)) from error

    def _whole_id(self, prefix: str) -> str:
        if len(prefix) < PREFIX_CHARS_MIN:
            raise UserError(
                f"{prefix!r} is too short for the beginning of an id", f"give at least {PREFIX_CHARS_MIN} characters"
            )
        rows = self._file.all(_WITH_PREFIX, (prefix, prefix, CANDIDATES_MAX + 1))
        if not rows:
            raise _unknown(prefix)
        if len(rows) > 1 and rows[0][0] != prefix:
            raise UserError(f"{_several(rows)} begin with {prefix!r}", "give more characters of the id")
        return str(rows[0][0])

    def _only(self, sql: str, id_: str) -> ExecutionRecord:
        rows = self._file.all(sql, (id_,))
        if not rows:
            raise _unknown(id_)
        return self._record(rows[0])

    def _record(self, row: Row) -> ExecutionRecord:
        document = self._document(row[4])
        with self.decoding():
            return execution_record(row, document)

    def _plan(self, record: ExecutionRecord) -> int:
        """The number of the workflow's document, which is stored unless it was."""
        row = self._file.one(
            "SELECT number, document = ? FROM plan WHERE hash = ?", (record.document, record.plan_hash)
        )
        if row is not None:
            if not row[1]:
                raise ValueError(f"plan hash {record.plan_hash} names another document")
            return int(row[0])
        sql = "INSERT INTO plan (hash, document) VALUES (?, ?)"
        number = self._file.connection.execute(sql, (record.plan_hash, record.document)).lastrowid
        assert number is not None
        return number

    def _document(self, plan_hash: str) -> bytes:
        document = self._documents.get(plan_hash)
        if document is None:
            row = self._file.one("SELECT document FROM plan WHERE hash = ?", (plan_hash,))
            document = b"" if row is None else bytes(row[0])
            self._keep_document(plan_hash, document)
        else:
            self._documents.move_to_end(plan_hash)
        return document

    def _keep_document(self, plan_hash: str, document: bytes) -> None:
        if plan_hash not in self._documents:
            self._documents[plan_hash] = document
            self._document_bytes += len(document)
        while self._document_bytes > DOCUMENT_BYTES_MAX:
            self._document_bytes -= len(self._documents.popitem(last=False)[1])

    def _remember(self, id_: str, number: int) -> None:
        if len(self._numbers) >= NUMBERS_MAX:
            self._numbers.clear()
        self._numbers[id_] = number


def _unknown(id_: str) -> NotFound:
    return NotFound(f"there is no execution {id_!r}", "see `coterie workflow list`")


def _several(rows: Sequence[Row]) -> str:
    shown = ", ".join(f"{id_} ({workflow})" for id_, workflow in rows[:CANDIDATES_MAX])
    return shown + (" and more" if len(rows) > CANDIDATES_MAX else "")
