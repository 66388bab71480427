"""Traces for OpenTelemetry: a span for each run, step and attempt, made of what was committed.

The ids follow from those of the execution, so a run that was interrupted goes on in the same trace. Spans are handed to
the SDK's batch processor, which has a bounded queue and a thread of its own: a collector that is slow, wrong or gone
costs spans and nothing else. The SDK is imported only where traces are wanted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from coterie.engine.journal.port import ExecutionChange, Note, StepRow
from coterie.engine.model import RUN_ENDED, STEP_ENDED
from coterie.engine.performing.execution import LiveExecution
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

NS_PER_MS: Final = 1_000_000
TRACES_PATH: Final = "/v1/traces"
EXPORT_TIMEOUT_S: Final = 2
"""How long one export may take, and the last one at the daemon's end."""
EXPORT_TIMEOUT_MS: Final = EXPORT_TIMEOUT_S * 1000
SCOPE: Final = "coterie.engine"


class TracingNotInstalled(UserError):
    """Traces are wanted, and what sends them is not there."""

    code = "tracing-not-installed"


class Tracing:
    """Implements `engine.core.Observer`; spans go to `processor` when they have ended."""

    def __init__(self, processor: "SpanProcessor", resource: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        self._processor = processor
        self._resource = Resource.create(dict(resource))
        self._scope = InstrumentationScope(SCOPE)
        self._span_type, self._context_type = ReadableSpan, SpanContext
        self._flags = TraceFlags(TraceFlags.SAMPLED)
        self._status, self._ok, self._error = Status, StatusCode.OK, StatusCode.ERROR
        self._first_ms: dict[tuple[str, int], int] = {}

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Sends the spans of what has ended."""
        for note in notes:
            if note.kind in ("failed", "lost") and note.position is not None:
                self._told(live, note.position, note)
        for row in rows:
            if row.state in STEP_ENDED and row.ended_ms is not None and not row.compensation:
                self._step(live, row)
        if change is not None and change.state in RUN_ENDED:
            self._run(live, change)

    def close(self) -> None:
        """Sends what waits, for EXPORT_TIMEOUT_S at most."""
        self._processor.shutdown()

    def _told(self, live: LiveExecution, position: int, note: Note) -> None:
        """An attempt that failed or was lost: a note tells of it."""
        body = note.body
        started_ms = body.get("started_ms")
        if not isinstance(started_ms, int):
            return
        self._first_ms.setdefault((live.record.id, position), body.get("ready_ms") or started_ms)
        self._attempt(
            live,
            position,
            int(body.get("attempt", 0)),
            (started_ms, int(body.get("ended_ms") or note.at_ms)),
            note.kind,
            str(body.get("message", "")),
            {"coterie.error.class": str(body["class"])} if "class" in body else {},
        )

    def _step(self, live: LiveExecution, row: StepRow) -> None:
        assert row.ended_ms is not None
        first_ms = self._first_ms.pop((live.record.id, row.position), None)
        if row.started_ms is None:
            return  # skipped, or cancelled before it began: there is no time in it
        if row.state != "failed":  # the note of that attempt made its span
            span = (row.started_ms, row.ended_ms)
            self._attempt(live, row.position, row.attempt, span, row.state, row.reason, {})
        step = live.steps.id(row.position)
        begin_ms = first_ms if first_ms is not None else row.ready_ms or row.started_ms
        self._send(
            live,
            f"step {step}",
            span_id=_span_id(live.record.id, step),
            parent_id=_span_id(live.record.id),
            times_ms=(begin_ms, row.ended_ms),
            failed=row.reason or row.state if row.state in ("failed", "cancelled") and not row.tolerated else "",
            attributes={
                "coterie.step": step,
                "coterie.step.type": live.steps.spec(row.position).type,
                "coterie.state": row.state,
                "coterie.attempts": row.attempt,
                "coterie.queue_wait_ms": max(0, row.started_ms - (row.ready_ms or row.started_ms)),
            },
        )

    def _attempt(
        self,
        live: LiveExecution,
        position: int,
        attempt: int,
        times_ms: tuple[int, int],
        state: str,
        reason: str,
        more: Mapping[str, str],
    ) -> None:
        step = live.steps.id(position)
        self._send(
            live,
            f"{step} attempt {attempt}",
            span_id=_span_id(live.record.id, step, str(attempt)),
            parent_id=_span_id(live.record.id, step),
            times_ms=times_ms,
            failed=(reason or state) if state != "completed" else "",
            attributes={"coterie.step": step, "coterie.attempt": attempt, "coterie.state": state, **more},
        )

    def _run(self, live: LiveExecution, change: ExecutionChange) -> None:
        record = live.record
        ended_ms = change.ended_ms or record.created_ms
        self._send(
            live,
            f"run {record.workflow}",
            span_id=_span_id(record.id),
            parent_id=None,
            times_ms=(record.created_ms, ended_ms),
            failed=(change.reason or str(change.state)) if change.state != "completed" else "",
            attributes={
                "coterie.execution": record.id,
                "coterie.workflow": record.workflow,
                "coterie.plan_hash": record.plan_hash,
                "coterie.submitter": record.submitter,
                "coterie.state": str(change.state),
            },
        )

    def _send(
        self,
        live: LiveExecution,
        name: str,
        *,
        span_id: int,
        parent_id: int | None,
        times_ms: tuple[int, int],
        failed: str,
        attributes: Mapping[str, str | int],
    ) -> None:
        trace = trace_id(live.record.id)
        begin_ms, end_ms = times_ms
        span = self._span_type(
            name,
            context=self._context_type(trace, span_id, False, self._flags),
            parent=None if parent_id is None else self._context_type(trace, parent_id, False, self._flags),
            resource=self._resource,
            attributes=dict(attributes),
            status=self._status(self._error, failed) if failed else self._status(self._ok),
            start_time=begin_ms * NS_PER_MS,
            end_time=max(begin_ms, end_ms) * NS_PER_MS,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


def open_tracing(endpoint: str, resource: Mapping[str, str]) -> Tracing:
    """Traces to the collector at `endpoint`, by OTLP over HTTP. Raises TracingNotInstalled."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingNotInstalled(
            f"otel_endpoint is set, and traces cannot be sent: {error}",
            "pip install 'coterie[otel]', or leave otel_endpoint empty",
        ) from None
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}{TRACES_PATH}", timeout=EXPORT_TIMEOUT_S)
    processor: Any = BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_TIMEOUT_MS)
    return Tracing(processor, resource)


def trace_id(execution: str) -> int:
    """The trace of an execution."""
    return int.from_bytes(hashlib.sha256(execution.encode()).digest()[:16], "big") or 1


def _span_id(execution: str, *below: str) -> int:
    name = "/".join((execution, *below))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[16:24], "big") or 1
