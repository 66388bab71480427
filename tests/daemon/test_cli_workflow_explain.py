"""Why things stand where they do, what they took, and when."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from cli_runner import Cli, cli_for
from coterie.cli.run_explain import explain_run
from execution_double import EX, OTHER, PEER, RUN, T0, T1, ExecutionDouble, job, member, run


@pytest.fixture
def double() -> ExecutionDouble:
    return ExecutionDouble()


@pytest.fixture
def cli(
    double: ExecutionDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Generator[Cli]:
    with cli_for(double, tmp_path, capsys, monkeypatch) as call:
        yield call


def explained(step: str, state: str, why: str, attempt: int = 1, history: list[dict[str, Any]] | None = None) -> Any:
    return {"step": step, "state": state, "attempt": attempt, "why": why, "history": history or []}


def test_an_execution_is_explained_step_by_step(cli: Cli, double: ExecutionDouble) -> None:
    history: list[dict[str, Any]] = [
        {"kind": "failed", "at": T0, "attempt": 1, "class": "connection", "message": "refused\nmore", "retry_at": T1},
        {"kind": "failed", "at": T1, "attempt": 2, "class": "failure", "message": "bad", "detail": "line 1\nline 2"},
        {"kind": "reset", "at": T1},
        {"kind": "something-new", "at": T1},
    ]
    double.explained = [
        explained("fetch", "failed", "the last of 2 tries failed", 2, history),
        explained("process", "skipped", "fetch failed"),
    ]
    lines = cli("workflow", "explain", EX).lines
    assert lines[:2] == ["✗ failed  fetch  try 2", "    the last of 2 tries failed"]
    assert "try 1 failed (connection): refused; the next try from " in lines[2]
    assert lines[3].endswith("try 2 failed (failure): bad")
    assert [line.strip() for line in lines[4:6]] == ["line 1", "line 2"]
    assert lines[6].endswith("tried again by a person")
    assert lines[7].endswith("something-new")
    assert lines[8:] == ["– skipped  process", "    fetch failed"]
    assert cli("workflow", "explain", EX, "process").lines == lines[8:]
    assert cli("workflow", "explain", EX, "--json").json()["steps"] == double.explained


def test_nothing_to_explain(cli: Cli) -> None:
    assert cli("workflow", "explain", EX).out == "every step completed at its first try\n"


GPU = {"labels": ["gpu"], "job": "train", "needs": []}


@pytest.mark.parametrize(
    ("jobs", "members", "why"),
    [
        ([job("a", "running"), job("b", "waiting", needs=["a"])], [], "waits for a (running)"),
        ([job("a (1)", job="a"), job("b", "waiting", needs=["a"], reason="soon")], [], "soon"),
        ([job("a", "failure"), job("b", "skipped", needs=["a"])], [], "its needs did not succeed: a (failure)"),
        ([job("b", "skipped")], [], "its `if` was false"),
        ([job("b", "queued", **GPU)], [], "no member of the coterie may work; invite one with the role `work`"),
        (
            [job("b", "queued", **GPU)],
            [member("alpha", PEER), member("beta", OTHER, labels=[])],
            "no peer has the labels gpu: alpha has linux; beta has none",
        ),
        (
            [job("b", "queued", **GPU)],
            [member("alpha", PEER), member("beta", OTHER, labels=["GPU"], state="gone")],
            "no peer that has the labels is there: beta is gone",
        ),
        (
            [job("b", "queued", **GPU)],
            [member("beta", OTHER, labels=["gpu"], free=0)],
            "every peer that could run it is busy: beta (2 slots)",
        ),
        ([job("b", "queued", **GPU)], [member("beta", OTHER, labels=["gpu"])], "waits to be claimed by beta"),
        ([job("b", "queued", reason="no company", labels=[])], [member("alpha", PEER)], "no company"),
        ([job("b", "failure", reason="exit code 3")], [member("alpha", PEER)], "ended on alpha: exit code 3"),
    ],
)
def test_why_a_job_of_a_run_stands_where_it_does(jobs: list[Any], members: list[Any], why: str) -> None:
    document = explain_run(run(jobs), {"members": members}, jobs[-1]["id"])
    assert [step["why"] for step in document["steps"]] == [why]


def test_a_run_is_explained_with_the_same_words(cli: Cli, double: ExecutionDouble) -> None:
    jobs = [job("a"), job("b", "running", step="Compile", attempt=2), job("c", "waiting", needs=["b"])]
    double.runs = [run(jobs)]
    lines = cli("workflow", "explain", RUN).lines
    assert lines[0] == "● running  b  try 2"
    assert lines[1].startswith("    runs on alpha since ")
    assert lines[1].endswith("at step 'Compile', try 2: an earlier one failed or its peer was lost")
    assert lines[2:] == ["· waiting  c", "    waits for b (running)"]
    assert cli("workflow", "explain", RUN, "--json").json()["schema"] == "coterie.run-explanation/1"
    assert cli("workflow", "explain", RUN, "nope").code == 5


def test_a_timeline_as_text_svg_and_json(cli: Cli, tmp_path: Path) -> None:
    assert cli("workflow", "timeline", EX).out == "<text>\n"
    assert cli("workflow", "timeline", EX, "--svg").out == "<svg>\n"
    assert cli("workflow", "timeline", EX, "--json").json()["bars"] == []
    result = cli("workflow", "timeline", EX, "--svg", "-o", str(tmp_path / "run.svg"))
    assert (result.out, (tmp_path / "run.svg").read_text()) == ("", "<svg>")
    assert cli("workflow", "timeline", EX, "-o", str(tmp_path / "none" / "run.svg")).code == 2


def test_metrics_as_a_table(cli: Cli, double: ExecutionDouble) -> None:
    double.metrics = {
        "schema": "coterie.execution-metrics/1",
        "execution": EX,
        "status": "completed",
        "steps": 40,
        "retries": 2,
        "lost": 1,
        "work_s": 9.0,
        "wall_s": 3.0,
        "queue_wait_s": 1.5,
        "queue_wait_max_s": 0.5,
        "parallel_efficiency": 3.0,
        "critical_path": [
            {"step": f"s{number}", "queue_wait_s": 0.2 * number, "duration_s": 1.0} for number in range(25)
        ],
        "critical_path_s": 2.5,
        "by_step": [
            {
                "step": name, "items": items, "duration_p50_s": took, "duration_max_s": took, "queue_wait_p50_s": None,
                "queue_wait_max_s": None, "retries": items - 1, "lost": 0,
            }
            for name, items, took in (("fetch", 1, 1.0), ("load", 3, 2.0), ("never", 1, None))
        ],
        "next": None,
    }  # fmt: skip
    text = cli("workflow", "metrics", EX).out
    assert "3.00, the work divided by what it took" in text
    assert "2, 1 try lost with the daemon" in text
    assert "  s1  1.0 s, waited 0.2 s\n" in text
    assert "  ... and 5 more\n" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["load", "3", "2.0", "s", "2.0", "s", "2"] in rows
    assert rows.index(["load", "3", "2.0", "s", "2.0", "s", "2"]) < rows.index(["fetch", "1.0", "s", "1.0", "s"])
    assert text.endswith("... and 38 more; all of them: --json\n")
    assert cli("workflow", "metrics", EX, "--json").json() == double.metrics
