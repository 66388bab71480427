"""Answers a step's questions about the execution that it belongs to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from coterie.engine.model import Json, StepState

if TYPE_CHECKING:
    from coterie.engine.performing.execution import LiveExecution


class LiveReader:
    """Implements `RunReader`."""

    __slots__ = ("_live",)

    def __init__(self, live: "LiveExecution") -> None:
        self._live = live

    def needs(self, step: str) -> tuple[str, ...]:
        """The ids of the steps that it needs."""
        live = self._live
        root = live.steps.root(live.steps.position(step))
        return tuple(live.graph.ids[need] for need in live.graph.needs[root])

    def state(self, step: str) -> StepState:
        """Where it stands."""
        return self._live.machine.state(self._live.steps.position(step))

    def result(self, step: str) -> Json:
        """What it returned; None while it has not completed."""
        position = self._live.steps.position(step)
        return self._live.results.get(position) if self._live.machine.state(position) == "completed" else None

    def parallel_results(self, step: str) -> list[Json]:
        """What the children of a map step have returned so far, None for those that have not."""
        live = self._live
        first, count = live.machine.expansion(live.steps.position(step))
        states, get = live.machine.state, live.results.get
        return [get(child) if states(child) == "completed" else None for child in range(first, first + count)]

    def errors(self, step: str | None) -> list[Mapping[str, Json]]:
        """Every failed attempt so far."""
        live = self._live
        position = None if step is None else live.steps.position(step)
        notes = live.core.journal.notes(live.record.id, position)
        return [
            {"step": live.steps.id(note.position), "at_ms": note.at_ms, **note.body}
            for _, note in notes
            if note.kind == "failed" and note.position is not None
        ]

    def plan(self) -> Mapping[str, Json]:
        """The plan of the execution."""
        from coterie.engine.planning.plan import make_plan

        return make_plan(self._live.spec).to_json()
