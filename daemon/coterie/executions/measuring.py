"""What executions took: lengths, waits, retries, the path that determined the end. Read a thousand rows at a time.

Between two of these others have their turn, so that also 100,000 steps hold nobody up. What was measured of an
execution that has ended is kept, of one that goes on for a moment.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import trio

from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.journal.timeline import CHUNK_ROWS, StepTimes, Totals
from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import RUN_ENDED
from coterie.engine.performing.steps_of import StepsOf
from coterie.engine.performing.submission import Planned
from coterie.executions.reading import Reading, remember
from coterie.executions.views import CriticalStep, MetricsView, StepMetrics
from coterie.wall_clock import unix_ms

MS: Final = 1000
KEPT_MAX: Final = 16
FRESH_MS: Final = 1000
"""For so long what was measured of an execution under way is told again."""
IDLE_TYPES: Final = frozenset({"input", "wait"})
"""Steps that wait for people, times and signals: they do no work."""
CRITICAL_MAX: Final = 1000
"""Steps that a critical path shows: its last ones."""
UNKNOWN: Final = -1


@dataclass(slots=True)
class Columns:
    """Times of all steps by position, in milliseconds; UNKNOWN for what has not happened."""

    ready: "array[int]" = field(default_factory=lambda: array("q"))
    started: "array[int]" = field(default_factory=lambda: array("q"))
    ended: "array[int]" = field(default_factory=lambda: array("q"))
    attempt: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, row: StepTimes) -> None:
        """The next row; positions that have none are filled up."""
        for column, value in (
            (self.ready, row.ready_ms),
            (self.started, row.started_ms),
            (self.ended, row.ended_ms),
            (self.attempt, row.attempt),
        ):
            if len(column) < row.position:
                column.extend([UNKNOWN] * (row.position - len(column)))
            column.append(UNKNOWN if value is None else value)

    def ran_ms(self, position: int) -> int | None:
        """How long its last attempt ran; None where it never did, or has not ended."""
        if position >= len(self.ended) or self.started[position] < 0 or self.ended[position] < 0:
            return None
        return max(0, self.ended[position] - self.started[position])

    def waited_ms(self, position: int) -> int | None:
        """How long it waited for room."""
        if position >= len(self.started) or self.started[position] < 0 or self.ready[position] < 0:
            return None
        return max(0, self.started[position] - self.ready[position])


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at an execution. `children` are the positions of those that map steps made."""

    at_ms: int
    final: bool
    columns: Columns
    children: Mapping[int, range]
    totals: Totals
    work_ms: int
    critical: tuple[CriticalStep, ...]
    critical_ms: int


