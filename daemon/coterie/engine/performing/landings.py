"""How attempts end: what they returned or failed with goes to the machine, and into the rows of this turn."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, assert_never

from coterie.engine.failures import ConfigurationFailure
from coterie.engine.journal.port import Note, StepRow
from coterie.engine.model import STEP_ENDED, Json
from coterie.engine.performing.flight import Flight
from coterie.engine.performing.verdict import Expanded, Failed, Returned, Stopped, Verdict

if TYPE_CHECKING:
    from coterie.engine.performing.execution import LiveExecution

REASON_CHARS_MAX: Final = 2000


class Landings:
    """Of one execution. `landed` are the ends of this turn with their results, `mapping` the map steps with children.

    `reason` is the first failure that was not tolerated. `failures` counts failed attempts since a person last had the
    step tried again, and `first_ms` tells when its first one began, for steps with a limit on all of them.
    """

    def __init__(self, live: "LiveExecution", reason: str) -> None:
        self._live = live
        self._machine = live.machine
        self.landed: dict[int, tuple[Flight, bytes | None]] = {}
        self.mapping: dict[int, Flight] = {}
        self.failures: dict[int, int] = {}
        self.first_ms: dict[int, int] = {}
        self.reason = reason

    def row(self, position: int, now_ms: int) -> StepRow:
        """What is to be kept of a step that changed in this turn."""
        row = self._machine.row(position)
        flight = self._live.flights.get(position) or self.mapping.get(position)
        if position in self.landed:
            flight, row.result = self.landed[position]
        if flight is not None:
            row.ready_ms, row.started_ms = flight.ready_ms, flight.started_ms
        elif row.attempt:
            self._as_kept(row)
        if row.state in STEP_ENDED and row.ended_ms is None:
            row.ended_ms = now_ms
        return row

    def _as_kept(self, row: StepRow) -> None:
        """For a step that changed while no attempt of it was under way: undone, skipped or tried again by a person."""
        kept = self._live.core.journal.row(self._live.record.id, row.position)
        if kept is not None:
            row.ready_ms, row.started_ms = kept.ready_ms, kept.started_ms
            if row.state in STEP_ENDED:
                row.ended_ms = kept.ended_ms

    def land(self, flight: Flight, verdict: Verdict, now_ms: int) -> None:
        """Tells the machine how an attempt ended."""
        position = flight.position
        if flight.want is not None:
            self._live.core.admission.release(flight.want.ticket)
        del self._live.flights[position]
        match verdict:
            case Returned():
                self._returned(flight, verdict, now_ms)
            case Expanded():
                self._expanded(flight, verdict.items, now_ms)
            case Failed():
                self._failed(flight, verdict, now_ms)
            case Stopped():
                self.landed[position] = (flight, None)
                self._machine.cancelled(position, now_ms)
            case _:
                assert_never(verdict)

    def _returned(self, flight: Flight, verdict: Returned, now_ms: int) -> None:
        try:
            data = self._live.results.put(flight.position, verdict.value)
        except ConfigurationFailure as error:
            self._failed(flight, Failed(self._live.core.classify(error), None), now_ms)
            return
        self.landed[flight.position] = (flight, data)
        self._machine.completed(flight.position, now_ms, arm=verdict.arm)

    def _failed(self, flight: Flight, verdict: Failed, now_ms: int) -> None:
        failure, position = verdict.failure, flight.position
        body = {
            **failure.to_json(),
            "attempt": flight.attempt,
            "started_ms": flight.started_ms,
            "ended_ms": now_ms,
            "ready_ms": flight.ready_ms,
            "retry_at_ms": verdict.retry_at_ms,
            **({"no_retry": verdict.no_retry} if verdict.no_retry else {}),
        }
        self._live.note("failed", position, body, now_ms)
        self.failures[position] = flight.retries + 1
        self.landed[position] = (flight, None)
        if verdict.retry_at_ms is not None:
            self._machine.retry_at(position, verdict.retry_at_ms, now_ms)
        else:
            self.fail(position, failure.sentence, now_ms)

    def fail(self, position: int, reason: str, now_ms: int) -> None:
        """A step fails for good, running or ready."""
        tolerated = self._live.steps.spec(position).tolerated
        if not tolerated and not self.reason:
            self.reason = f"{self._live.steps.id(position)}: {reason}"[:REASON_CHARS_MAX]
        self._machine.failed(position, reason[:REASON_CHARS_MAX], now_ms, tolerated=tolerated)

    def _expanded(self, flight: Flight, items: list[Json], now_ms: int) -> None:
        self.mapping[flight.position] = flight
        first = self._machine.expanded(flight.position, len(items), now_ms)
        self._live.steps.expand(flight.position, first, items)
        self._live.note("expanded", flight.position, {"first": first, "items": items}, now_ms)

    def expand_again(self, position: int, first: int, items: list[Json], row: StepRow) -> None:
        """A map step had its items when the engine died."""
        self._live.steps.expand(position, first, items)
        flight = Flight(
            position, self._live.steps.spec(position), row.attempt, 0, row.ready_ms or 0, row.started_ms or 0
        )
        self.mapping[position] = flight

    def remember(self, notes: Iterable[Note]) -> None:
        """What attempts before the engine died count for: retries, and limits on all tries of a step together."""
        for note in notes:
            if note.kind == "reset":
                self.forgive(note.position)
            elif note.kind in ("failed", "lost") and note.position is not None:
                if note.kind == "failed":
                    self.failures[note.position] = self.failures.get(note.position, 0) + 1
                if self._live.steps.spec(note.position).total_timeout_s is not None:
                    self.first_ms.setdefault(note.position, int(note.body["started_ms"]))

    def forgive(self, position: int | None) -> None:
        """A step, or all of them, is tried again by a person, with all its tries."""
        for known in (self.failures, self.first_ms):
            if position is None:
                known.clear()
            else:
                known.pop(position, None)

    def gather(self, position: int, now_ms: int) -> None:
        """All children of a map step have ended, and what they returned is committed."""
        if self._machine.state(position) != "running":
            return  # it was stopped meanwhile
        flight = self.mapping[position]
        first, count = self._machine.expansion(position)
        failed = [child for child in range(first, first + count) if not self._machine.succeeded(child)]
        if failed:
            self.landed[position] = (flight, None)
            named = ", ".join(self._live.steps.id(child) for child in failed[:5])
            self.fail(position, f"{len(failed)} of {count} did not complete: {named}", now_ms)
            return
        gathered: list[Json] = [None] * count
        for child, data in self._live.core.journal.results(self._live.record.id, first, count):
            gathered[child - first] = json.loads(data)
        for child, kept in self._live.results.kept_between(first, first + count):
            gathered[child - first] = kept
        self._returned(flight, Returned(gathered), now_ms)
