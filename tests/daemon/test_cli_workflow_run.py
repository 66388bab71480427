"""`coterie workflow run`: an engine in this process, kept so that it can go on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from cli_runner import Cli, cli_for
from coterie.cli import local_runs
from execution_double import ExecutionDouble

WAIT_S = 20.0
FILE = """
coterie: 1
id: flow
name: A flow
inputs:
  count: {type: integer, required: true}
steps:
  number: {type: process, expression: "inputs.count"}
  check: {type: shell, needs: number, run: "echo checking; test -e go"}
  ask:
    type: input
    needs: check
    prompt: Sure?
    fields: [{name: ok, type: boolean, required: true}]
  give: {type: output, needs: [ask, number], values: {count: "${{ steps.number.result }}"}}
"""
NAP = """
coterie: 1
id: nap
steps:
  first: {type: process, expression: "1"}
  nap: {type: shell, needs: first, run: "echo asleep; test -e go || sleep 60"}
"""


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Generator[Cli]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with cli_for(ExecutionDouble(), tmp_path, capsys, monkeypatch) as call:
        yield call


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "tree" / "flow.yaml"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def test_a_file_runs_here_to_its_end(cli: Cli, flow: Path) -> None:
    (flow.parent / "go").touch()
    result = cli("workflow", "run", str(flow), "--input", "count=3", "--answer", "ask.ok=yes")
    assert (result.code, result.err) == (0, "")
    assert "check | checking" in result.lines
    assert "ask: asks: Sure? (ok)" in result.lines
    assert result.lines[-3].endswith("4 steps")
    assert result.lines[-1].split() == ["count", "3"]


def test_as_json_it_is_one_document(cli: Cli, flow: Path) -> None:
    (flow.parent / "go").touch()
    document = cli("workflow", "run", str(flow), "--input", "count=3", "--answer", "ask.ok=no", "--json").json()
    assert (document["schema"], document["status"], document["outputs"]) == (
        "coterie.execution/1",
        "completed",
        {"count": 3},
    )


def test_what_failed_is_explained_and_tried_again(cli: Cli, flow: Path) -> None:
    failed = cli("workflow", "run", str(flow), "--input", "count=3")
    assert failed.code == 1
    assert "✗ failed  check" in failed.lines
    assert "coterie workflow run --resume ex-" in failed.err
    (flow.parent / "go").touch()
    flow.write_text(FILE.replace("Sure?", "Really?"))
    asked = cli("workflow", "run", str(flow), "--resume", "last")
    assert asked.code == 2
    assert "has changed since" in asked.err
    assert "ask asks for an answer, and there is no terminal; fields: ok (yes | no)" in asked.err
    name = asked.err.partition("--resume ")[2].split()[0]
    done = cli("workflow", "run", "--resume", name, "--answer", "ask.ok=yes")
    assert done.code == 0
    assert not any(line.startswith(("number: running", "check: running")) for line in done.lines)
    again = cli("workflow", "run", "--resume", "last")
    assert (again.code, "it has completed already" in again.err) == (0, True)


def test_a_store_can_be_named(cli: Cli, flow: Path, tmp_path: Path) -> None:
    store = tmp_path / "mine"
    assert cli("workflow", "run", str(flow), "--input", "count=3", "--store", str(store)).code == 1
    assert (store / "engine.db").exists()
    assert not local_runs.runs_dir().exists()
    assert cli("workflow", "run", "--resume", "last", "--store", str(store)).code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "there is no FILE"),
        (["--resume", "last"], 5, "nothing has been run"),
        (["--resume", "ex-0000"], 5, "no run in"),
        (["--resume", "last", "--input", "a=b"], 2, "for a new run"),
        (["FLOW"], 65, "'count' is required"),
        (["FLOW", "--input", "count=x"], 65, "input count must be a whole number"),
        (["FLOW", "--input", "count=1", "--answer", "ok=yes"], 2, "names no field"),
        (["ACTIONS"], 2, "is a GitHub Actions file"),
        (["BROKEN"], 65, "broken.yaml:4:"),
        (["CYCLE"], 65, "a -> b -> a"),
    ],
)
def test_what_cannot_be_run(cli: Cli, flow: Path, arguments: list[str], code: int, words: str) -> None:
    files = {
        "ACTIONS": ("ci.yml", "on: push\njobs: {}\n"),
        "BROKEN": ("broken.yaml", "coterie: 1\nsteps:\n  a:\n    type: nothing\n"),
        "CYCLE": (
            "cycle.yaml",
            "coterie: 1\nsteps:\n  a: {type: wait, seconds: 1, needs: b}\n  b: {type: wait, seconds: 1, needs: a}\n",
        ),
    }
    given: list[str] = []
    for argument in arguments:
        if argument in files:
            name, text = files[argument]
            (flow.parent / name).write_text(text)
        else:
            name = "flow.yaml"
        given.append(str(flow.parent / name) if argument.isupper() else argument)
    result = cli("workflow", "run", *given)
    assert (result.code, words in result.err.replace("'", "").replace("`", "") or words in result.err) == (code, True)
    assert not any(local_runs.runs_dir().glob("*")) or code == 5


def test_ctrl_c_stops_what_runs_and_tells_how_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "nap.yaml"
    file.write_text(NAP)
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-m", "coterie.cli", "workflow", "run"]
    with subprocess.Popen(
        [*command, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            while process.stdout.readline() != "nap | asleep\n":
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, talk = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 130, talk
    assert "go on with: coterie workflow run --resume ex-" in talk
    (tmp_path / "go").touch()
    done = subprocess.run(
        [*command, "--resume", "last", "--json"], capture_output=True, text=True, env=environment, timeout=WAIT_S
    )
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "completed")


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "nap.yaml"
    file.write_text(NAP)
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-m", "coterie.cli", "workflow", "run"]
    with subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "nap | asleep\n":
            assert process.poll() is None
        process.kill()
    (tmp_path / "go").touch()
    done = subprocess.run(
        [*command, "--resume", "last"], capture_output=True, text=True, env=environment, timeout=WAIT_S
    )
    assert done.returncode == 0, done.stderr
    assert "nap: running (try 2)" in done.stdout
    assert "first: running" not in done.stdout


def test_old_runs_make_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(local_runs, "ENDED_KEPT_MAX", 3)
    top = local_runs.runs_dir()
    for number in range(5):
        (top / f"2026010{number}T000000-abcdef").mkdir(parents=True)
        local_runs.mark(top / f"2026010{number}T000000-abcdef", f"ex-000{number}", ended=number != 1)
    (top / "rubbish").mkdir()
    new = local_runs.new_folder()
    assert local_runs.find_folder("ex-0001")[1] == "ex-0001"
    assert local_runs.find_folder("last")[1] == "ex-0004"
    left = {folder.name[:8] for folder in top.iterdir()} - {new.name[:8], "rubbish"}
    assert left == {"20260101", "20260103", "20260104"}
