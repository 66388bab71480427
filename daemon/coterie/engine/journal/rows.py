"""How executions, steps and notes look as rows of the database, and back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args

from coterie.engine.journal.file import Row
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, NoteKind, StepRow
from coterie.engine.model import Json, RunState, StepState

_STEP_STATES: Final[frozenset[str]] = frozenset(get_args(StepState))
_RUN_STATES: Final[frozenset[str]] = frozenset(get_args(RunState))
_NOTE_KINDS: Final[frozenset[str]] = frozenset(get_args(NoteKind))

POSITION_BITS: Final = 32  # of the key of a step; above them is the number of its execution
_STEP_WRITTEN: Final = (
    "state, attempt, lost, ready_ms, started_ms, ended_ms, due_ms, arm, tolerated, reason, compensation, result_blob, "
    "result"
)
_STEP_READ: Final = "position, " + _STEP_WRITTEN.removesuffix(", result")
# A completed step that comes without its result keeps what it returned under the same attempt: whoever read the row
# from here never had it, and must be able to write the row again.
_KEPT: Final = "excluded.result IS NULL AND excluded.result_blob IS NULL AND excluded.state = 'completed' "
_SAME: Final = "AND step.state = 'completed' AND step.attempt = excluded.attempt"
PUT_STEP: Final = (
    f"INSERT INTO step (key, {_STEP_WRITTEN}) VALUES ({', '.join('?' * 14)}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _STEP_WRITTEN.split(", ")[:-2])
    + "".join(
        f", {name} = CASE WHEN {_KEPT}{_SAME} THEN step.{name} ELSE excluded.{name} END"
        for name in ("result_blob", "result")
    )
)
OF_EXECUTION: Final = "key >= (?1 << 32) AND key < (?1 + 1) << 32"
FROM_POSITION: Final = "key >= (?1 << 32) + ?2 AND key < (?1 + 1) << 32 ORDER BY key LIMIT ?3"
AT_POSITION: Final = "key = (?1 << 32) + ?2"
STEPS_FROM: Final = f"SELECT {_STEP_READ} FROM step WHERE {FROM_POSITION}"
STEP: Final = f"SELECT {_STEP_READ} FROM step WHERE {AT_POSITION}"

PUT_NOTE: Final = "INSERT INTO note (execution, sequence, at_ms, kind, position, body) VALUES (?, ?, ?, ?, ?, ?)"
NOTES: Final = "SELECT sequence, at_ms, kind, position, body FROM note WHERE execution = ? AND sequence > ?"

_EXECUTION_WRITTEN: Final = (
    "id, plan, workflow, name, submitter, priority, key, origin, source, created_ms, state, started_ms, ended_ms, "
    "reason, outputs, counts"
)
PUT_EXECUTION: Final = f"INSERT INTO execution ({_EXECUTION_WRITTEN}) VALUES ({', '.join('?' * 16)})"
PUT_SUBMISSION: Final = "INSERT INTO submission (execution, inputs, code) VALUES (?, ?, ?)"
EXECUTIONS: Final = """
    SELECT e.number, e.id, e.workflow, e.name, p.hash, e.created_ms, e.state, s.inputs, e.submitter, e.priority, e.key,
           e.origin, e.source, s.code, e.started_ms, e.ended_ms, e.reason, e.outputs, e.counts
    FROM execution e JOIN submission s ON s.execution = e.number JOIN plan p ON p.number = e.plan """


def step_row(row: Row) -> StepRow:
    """A step from the columns of `STEP`. Raises ValueError where they are none of a step."""
    position, state, attempt, lost, ready, started, ended, due, arm, tolerated, reason, compensation, blob = row
    if state not in _STEP_STATES:
        raise ValueError(f"{state!r} is no state of a step")
    return StepRow(
        position, state, attempt, lost, ready, started, ended, due, None, blob, arm, bool(tolerated), reason,
        compensation,
    )  # fmt: skip


def note_values(execution: int, sequence: int, note: Note) -> Row:
    """The columns of `PUT_NOTE`."""
    return (execution, sequence, note.at_ms, note.kind, note.position, json_text(note.body))


def numbered_note(row: Row) -> tuple[int, Note]:
    """A note and its sequence number from the columns of `NOTES`. Raises ValueError where they are none of a note."""
    sequence, at_ms, kind, position, body = row
    if kind not in _NOTE_KINDS:
        raise ValueError(f"{kind!r} is no kind of note")
    return sequence, Note(at_ms, cast(NoteKind, kind), position, _mapping(body))


def execution_values(record: ExecutionRecord, plan: int) -> Row:
    """The columns of `PUT_EXECUTION`."""
    return (
        record.id, plan, record.workflow, record.name, record.submitter, record.priority, record.key, record.origin,
        record.source, record.created_ms, record.state, record.started_ms, record.ended_ms, storable(record.reason),
        json_text(record.outputs), json_text(record.counts),
    )  # fmt: skip


def execution_record(row: Row, document: bytes) -> ExecutionRecord:
    """An execution from the columns of `EXECUTIONS`. Raises ValueError where they are none of an execution."""
    (
        _, id_, workflow, name, plan_hash, created, state, inputs, submitter, priority, key, origin, source, code,
        started, ended, reason, outputs, counts,
    ) = row  # fmt: skip
    if state not in _RUN_STATES:
        raise ValueError(f"{state!r} is no state of an execution")
    return ExecutionRecord(
        id=id_, workflow=workflow, name=name, document=document, plan_hash=plan_hash, created_ms=created,
        state=cast(RunState, state), inputs=_mapping(inputs), submitter=submitter, priority=priority, key=key,
        origin=origin, source=source, code=_mapping(code), started_ms=started, ended_ms=ended, reason=reason,
        outputs=_mapping(outputs), counts=_mapping(counts),
    )  # fmt: skip


def change_statement(change: ExecutionChange) -> tuple[str, list[object]]:
    """An UPDATE of the columns that change, and of no other: a state that is not named costs no index a write.

    It ends with `number = ?`, whose value is for the caller to add. Empty where nothing changes.
    """
    values: dict[str, object] = {}
    if change.state is not None:
        values["state"] = change.state
    if change.started_ms is not None:
        values["started_ms"] = change.started_ms
    if change.ended_ms is not None:
        values["ended_ms"] = change.ended_ms
    if change.reason is not None:
        values["reason"] = storable(change.reason)
    if change.outputs is not None:
        values["outputs"] = json_text(change.outputs)
    if change.counts is not None:
        values["counts"] = json_text(change.counts)
    if not values:
        return "", []
    return f"UPDATE execution SET {', '.join(f'{name} = ?' for name in values)} WHERE number = ?", [*values.values()]


def storable(text: str) -> str:
    """The text, with what is no character (bytes of a file name that are no UTF-8) as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def json_text(value: Mapping[str, Json]) -> str:
    """Compact JSON in ASCII. Raises TypeError for what is no JSON."""
    return "{}" if not value else json.dumps(value, separators=(",", ":"))


def _mapping(text: str) -> dict[str, Any]:
    if text == "{}":
        return {}
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a JSON object was expected")
    return cast(dict[str, Any], value)


def step_values(execution: int, row: StepRow, result: bytes | None, blob: str | None) -> Sequence[object]:
    """The columns of `PUT_STEP`; `result` or `blob` is where what the step returned is kept."""
    return (
        (execution << POSITION_BITS) + row.position, row.state, row.attempt, row.lost, row.ready_ms, row.started_ms,
        row.ended_ms, row.due_ms, row.arm, row.tolerated, row.reason if row.reason.isascii() else storable(row.reason),
        row.compensation if row.compensation.isascii() else storable(row.compensation), blob, result,
    )  # fmt: skip
