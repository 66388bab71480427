"""Traces are made of what was committed: one trace an execution, whatever came between, and no harm from collectors."""

import builtins
import threading
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coterie.executions.service import Submission
from coterie.executions.tracing import Tracing, TracingNotInstalled, open_tracing, trace_id
from executions_house import document, done, ended, executions_in, shell, step, until

RESOURCE = {"service.name": "coterie"}


class Collected:
    """What an in-memory exporter holds, by name."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(SimpleSpanProcessor(self.exporter), RESOURCE)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


async def test_runs_steps_and_attempts_are_spans_of_one_trace(tmp_path: Path) -> None:
    collected = Collected()
    executions = executions_in(tmp_path, collected.tracing)
    retry = {"max_attempts": 2, "base_delay": 0.001}
    async with executions.opened():
        over = await done(executions, step("a"), shell("b", 'test "$COTERIE_ATTEMPT" = 2 || exit 75', "a", retry=retry))
    assert over.status == "completed"
    spans = collected.spans()
    assert set(spans) == {"run flow", "step a", "a attempt 1", "step b", "b attempt 1", "b attempt 2"}
    run, attempt = spans["run flow"], spans["b attempt 1"]
    assert {span.context.trace_id for span in spans.values() if span.context} == {trace_id(over.id)}
    assert run.parent is None
    for name, parent in (("step b", "run flow"), ("b attempt 1", "step b"), ("b attempt 2", "step b")):
        above = spans[name].parent
        assert above is not None
        assert above.span_id == _id(spans[parent])
    assert [spans[name].status.is_ok for name in ("run flow", "step b", "b attempt 2")] == [True] * 3
    assert not attempt.status.is_ok
    assert attributes(attempt)["coterie.error.class"] == "temporary"
    assert attributes(spans["step b"])["coterie.attempts"] == 2
    assert run.start_time is not None
    assert run.end_time is not None
    for span in spans.values():
        assert span.start_time is not None
        assert span.end_time is not None
        assert run.start_time <= span.start_time <= span.end_time <= run.end_time
    assert attributes(run)["coterie.execution"] == over.id
    assert run.resource.attributes["service.name"] == "coterie"


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


async def test_failures_are_told_once(tmp_path: Path) -> None:
    collected = Collected()
    executions = executions_in(tmp_path, collected.tracing)
    async with executions.opened():
        await done(executions, shell("a", "exit 3"), step("b", "a"))
    spans = collected.spans()
    assert set(spans) == {"run flow", "step a", "a attempt 1"}
    assert len(collected.exporter.get_finished_spans()) == 3
    assert "exit code 3" in str(spans["run flow"].status.description)
    assert "exit code 3" in str(spans["a attempt 1"].status.description)


async def test_a_resumed_run_goes_on_in_its_trace(tmp_path: Path) -> None:
    first, second = Collected(), Collected()
    executions = executions_in(tmp_path, first.tracing)
    async with executions.opened():
        flow = document(step("a"), shell("b", 'test "$COTERIE_ATTEMPT" = 2 || sleep 60', "a"))
        left = await executions.submit(Submission(flow))
        await until(executions, left.id, lambda view: view.running == ("b",))
    assert set(first.spans()) == {"step a", "a attempt 1"}
    again = executions_in(tmp_path, second.tracing)
    async with again.opened():
        await ended(again, left.id)
    spans = second.spans()
    assert set(spans) == {"run flow", "step b", "b attempt 1", "b attempt 2"}
    assert attributes(spans["b attempt 1"])["coterie.state"] == "lost"
    both = [*first.spans().values(), *spans.values()]
    assert {span.context.trace_id for span in both if span.context} == {trace_id(left.id)}


class Collector:
    """A collector on loopback that keeps what it is sent, or refuses it."""

    def __init__(self, status: int) -> None:
        bodies = self.bodies = list[bytes]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(params=[200, 400])
def collector(request: pytest.FixtureRequest) -> Generator[Collector]:
    made = Collector(request.param)
    made.thread.start()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


async def test_a_collector_gets_them_by_otlp(tmp_path: Path, collector: Collector) -> None:
    tracing = open_tracing(collector.endpoint, RESOURCE)
    executions = executions_in(tmp_path, tracing)
    async with executions.opened():
        assert (await done(executions, step("a"))).status == "completed"
    tracing.close()
    request = ExportTraceServiceRequest.FromString(collector.bodies[0])
    names = {span.name for each in request.resource_spans for scope in each.scope_spans for span in scope.spans}
    assert names == {"run flow", "step a", "a attempt 1"}


async def test_a_collector_that_is_gone_costs_nothing_but_spans(tmp_path: Path) -> None:
    tracing = open_tracing("http://127.0.0.1:9", RESOURCE)
    executions = executions_in(tmp_path, tracing)
    async with executions.opened():
        assert (await done(executions, step("a"))).status == "completed"
    tracing.close()


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(f"no module named {name}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TracingNotInstalled) as missing:
        open_tracing("http://127.0.0.1:4318", RESOURCE)
    assert "pip install 'coterie[otel]'" in missing.value.hint
