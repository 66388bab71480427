"""What the engine tells of an execution: while it runs, and when it has ended."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from coterie.engine.journal.port import ExecutionRecord, Journal
from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import RUN_ENDED, Json, RunState


class StepResults(Mapping[str, Json]):
    """What completed steps returned, by id; read from the journal when asked for."""

    def __init__(self, journal: Journal, execution: str, graph: StepGraph, objects: Mapping[int, object]) -> None:
        self._journal = journal
        self._execution = execution
        self._graph = graph
        self._objects = objects

    def __getitem__(self, step: str) -> Json:
        position = self._graph.position[step]
        if position in self._objects:
            return self._objects[position]
        row = self._journal.row(self._execution, position)
        if row is None or row.state != "completed":
            raise KeyError(step)
        data = self._journal.result(self._execution, position)
        return None if data is None else json.loads(data)

    def __iter__(self) -> Iterator[str]:
        for row in self._journal.rows(self._execution, limit=len(self._graph.ids)):
            if row.state == "completed" and row.position < len(self._graph.ids):
                yield self._graph.ids[row.position]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"StepResults({dict(self)!r})"


@dataclass(frozen=True, slots=True)
class WorkflowStatus:
    """Where an execution stands. `counts` counts its steps by state; times are Unix milliseconds."""

    workflow_id: str
    execution_id: str
    name: str
    status: RunState
    counts: Mapping[str, int]
    running: tuple[str, ...]
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    reason: str

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.status in RUN_ENDED


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """How an execution ended. `execution_time` is seconds from its start to its end."""

    workflow_id: str
    execution_id: str
    status: RunState
    counts: Mapping[str, int]
    results: Mapping[str, Json]
    outputs: Mapping[str, Json]
    errors: Mapping[str, str]
    execution_time: float
    reason: str

    @property
    def ok(self) -> bool:
        """Did it complete?"""
        return self.status == "completed"

    def raise_for_status(self) -> "WorkflowResult":
        """Itself where it completed; raises WorkflowFailed with what went wrong otherwise."""
        if self.ok:
            return self
        raise WorkflowFailed(self)


class WorkflowFailed(Exception):
    """An execution did not complete; `result` has the rest."""

    def __init__(self, result: WorkflowResult) -> None:
        told = "; ".join(f"{step}: {message}" for step, message in list(result.errors.items())[:5])
        super().__init__(f"{result.workflow_id} {result.status}: {told or result.reason}")
        self.result = result


def status_of(record: ExecutionRecord, counts: Mapping[str, int], running: tuple[str, ...]) -> WorkflowStatus:
    """The status of an execution as kept."""
    return WorkflowStatus(
        workflow_id=record.workflow,
        execution_id=record.id,
        name=record.name,
        status=record.state,
        counts=counts,
        running=running,
        created_ms=record.created_ms,
        started_ms=record.started_ms,
        ended_ms=record.ended_ms,
        reason=record.reason,
    )
