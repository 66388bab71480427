"""Looking at executions: list, status, watch, logs, cancel, and the pictures behind them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from cli_runner import Cli, cli_for
from execution_double import (
    EX,
    EX_2,
    FORM,
    RUN,
    T1,
    ExecutionDouble,
    execution,
    executions_served,
    job,
    run,
    step,
)

WAIT_S = 10.0
SHORT = EX[:16]
ASK = {"step": "approve", "form": FORM, "deadline_at": None}


@pytest.fixture
def double() -> ExecutionDouble:
    return ExecutionDouble()


@pytest.fixture
def cli(
    double: ExecutionDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Generator[Cli]:
    with cli_for(double, tmp_path, capsys, monkeypatch) as call:
        yield call


def test_a_list_has_runs_and_executions_the_newest_first(cli: Cli, double: ExecutionDouble) -> None:
    double.runs = [run([job("build", "running")])]
    double.executions[EX_2] = execution("running", EX_2, counts={"completed": 1, "pending": 2}, asks=[ASK])
    lines = cli("workflow", "list").lines
    assert lines[0].split()[:4] == ["RUN", "KIND", "STATUS", "WORKFLOW"]
    assert [line.split()[:4] for line in lines[1:]] == [
        [RUN[:12], "run", "●", "running"],
        [EX_2[:16], "execution", "?", "asks"],
        [SHORT, "execution", "✓", "completed"],
    ]
    assert "1 of 3 steps" in lines[2]
    assert "2 steps" in lines[3]
    assert len(cli("workflow", "list", "--limit", "2").lines) == 3


def test_a_list_as_json_is_what_it_was_with_executions_beside(cli: Cli) -> None:
    document = cli("workflow", "list", "--json").json()
    assert (document["schema"], document["runs"]) == ("coterie.runs/1", [])
    assert [each["id"] for each in document["executions"]] == [EX]


def test_nothing_to_list(cli: Cli, double: ExecutionDouble) -> None:
    double.executions.clear()
    assert "no runs yet" in cli("workflow", "list").err


@pytest.mark.parametrize("name", [EX, SHORT, "@last", "@last-failed", "etl"])
def test_an_execution_with_its_steps(cli: Cli, double: ExecutionDouble, name: str) -> None:
    double.executions[EX] = execution("failed", reason="process failed: no such table", counts={"failed": 1})
    double.steps[1] = step("process", 1, "failed", attempt=3, reason="no such table\nmore", type="shell")
    result = cli("workflow", "status", name)
    lines = result.lines
    assert result.code == 0
    assert lines[0] == f"✗ failed  ETL pipeline  {EX}"
    assert lines[1].startswith("  etl, submitted")
    assert lines[1].endswith("took 3.2 s, 1 step")
    assert lines[2].strip() == "process failed: no such table"
    assert lines[5].split() == ["fetch", "✓", "completed", "process", "3.2", "s"]
    assert lines[6].split() == ["process", "✗", "failed", "shell", "3", "3.2", "s", "no", "such", "table"]
    assert f"coterie workflow explain {SHORT}" in result.err
    assert f"coterie workflow retry {SHORT}" in result.err


def test_status_tells_what_is_asked_and_how_to_answer(cli: Cli, double: ExecutionDouble) -> None:
    changes: dict[str, Any] = {
        "outputs": {"total": 3, "where": "s3"},
        "code_changed": ["etl:fetch"],
        "key": "nightly",
        "origin": EX_2,
    }
    double.executions[EX] = execution("running", asks=[{**ASK, "deadline_at": T1}], submitter="ada", **changes)
    result = cli("workflow", "status", EX)
    assert "? approve asks: Release? (ok, count, where), until" in result.out
    assert f"answer it: coterie workflow answer {SHORT} approve" in result.out
    assert "by ada" in result.out
    assert f"runs {EX_2} again, key nightly" in result.out
    assert "  total  3\n  where  s3\n" in result.out
    assert "the code of etl:fetch has changed" in result.err


def test_status_shows_fifty_steps_or_all(cli: Cli, double: ExecutionDouble) -> None:
    double.steps = [step(f"s{number}", number) for number in range(120)]
    double.executions[EX] = execution(counts={"completed": 120})
    double.page = 30
    shown = cli("workflow", "status", EX).lines
    assert shown[-1] == "... and 70 more; all of them: --all"
    assert sum(line.startswith("s") for line in shown) == 50
    everything = cli("workflow", "status", EX, "--all").lines
    assert sum(line.startswith("s") for line in everything) == 120
    assert len(cli("workflow", "status", EX, "--all", "--json").json()["steps"]) == 120


def test_a_run_of_the_coterie_comes_first_and_neither_is_told_as_before(cli: Cli, double: ExecutionDouble) -> None:
    double.runs = [run([job("build")])]
    assert cli("workflow", "status", RUN[:4], "--json").json()["schema"] == "coterie.run/1"
    missing = cli("workflow", "status", "zz")
    assert (missing.code, missing.err) == (5, "error: no run begins with 'zz'\n")


@pytest.mark.parametrize(
    ("status", "verb"), [("paused", "resume"), ("cancelled", "retry"), ("running", "watch"), ("failed", "explain")]
)
def test_status_names_the_next_command(cli: Cli, double: ExecutionDouble, status: str, verb: str) -> None:
    double.executions[EX] = execution(status)
    assert f"coterie workflow {verb} {SHORT}" in cli("workflow", "status", EX).err


def test_cancel_waits_for_the_end_and_tells_the_way_back(cli: Cli, double: ExecutionDouble) -> None:
    result = cli("workflow", "cancel", "@last", "--reason", "wrong input")
    assert (result.code, result.out) == (0, f"{EX}\n")
    assert f"coterie workflow retry {SHORT}" in result.err
    assert double.commands == [(f"/v1/executions/{EX}/cancel", {"reason": "wrong input"})]
    double.runs = [run([job("build")])]
    assert cli("workflow", "cancel", RUN, "--json").json()["status"] == "cancelled"


# --- watch ---


def test_watch_tells_each_transition_and_ends_with_the_result(cli: Cli, double: ExecutionDouble) -> None:
    going = execution("running", counts={"running": 1, "pending": 1})
    double.steps = [step("fetch", 0, "running"), step("process", 1, "pending")]
    double.events = [
        ("execution", going),
        ("step", step("fetch", 0)),
        ("step", step("process", 1, "ready")),
        ("step", step("process", 1, "running")),
        ("step", step("process", 1, "pending", attempt=1, due_at=T1, reason="connection refused")),
        ("step", step("process", 1, "running", attempt=2)),
        ("execution", {**going, "asks": [ASK]}),
        ("execution", {**going, "asks": [ASK], "counts": {"completed": 1, "running": 1}}),
        ("step", step("process", 1, "failed", attempt=2, reason="gone\ntrace")),
        ("execution", execution("failed", reason="process failed", counts={"completed": 1, "failed": 1})),
    ]
    result = cli("workflow", "watch", EX)
    lines = result.lines
    assert result.code == 1
    assert lines[:3] == ["fetch: running", "fetch: completed after 3.2 s", "process: running"]
    assert lines[3].startswith("process: pending: tries again at ")
    assert lines[3].endswith(": connection refused")
    assert lines[4:] == [
        "process: running (try 2)",
        f"approve: asks: Release? (ok, count, where); answer it: coterie workflow answer {SHORT} approve",
        "process: failed (try 2) after 3.2 s: gone",
        f"{EX}: failed after 3.2 s, 2 steps: process failed",
    ]


def test_watching_what_has_ended_shows_some_of_it(cli: Cli, double: ExecutionDouble) -> None:
    double.steps = [step(f"s{number}", number) for number in range(60)]
    lines = cli("workflow", "watch", EX).lines
    assert (lines[0], lines[50]) == ("s0: completed after 3.2 s", "... and 10 more that have begun")
    assert lines[-1] == f"{EX}: completed after 3.2 s, 2 steps"


def test_watch_as_json_is_a_line_for_each_change(cli: Cli, double: ExecutionDouble) -> None:
    double.events = [("execution", execution("running")), ("execution", execution("running")), ("step", step("a", 0))]
    double.events += [("execution", execution("failed"))]
    result = cli("workflow", "watch", EX, "--json")
    assert (result.code, [json.loads(line)["status"] for line in result.lines]) == (1, ["running", "failed"])


def test_a_daemon_that_goes_away_is_try_later(cli: Cli, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running")
    result = cli("workflow", "watch", EX)
    assert (result.code, "the daemon has stopped" in result.err) == (75, True)
    double.breaks_off = True
    assert cli("workflow", "watch", EX).code == 75
    double.events = []
    assert cli("workflow", "watch", EX).code == 75


def test_ctrl_c_leaves_the_execution_alone(double: ExecutionDouble, tmp_path: Path) -> None:
    double.executions[EX] = execution("running")
    double.steps = [step("fetch", 0, "running")]
    double.hangs.clear()
    with executions_served(double, tmp_path) as path:
        with subprocess.Popen(
            [sys.executable, "-m", "coterie.cli", "--socket", str(path), "workflow", "watch", EX],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        ) as process:
            assert process.stdout is not None
            try:
                first = process.stdout.readline()
                process.send_signal(signal.SIGINT)
                _, talk = process.communicate(timeout=WAIT_S)
            finally:
                process.kill()
    assert first == "fetch: running\n"
    assert process.returncode == 130, talk
    assert f"coterie workflow watch {SHORT}" in talk
    assert f"coterie workflow cancel {SHORT}" in talk
    assert double.commands == []


# --- logs ---


def test_logs_of_a_step_and_of_all(cli: Cli, double: ExecutionDouble) -> None:
    double.logs["process"] = b"one\ntwo"
    assert cli("workflow", "logs", EX, "process").out == "one\ntwo\n"
    assert cli("workflow", "logs", EX, "process", "-f").out == "one\ntwo\n"
    assert cli("workflow", "logs", EX, "process", "--attempt", "1").out == "one\ntwo\n"
    assert ("GET", f"/v1/executions/{EX}/logs/process?offset=0&follow=false&attempt=1", None) in double.asked
    assert cli("workflow", "logs", EX).lines == ["fetch   | hello", "process | one", "process | two"]
    told = [json.loads(line) for line in cli("workflow", "logs", EX, "--json").lines]
    assert (told[0]["run"], told[0]["job"], told[0]["line"]) == (EX, "fetch", "hello")
    assert sorted(cli("workflow", "logs", EX, "-f").lines) == ["fetch   | hello", "process | one", "process | two"]


def test_steps_without_output_are_no_error_unless_asked_for(cli: Cli, double: ExecutionDouble) -> None:
    both = cli("workflow", "logs", EX)
    assert (both.code, both.err) == (0, "")
    for follow in ((), ("-f",)):
        assert cli("workflow", "logs", EX, "process", *follow).code == 5
    assert cli("workflow", "logs", EX, "nope", "-f").code == 5
