"""What the engine counts shows up under its documented names, and labels stay few."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coterie.executions import prometheus
from coterie.executions.prometheus import EngineMetrics
from coterie.executions.service import Submission
from executions_house import document, done, executions_in, shell, step


def samples(metrics: EngineMetrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('coterie_engine_')}{{{labels}}}"] = sample.value
    return found


async def test_what_happens_is_counted(tmp_path: Path) -> None:
    metrics = EngineMetrics()
    executions = executions_in(tmp_path, metrics)
    metrics.watch(executions.engine.core)
    retry = {"max_attempts": 2, "base_delay": 0.001}
    async with executions.opened():
        await done(executions, step("a"), step("b", "a"))
        await done(executions, shell("c", "exit 75", retry=retry), id="bad")
        await executions.submit(Submission(document(step("w", type="wait", config={"signal": "go"}), id="held")))
        seen = samples(metrics)
    expected = {
        "attempts_total{workflow=flow}": 2,
        "attempts_total{workflow=bad}": 2,
        "retries_total{class=temporary,workflow=bad}": 1,
        "executions_total{state=completed,workflow=flow}": 1,
        "executions_total{state=failed,workflow=bad}": 1,
        "step_seconds_count{state=completed,workflow=flow}": 2,
        "step_seconds_bucket{le=+Inf,state=failed,workflow=bad}": 1,
        "queue_wait_seconds_count{workflow=bad}": 2,
        "execution_seconds_count{state=completed,workflow=flow}": 1,
        "executions_open{state=running}": 1,
        "steps_running{}": 1,
        "steps_waiting{}": 0,
        "lost_total{workflow=flow}": 0,
    }
    assert {name: seen.get(name) for name in expected} == expected


async def test_only_some_workflows_have_series_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = EngineMetrics()
    executions = executions_in(tmp_path, metrics)
    monkeypatch.setattr(prometheus, "WORKFLOWS_MAX", 2)
    async with executions.opened():
        for name in ("one", "two", "three", "four", "one"):
            await done(executions, step("a"), id=name)
    seen = samples(metrics)
    counted = {name: value for name, value in seen.items() if name.startswith("executions_total")}
    assert counted == {
        "executions_total{state=completed,workflow=one}": 2,
        "executions_total{state=completed,workflow=two}": 1,
        "executions_total{state=completed,workflow=other}": 2,
    }
