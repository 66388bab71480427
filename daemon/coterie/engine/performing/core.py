"""What all executions of one engine share."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from coterie.engine.admission.admission import Admission, Want
from coterie.engine.failures import Classifier, Failure
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Journal, Note, StepRow
from coterie.engine.settings import EngineSettings

if TYPE_CHECKING:
    from coterie.engine.performing.execution import LiveExecution


class Observer(Protocol):
    """Told what was committed: metrics, traces and event streams are made of it."""

    def committed(
        self, live: "LiveExecution", rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Must be quick, and must not raise."""
        ...


class OutputSink(Protocol):
    """Keeps the lines that steps put out."""

    def line(self, record: ExecutionRecord, step: str, attempt: int, text: str) -> None:
        """One line of one attempt."""
        ...

    def ended(self, record: ExecutionRecord, step: str, attempt: int) -> None:
        """There will be no more of that attempt."""
        ...


class NoOutput:
    """For engines whose owner reads no step output."""

    def line(self, record: ExecutionRecord, step: str, attempt: int, text: str) -> None:
        """Keeps nothing."""

    def ended(self, record: ExecutionRecord, step: str, attempt: int) -> None:
        """Keeps nothing."""


def unix_ms() -> int:
    """The wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Core:
    """One engine: its limits, its journal, its functions, its clock and chance, and what runs in it now."""

    settings: EngineSettings
    journal: Journal
    durable: bool
    admission: Admission
    classifier: Classifier
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    observers: list[Observer] = field(default_factory=list[Observer])
    output: OutputSink = field(default_factory=NoOutput)
    live: dict[str, "LiveExecution"] = field(default_factory=dict[str, "LiveExecution"])
    now_ms: Callable[[], int] = unix_ms
    chance: Callable[[], float] = field(default_factory=lambda: random.Random().random)
    threads: anyio.CapacityLimiter | None = None

    def tell(
        self,
        live: "LiveExecution",
        rows: Sequence[StepRow],
        notes: Sequence[Note],
        change: ExecutionChange | None,
    ) -> None:
        """Passes on what was committed."""
        for observer in self.observers:
            observer.committed(live, rows, notes, change)

    def classify(self, error: BaseException) -> Failure:
        """What an error means."""
        return self.classifier.classify(error, self.now_ms() / 1000)

    def admit(self) -> None:
        """Starts what there is room for now, in whichever execution."""
        for want in self.admission.admit(self.now_ms() / 1000):
            self.pass_on(want)

    def pass_on(self, want: Want) -> None:
        """Tells an execution that one of its steps may start."""
        live = self.live.get(want.execution)
        if live is None:
            self.admission.release(want.ticket)  # it ended meanwhile
        else:
            live.admitted(want)

    def code_of(self, names: Mapping[str, object]) -> dict[str, str]:
        """Fingerprints of those of the named functions that are registered here."""
        known = sorted(name for name in names if name in self.functions)
        if not known:
            return {}
        from coterie.engine.functions.location import fingerprint

        return {name: fingerprint(self.functions[name]) for name in known}
