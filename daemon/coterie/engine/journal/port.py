"""What is kept of executions, and the port through which the engine keeps it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from coterie.engine.model import Json, RunState, StepState

NoteKind = Literal[
    "failed",  # an attempt failed: body has class, message, detail, attempt, retry_at_ms or None
    "lost",  # an attempt was running when the engine died
    "paused",
    "resumed",
    "cancelled",  # asked for: body has reason
    "skipped",  # by a person
    "reset",  # tried again by a person
    "signalled",  # body has name and data
    "answered",  # an input step: body has value
    "asked",  # an input step waits: body has form and deadline_ms
    "expanded",  # a map step: body has first (position) and items
    "compensated",  # body has state and message
    "code-changed",  # resumed with other code than it began with: body has functions
    "received",  # a wait step has had a signal: body has seq, the number of the note of that signal
    "waiting",  # a wait step waits for a time: body has until_ms
]


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One execution of a workflow, as accepted. Times are Unix milliseconds; what is None has not happened.

    `document` is the canonical JSON of its WorkflowSpec and `plan_hash` its name. `key` makes submitting idempotent.
    `origin` is the execution that this one reruns. `code` maps function names to fingerprints of their code.
    """

    id: str
    workflow: str
    name: str
    document: bytes
    plan_hash: str
    created_ms: int
    state: RunState = "pending"
    inputs: Mapping[str, Json] = field(default_factory=dict[str, Json])
    submitter: str = ""
    priority: float = 3.0
    key: str | None = None
    origin: str | None = None
    source: str | None = None
    code: Mapping[str, str] = field(default_factory=dict[str, str])
    started_ms: int | None = None
    ended_ms: int | None = None
    reason: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict[str, Json])
    counts: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class StepRow:
    """What is kept of one step, by its position in the plan; children of a map follow after the plan's own steps.

    `attempt` counts every start, `lost` those that died with the engine. `due_ms`: when a failed one is tried again.
    `result` is JSON, and None where `result_blob` names a blob that holds it. `arm` is what a conditional step chose.
    """

    position: int
    state: StepState
    attempt: int = 0
    lost: int = 0
    ready_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    due_ms: int | None = None
    result: bytes | None = None
    result_blob: str | None = None
    arm: str | None = None
    tolerated: bool = False
    reason: str = ""
    compensation: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something out of the ordinary run of things, in the order in which it happened. `position` None: of the run."""

    at_ms: int
    kind: NoteKind
    position: int | None
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ExecutionChange:
    """What changed in the execution itself; None is left as it is."""

    state: RunState | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    reason: str | None = None
    outputs: Mapping[str, Json] | None = None
    counts: Mapping[str, int] | None = None


class Journal(Protocol):
    """Keeps executions. What a method returned from is durable, as far as the journal's durability says."""

    def create(self, record: ExecutionRecord, rows: Iterable[StepRow] = (), *, sync: bool = True) -> None:
        """Keeps a new execution; `rows` are steps that it takes over from its origin. Raises KeyTaken.

        Without `sync` it is durable with the next commit, of whatever execution: not before anybody was told.
        """
        ...

    def commit(
        self,
        execution: str,
        rows: Sequence[StepRow] = (),
        notes: Sequence[Note] = (),
        change: ExecutionChange | None = None,
    ) -> None:
        """Writes all of it in one transaction, each row whole over what was there. Raises DiskFailed."""
        ...

    def execution(self, id_: str) -> ExecutionRecord:
        """One execution. Raises NotFound."""
        ...

    def find(self, prefix: str) -> ExecutionRecord:
        """One execution by a unique prefix of its id (at least 4 characters), `@last` or `@last-failed`.

        Raises NotFound, or UserError that lists the candidates where it is ambiguous.
        """
        ...

    def by_key(self, key: str) -> ExecutionRecord | None:
        """The execution that was submitted with that key."""
        ...

    def executions(self, limit: int, workflow: str | None = None) -> list[ExecutionRecord]:
        """The newest first, without their documents (empty)."""
        ...

    def unfinished(self) -> list[ExecutionRecord]:
        """Those that have not ended, the oldest first."""
        ...

    def rows(self, execution: str, start: int = 0, limit: int | None = None) -> Iterator[StepRow]:
        """The rows by position, from `start` on; results are left out of them (see `result`)."""
        ...

    def row(self, execution: str, position: int) -> StepRow | None:
        """One row, without its result."""
        ...

    def result(self, execution: str, position: int) -> bytes | None:
        """The JSON that a completed step returned, wherever it is kept; None where it returned nothing."""
        ...

    def results(self, execution: str, start: int, count: int) -> Iterator[tuple[int, bytes]]:
        """The positions in [start, start + count) that returned something, with what it was, in order."""
        ...

    def notes(self, execution: str, position: int | None = None, after: int = 0) -> list[tuple[int, Note]]:
        """With their sequence numbers, in order; with `position`, those of that step alone."""
        ...

    def prune(self, keep_bytes_max: int, keep_s: float, now_ms: int) -> int:
        """Forgets ended executions, the oldest first, until both limits hold; returns how many."""
        ...

    def close(self) -> None:
        """Writes what is left and lets go of the file."""
        ...
