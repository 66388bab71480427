"""What there is to tell of executions: from the journal, and from those under way. Nothing here changes anything."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import trio
from pydantic_core import to_json

from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, StepRow
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.model import RUN_ENDED, Json, StepState
from coterie.engine.performing.execution import LiveExecution
from coterie.engine.performing.steps_of import StepsOf
from coterie.engine.performing.submission import Planned
from coterie.executions.views import (
    Ask,
    ExecutionsView,
    ExecutionView,
    ExplainedStep,
    ExplanationView,
    StepsView,
    StepView,
    time_of,
)
from coterie_protocols.errors import NotFound, UserError

RUNNING_MAX: Final = 100
ASKS_MAX: Final = 100
NOTABLE_MAX: Final = 256
LARGE_DOCUMENT_BYTES: Final = 64 * 1024
"""A document of more than that is read in a thread."""

K = TypeVar("K")
V = TypeVar("V")


class NoResult(UserError):
    """The step has not completed, so it returned nothing."""

    code = "no-result"
    exit_code = 5


@dataclass(frozen=True, slots=True)
class Notable:
    """What the notes of an execution say beside its rows: functions that changed, and what map steps made.

    `expansions` are (position, first child, number of children).
    """

    code_changed: tuple[str, ...] = ()
    expansions: tuple[tuple[int, int, int], ...] = ()


class Reading:
    """Reads the executions of `engine`. Ids are whole ones, prefixes, `@last`, `@last-failed`, or a workflow's newest.

    Everything raises NotFound. Implements `engine.core.Observer` to remember what is rare.
    """

    def __init__(self, engine: WorkflowEngine, journal: SqliteJournal) -> None:
        self._engine = engine
        self._journal = journal
        self._live = engine.core.live
        self._changed: dict[str, tuple[str, ...]] = {}
        self._notable: OrderedDict[str, Notable] = OrderedDict()

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Remembers that an execution was resumed with other code."""
        for note in notes:
            if note.kind == "code-changed":
                self._changed[live.record.id] = tuple(map(str, note.body["functions"]))
        if notes:
            self._notable.pop(live.record.id, None)
        if change is not None and change.state in RUN_ENDED:
            self._changed.pop(live.record.id, None)

    def find(self, id_: str) -> ExecutionRecord:
        """One execution."""
        return self._engine.execution(id_)

    def is_live(self, id_: str) -> bool:
        """Is it performed at this moment?"""
        return id_ in self._live

    def view(self, id_: str) -> ExecutionView:
        """Where one stands."""
        return self.view_of(self.find(id_))

    def views(self, limit: int, workflow: str | None) -> ExecutionsView:
        """The newest first, of one workflow or of all."""
        return ExecutionsView(tuple(map(self.view_of, self._journal.executions(limit, workflow))))

    def view_of(self, record: ExecutionRecord) -> ExecutionView:
        """Where an execution stands now, of which `record` may be an older state."""
        live = self._live.get(record.id)
        if live is None:
            return self._seen(record, record.counts or self._counts(record), (), ())
        flights = live.flights.values()
        running = tuple([flight.step.id for flight in islice(flights, RUNNING_MAX)])
        return self._seen(record, _named(live.machine.counts()), running, tuple(islice(self._asks(live), ASKS_MAX)))

    def _seen(
        self, record: ExecutionRecord, counts: Mapping[str, int], running: tuple[str, ...], asks: tuple[Ask, ...]
    ) -> ExecutionView:
        live = self._live.get(record.id)
        state = record.state if live is None else live.state
        started_ms = record.started_ms if live is None else live.started_ms
        return ExecutionView(
            id=record.id,
            workflow=record.workflow,
            name=record.name,
            status=state,
            counts={name: count for name, count in counts.items() if count},
            running=running,
            created_at=time_of(record.created_ms) or "",
            started_at=time_of(started_ms),
            ended_at=time_of(record.ended_ms),
            reason=record.reason,
            inputs=record.inputs,
            outputs=record.outputs,
            plan_hash=record.plan_hash,
            origin=record.origin,
            key=record.key,
            submitter=record.submitter,
            priority=record.priority,
            asks=asks,
            code_changed=self._code_changed(record),
        )

    def _counts(self, record: ExecutionRecord) -> dict[str, int]:
        """Of an execution that has not ended and that nothing performs at this moment."""
        totals = self._journal.totals(record.id)
        ended = {name: getattr(totals, name) for name in ("completed", "failed", "skipped", "cancelled")}
        return {**ended, "pending": totals.steps - sum(ended.values())}

    def _asks(self, live: LiveExecution) -> Iterator[Ask]:
        for flight in live.flights.values():
            if flight.step.type != "input":
                continue
            open_question: Note | None = None
            for _, note in self._journal.notes(live.record.id, flight.position):
                if note.kind == "asked":
                    open_question = note
                elif note.kind in ("answered", "reset"):
                    open_question = None
            if open_question is not None:
                body = open_question.body
                yield Ask(flight.step.id, body["form"], time_of(body["deadline_ms"]))

    def _code_changed(self, record: ExecutionRecord) -> tuple[str, ...]:
        if not record.code:
            return ()
        if record.id in self._live:
            return self._changed.get(record.id, ())
        return self.notable(record.id).code_changed

    # --- steps ---

    async def planned(self, record: ExecutionRecord) -> Planned:
        """The plan of an execution; a large one that is not at hand is read in a thread."""
        plan_of = self._engine.submissions.plan_of
        whole = record if record.document else self._journal.execution(record.id)
        if len(whole.document) <= LARGE_DOCUMENT_BYTES or record.id in self._live:
            return plan_of(whole)
        return await trio.to_thread.run_sync(plan_of, whole)

    async def steps_of(self, record: ExecutionRecord) -> StepsOf:
        """The names of its steps, children of map steps included."""
        live = self._live.get(record.id)
        if live is not None:
            return live.steps
        planned = await self.planned(record)
        steps = StepsOf(planned.spec, planned.graph)
        if any(step.type == "map" for step in planned.spec.steps):
            for position, first, count in self.notable(record.id).expansions:
                steps.expand(position, first, [None] * count)
        return steps

    async def step_count(self, record: ExecutionRecord) -> int:
        """How many steps it has, children of map steps included."""
        live = self._live.get(record.id)
        if live is not None:
            return sum(live.machine.counts().values())
        return sum(record.counts.values()) or len((await self.planned(record)).graph.ids)

    async def steps(self, id_: str, start: int, limit: int) -> StepsView:
        """The steps from position `start` on, at most `limit`."""
        record = self.find(id_)
        steps, count = await self.steps_of(record), await self.step_count(record)
        end = min(start + limit, count)
        rows = {row.position: row for row in self._journal.rows(record.id, start, limit) if row.position < end}
        views = [step_view(steps, rows.get(position) or StepRow(position, "pending")) for position in range(start, end)]
        return StepsView(tuple(views), end if end < count else None)

    async def step(self, record: ExecutionRecord, position: int) -> StepView:
        """One step."""
        row = self._journal.row(record.id, position) or StepRow(position, "pending")
        return step_view(await self.steps_of(record), row)

    async def position(self, record: ExecutionRecord, step: str) -> int:
        """Where the step of that id is. Raises NotFound."""
        steps = await self.steps_of(record)
        try:
            return steps.position(step)
        except KeyError:
            known = ", ".join((await self.planned(record)).graph.ids[:20])
            raise NotFound(f"{record.id} has no step {step!r}", f"its steps: {known}") from None

    async def result(self, id_: str, step: str) -> bytes:
        """What a step returned, as the JSON of `ResultView`. Raises NoResult if it has not completed."""
        record = self.find(id_)
        position = await self.position(record, step)
        row = self._journal.row(record.id, position)
        if row is None or row.state != "completed":
            state = "pending" if row is None else row.state
            raise NoResult(f"{step} has returned nothing: it is {state}", f"see: coterie workflow explain {id_} {step}")
        head = {"schema": "coterie.step-result/1", "execution": record.id, "step": step}
        result = self._journal.result(record.id, position) or b"null"
        return to_json(head)[:-1] + b',"result":' + result + b"}"

    def explain(self, id_: str, step: str | None) -> ExplanationView:
        """Why steps stand where they do; without `step`, of all that did not simply complete."""
        record = self.find(id_)
        explained = [
            ExplainedStep(each.step, each.state, each.attempt, each.why, tuple(map(_dated, each.history)))
            for each in self._engine.explain(record.id, step)
        ]
        return ExplanationView(record.id, record.state, record.reason, tuple(explained))

    def notable(self, id_: str) -> Notable:
        """What the notes of an execution say that is not under way."""
        known = self._notable.get(id_)
        if known is None:
            code: tuple[str, ...] = ()
            expansions: list[tuple[int, int, int]] = []
            for _, note in self._journal.notes(id_):
                if note.kind == "code-changed":
                    code = tuple(map(str, note.body["functions"]))
                elif note.kind == "expanded" and note.position is not None:
                    expansions.append((note.position, int(note.body["first"]), len(note.body["items"])))
            known = Notable(code, tuple(expansions))
            if id_ not in self._live:
                remember(self._notable, id_, known, NOTABLE_MAX)
        return known


def step_view(steps: StepsOf, row: StepRow) -> StepView:
    """A step as its row has it."""
    spec = steps.spec(row.position)
    return StepView(
        id=spec.id,
        position=row.position,
        name=spec.name or spec.id,
        type=spec.type,
        state=row.state,
        attempt=row.attempt,
        ready_at=time_of(row.ready_ms),
        started_at=time_of(row.started_ms),
        ended_at=time_of(row.ended_ms),
        due_at=time_of(row.due_ms),
        reason=row.reason,
        needs=spec.needs,
    )


def _named(counts: Mapping[StepState, int]) -> dict[str, int]:
    return {str(state): count for state, count in counts.items()}


def remember(cache: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Keeps `value`, and no more than `most` of them: the oldest goes."""
    cache[key] = value
    if len(cache) > most:
        cache.popitem(last=False)


def _dated(entry: Mapping[str, Json]) -> dict[str, Json]:
    """An entry of a history with times as the API writes them."""
    dated: dict[str, Json] = {}
    for key, value in entry.items():
        if not key.endswith("_ms"):
            dated[key] = value
        else:
            name = key.removesuffix("_ms")
            dated[name if name.endswith(("at", "until")) else f"{name}_at"] = time_of(value)
    return dated
