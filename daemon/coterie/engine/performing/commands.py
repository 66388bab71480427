"""What people may do with an execution, and what they may ask about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coterie.engine.journal.port import ExecutionRecord, Note, StepRow
from coterie.engine.model import RUN_ENDED, Json, StepState
from coterie.engine.outcome import WorkflowResult, WorkflowStatus
from coterie.engine.performing.conversations import check_answer
from coterie.engine.performing.execution import LiveExecution
from coterie.engine.performing.submission import Request
from coterie_protocols.errors import NotFound, UserError

if TYPE_CHECKING:
    from coterie.engine.engine import WorkflowEngine

ERRORS_MAX = 100
EXPLAINED_MAX = 1000
ORDINARY = frozenset({"expanded", "asked", "answered", "received", "waiting"})
"""Notes of what is no reason to ask why."""


class NotPossible(UserError):
    """The execution is in no state for that."""

    code = "not-possible"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Explained:
    """Why one step stands where it does. `history` is every failed attempt and what people did, oldest first."""

    step: str
    state: StepState
    attempt: int
    why: str
    history: tuple[dict[str, Json], ...] = field(default=())


async def cancel(engine: "WorkflowEngine", id_: str, reason: str) -> WorkflowStatus:
    """Stops what runs and starts nothing more; returns once it has ended. One that had ended stays as it is."""
    live = await _going(engine, id_)
    if live is not None:
        why = reason or "cancelled by a person"

        def act(now_ms: int) -> None:
            live.note("cancelled", None, {"reason": why}, now_ms)
            live.cancel(why, now_ms)

        await live.perform(act)
        await live.ended.wait()
    return engine.get_workflow_status(engine.execution(id_).id)


async def pause(engine: "WorkflowEngine", id_: str) -> WorkflowStatus:
    """Starts nothing more until it is resumed."""
    live = await _required(engine, id_)

    def act(now_ms: int) -> None:
        live.note("paused", None, {}, now_ms)
        live.machine.pause(now_ms)

    await live.perform(act)
    return engine.get_workflow_status(live.record.id)


async def unpause(engine: "WorkflowEngine", id_: str) -> WorkflowStatus:
    """Goes on with a paused execution."""
    live = await _required(engine, id_)

    def act(now_ms: int) -> None:
        live.note("resumed", None, {}, now_ms)
        live.machine.resume(now_ms)

    await live.perform(act)
    return engine.get_workflow_status(live.record.id)


async def skip(engine: "WorkflowEngine", id_: str, step: str, reason: str) -> WorkflowStatus:
    """Has a step count as done without a result; one that runs is stopped."""
    live = await _required(engine, id_)
    position = _position(live, step)
    if live.machine.state(position) in ("completed", "skipped"):
        raise NotPossible(f"{step} is {live.machine.state(position)} already", "skip steps that are not done")
    why = reason or "skipped by a person"

    def act(now_ms: int) -> None:
        live.note("skipped", position, {"reason": why}, now_ms)
        live.machine.skip_by_hand(position, why, now_ms)

    await live.perform(act)
    return engine.get_workflow_status(live.record.id)


async def retry(engine: "WorkflowEngine", id_: str, step: str | None) -> WorkflowResult:
    """Tries failed and cancelled steps (or one) again, and goes on to the end."""
    record, prepare = await revival(engine, id_, step)
    if prepare is not None:
        async with engine.hosting() as host:
            await engine.submissions.run(record, host, prepare)
    return await engine.perform(record)


async def revival(
    engine: "WorkflowEngine", id_: str, step: str | None
) -> tuple[ExecutionRecord, Callable[[LiveExecution, int], None] | None]:
    """An execution to try again, and what its next performance begins with; None where it is under way and was told.

    Raises NotFound, and NotPossible or another UserError where that step, or any, cannot be tried again.
    """
    record = engine.execution(id_)
    live = engine.core.live.get(record.id)
    if live is not None and live.over:
        await live.ended.wait()  # in a moment
        live, record = None, engine.core.journal.execution(record.id)
    seen = live or engine.submissions.look(record)
    position = None if step is None else _position(seen, step)
    if position is None and not any(seen.machine.counts()[state] for state in ("failed", "cancelled")):
        raise NotPossible(f"nothing in {record.id} has failed", "to execute it once more: rerun")

    def act(live: LiveExecution, now_ms: int) -> None:
        live.try_again(position, now_ms)

    if live is None:
        act(seen, engine.core.now_ms())  # so that what cannot be is told to who asked
        return record, act
    await live.perform(lambda now_ms: act(live, now_ms))
    return record, None


def rerun(engine: "WorkflowEngine", id_: str, *, failed: bool, step: str | None) -> ExecutionRecord:
    """A new execution of the same plan that names the old one as its origin.

    Without more all of it runs again; with `failed` what had completed is taken over, and so it is with `step`, except
    for that step and everything that depends on it.
    """
    old = engine.execution(id_)
    planned = engine.submissions.plan_of(old)
    graph = planned.graph
    if step is not None and step not in graph.position:
        raise NotFound(f"{old.id} has no step {step!r}", f"its steps: {', '.join(graph.ids[:20])}")
    again = _downstream(graph.dependents, [] if step is None else [graph.position[step]])
    rows: Iterable[StepRow] = _taken_over(engine, old, again) if failed or step is not None else ()
    request = Request(
        planned.spec, old.inputs, submitter=old.submitter, priority=old.priority, origin=old.id, source=old.source
    )
    return engine.submissions.accept(request, rows)


def _taken_over(engine: "WorkflowEngine", old: ExecutionRecord, again: set[int]) -> Iterable[StepRow]:
    journal, count = engine.core.journal, len(engine.submissions.plan_of(old).graph.ids)
    for row in list(journal.rows(old.id)):
        if row.position < count and row.position not in again and row.state == "completed":
            row.result = journal.result(old.id, row.position)
            row.result_blob = None
            yield row


def _downstream(dependents: "Any", start: list[int]) -> set[int]:
    found, pending = set(start), list(start)
    while pending:
        for position in dependents[pending.pop()]:
            if position not in found:
                found.add(position)
                pending.append(position)
    return found


async def signal(engine: "WorkflowEngine", id_: str, name: str, data: Json) -> None:
    """Sends a signal to an execution that has not ended."""
    live = await _required(engine, id_)
    await live.perform(lambda now_ms: live.note("signalled", None, {"name": name, "data": data}, now_ms))
    live.conversations.wake()


async def answer(engine: "WorkflowEngine", id_: str, step: str, value: Json) -> None:
    """Answers an `input` step. Raises NotAsked, BadAnswer."""
    live = await _required(engine, id_)
    position = _position(live, step)
    check_answer(engine.core.journal.notes(live.record.id, position), step, value)
    await live.perform(lambda now_ms: live.note("answered", position, {"value": value}, now_ms))
    live.conversations.wake()


def explain(engine: "WorkflowEngine", id_: str, step: str | None) -> list[Explained]:
    """Why steps stand where they do; without `step`, of all that did not simply complete."""
    record = engine.execution(id_)
    live = engine.core.live.get(record.id) or engine.submissions.look(record)
    notes: dict[int, list[Note]] = {}
    for _, note in engine.core.journal.notes(record.id):
        if note.position is not None:
            notes.setdefault(note.position, []).append(note)
    if step is not None:
        positions: Iterable[int] = [_position(live, step)]
    else:
        quiet = ("completed",) if record.state in RUN_ENDED else ()
        count = len(live.graph.ids)
        told = {at for at in range(count) if live.machine.state(at) not in quiet}
        told |= {at for at, known in notes.items() if any(note.kind not in ORDINARY for note in known)}
        positions = sorted(told)[:EXPLAINED_MAX]
    return [_explained(engine, live, at, notes.get(at, []), details=step is not None) for at in positions]


def _explained(
    engine: "WorkflowEngine", live: LiveExecution, position: int, notes: list[Note], details: bool
) -> Explained:
    state, why = live.machine.state(position), live.machine.why(position)
    if state == "ready":
        why = engine.core.admission.why((live.record.id, position)) or "waits for room, behind others of this execution"
    if state == "running":
        why = _running(live, position, notes, engine.core.now_ms()) or why
    history = tuple({"kind": note.kind, "at_ms": note.at_ms, **_told(note, details)} for note in notes)
    return Explained(live.steps.id(position), state, live.machine.attempts(position), why, history)


def _running(live: LiveExecution, position: int, notes: list[Note], now_ms: int) -> str:
    if notes and notes[-1].kind == "asked":
        return f"asks for an answer: coterie workflow answer {live.record.id} {live.steps.id(position)}"
    flight = live.flights.get(position)
    if flight is None:
        return ""
    if flight.step.type == "wait":
        return f"waits: {', '.join(f'{name} {value}' for name, value in flight.step.config.items())}"
    told = f", {flight.progress}" if flight.progress else ""
    return f"runs for {(now_ms - flight.started_ms) / 1000:.1f} s{told}"


def _told(note: Note, details: bool) -> dict[str, Json]:
    left_out = ("items",) if details else ("items", "detail")
    return {key: value for key, value in note.body.items() if key not in left_out}


def last_errors(engine: "WorkflowEngine", record: ExecutionRecord) -> dict[str, str]:
    """What steps failed with in the end, by id."""
    graph = engine.submissions.plan_of(record).graph
    found: dict[str, str] = {}
    if record.counts.get("failed"):
        for row in engine.core.journal.rows(record.id, limit=None):
            if row.state == "failed" and len(found) < ERRORS_MAX and row.position < len(graph.ids):
                found[graph.ids[row.position]] = row.reason
    return found


def _position(live: LiveExecution, step: str) -> int:
    try:
        return live.steps.position(step)
    except KeyError:
        known = ", ".join(live.graph.ids[:20])
        raise NotFound(f"{live.record.id} has no step {step!r}", f"its steps: {known}") from None


async def _required(engine: "WorkflowEngine", id_: str) -> LiveExecution:
    live = await _going(engine, id_)
    if live is None:
        record = engine.execution(id_)
        raise NotPossible(f"{record.id} has {record.state}", "retry or rerun it")
    return live


async def _going(engine: "WorkflowEngine", id_: str) -> LiveExecution | None:
    """The execution under way; None for one that has ended."""
    record = engine.execution(id_)
    live = engine.core.live.get(record.id)
    if live is not None and live.over:
        return None
    if live is None and record.state not in RUN_ENDED:
        raise NotPossible(f"nothing performs {record.id} now", "resume it first")
    return live