class Measuring:
    """Measures the executions that `reading` finds."""

    def __init__(self, reading: Reading, journal: SqliteJournal) -> None:
        self._reading = reading
        self._journal = journal
        self._known: OrderedDict[str, Measured] = OrderedDict()

    async def metrics(self, id_: str, start: int, limit: int) -> MetricsView:
        """What it took; `by_step` has the steps of the plan from position `start` on. Raises NotFound."""
        record = self._reading.find(id_)
        planned = await self._reading.planned(record)
        steps = await self._reading.steps_of(record)
        measured = await self._measured(record, planned, steps)
        totals, count = measured.totals, len(planned.graph.ids)
        end_ms = record.ended_ms or unix_ms()
        wall_ms = 0 if record.started_ms is None else max(0, end_ms - record.started_ms)
        shown = range(start, min(start + limit, count))
        return MetricsView(
            execution=record.id,
            status=record.state,
            steps=totals.steps,
            retries=totals.retries,
            lost=totals.lost,
            work_s=measured.work_ms / MS,
            wall_s=wall_ms / MS,
            queue_wait_s=totals.waited_ms / MS,
            queue_wait_max_s=totals.waited_ms_max / MS,
            parallel_efficiency=round(measured.work_ms / wall_ms, 4) if wall_ms else None,
            critical_path=measured.critical,
            critical_path_s=measured.critical_ms / MS,
            by_step=tuple(_step(steps.id(at), measured.columns, at, measured.children.get(at)) for at in shown),
            next=start + limit if start + limit < count else None,
        )

    async def _measured(self, record: ExecutionRecord, planned: Planned, steps: StepsOf) -> Measured:
        known, now_ms = self._known.get(record.id), unix_ms()
        if known is not None and (known.final if record.state in RUN_ENDED else now_ms - known.at_ms < FRESH_MS):
            return known
        columns = Columns()
        for number, row in enumerate(self._journal.times(record.id), 1):
            columns.add(row)
            if number % CHUNK_ROWS == 0:
                await trio.lowlevel.checkpoint()
        maps = any(step.type == "map" for step in planned.spec.steps)
        expansions = self._reading.notable(record.id).expansions if maps else ()
        children = {parent: range(first, first + count) for parent, first, count in expansions}
        critical = _critical(columns, planned.graph)
        measured = Measured(
            at_ms=now_ms,
            final=record.state in RUN_ENDED,
            columns=columns,
            children=children,
            totals=self._journal.totals(record.id),
            work_ms=await _work_ms(columns, planned, steps, children) + self._journal.repeated_ms(record.id),
            critical=tuple([_critical_step(planned, columns, position) for position in critical[-CRITICAL_MAX:]]),
            critical_ms=sum(columns.ran_ms(position) or 0 for position in critical),
        )
        self._known.pop(record.id, None)
        remember(self._known, record.id, measured, KEPT_MAX)
        return measured


async def _work_ms(columns: Columns, planned: Planned, steps: StepsOf, children: Mapping[int, range]) -> int:
    """The last attempts one after the other, without those that only waited, for others or for their children."""
    idle = {position for position, step in enumerate(planned.spec.steps) if step.type in IDLE_TYPES}
    idle.update(children)
    for places in children.values():
        if places and steps.spec(places[0]).type in IDLE_TYPES:
            idle.update(places)
    total_ms = 0
    for start in range(0, len(columns.ended), CHUNK_ROWS):
        places = range(start, min(start + CHUNK_ROWS, len(columns.ended)))
        total_ms += sum(columns.ran_ms(position) or 0 for position in places if position not in idle)
        await trio.lowlevel.checkpoint()
    return total_ms


def _critical(columns: Columns, graph: StepGraph) -> list[int]:
    """The path that determined the end: from the step that ended last back through the need of each that ended last."""
    ended = columns.ended[: len(graph.ids)]
    if not ended or (last := max(ended)) < 0:
        return []
    path = [ended.index(last)]
    while known := [need for need in graph.needs[path[-1]] if need < len(ended) and ended[need] >= 0]:
        path.append(max(known, key=lambda need: ended[need]))
    return path[::-1]


def _critical_step(planned: Planned, columns: Columns, position: int) -> CriticalStep:
    waited_ms, ran_ms = columns.waited_ms(position), columns.ran_ms(position)
    return CriticalStep(planned.graph.ids[position], (waited_ms or 0) / MS, (ran_ms or 0) / MS)


def _step(id_: str, columns: Columns, position: int, children: range | None) -> StepMetrics:
    places = [position] if children is None else children
    ran = [length for place in places if (length := columns.ran_ms(place)) is not None]
    waited = [length for place in places if (length := columns.waited_ms(place)) is not None]
    known = [place for place in places if place < len(columns.attempt)]
    return StepMetrics(
        step=id_,
        items=len(places),
        duration_p50_s=median(ran) / MS if ran else None,
        duration_max_s=max(ran) / MS if ran else None,
        queue_wait_p50_s=median(waited) / MS if waited else None,
        queue_wait_max_s=max(waited) / MS if waited else None,
        retries=sum(max(columns.attempt[place] - 1, 0) for place in known),
    )
