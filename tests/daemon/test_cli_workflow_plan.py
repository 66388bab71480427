"""`coterie workflow plan`: tables, JSON and drawings of both kinds of files. No daemon is there."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from coterie.cli.main import main

ACTIONS = """\
on: push
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: make}]}
  test:
    needs: build
    runs-on: ubuntu-latest
    strategy: {matrix: {python: ["3.11", "3.12"]}}
    steps: [{run: make test}]
  publish: {needs: [build, test], runs-on: ubuntu-latest, steps: [{run: make publish}]}
"""
ENGINE = """\
coterie: 1
id: etl
name: Nightly ETL
steps:
  fetch: {type: shell, run: echo 1}
  left: {type: shell, needs: [fetch], run: echo 2}
  right: {type: shell, needs: [fetch], run: echo 3}
  join: {type: shell, needs: [left, right], run: echo 4}
"""


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


Plan = Callable[..., Result]


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("COTERIE_SOCKET", "/nowhere.sock")
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(("workflow", "plan", *arguments))
        written = capsys.readouterr()
        return Result(int(exit_.value.code or 0), written.out, written.err)

    return call


@pytest.fixture
def actions(tmp_path: Path) -> str:
    path = tmp_path / "ci.yml"
    path.write_text(ACTIONS)
    return str(path)


@pytest.fixture
def engine(tmp_path: Path) -> str:
    path = tmp_path / "etl.yaml"
    path.write_text(ENGINE)
    return str(path)


def test_an_engine_file_is_shown_in_batches_with_its_critical_path(plan: Plan, engine: str) -> None:
    shown = plan(engine)
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[:2] == ["Nightly ETL", "4 steps in 3 batches"]
    assert "2      2     left, right" in lines
    assert any("critical path  fetch -> left -> join" in line for line in lines)
    assert any("widest batch   2, with 2 steps" in line for line in lines)
    hash_ = json.loads(plan(engine, "--json").out)["plan_hash"]
    assert any(f"plan hash      {hash_}" in line for line in lines)


def test_an_engine_file_as_json(plan: Plan, engine: str) -> None:
    document = json.loads(plan(engine, "--json").out)
    assert document["schema"] == "coterie.execution-plan/1"
    assert document["batches"] == [["fetch"], ["left", "right"], ["join"]]


def test_many_steps_of_a_batch_are_shortened(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    steps = "".join(f"  s{number}: {{type: shell, run: x}}\n" for number in range(20))
    path.write_text(f"coterie: 1\nsteps:\n{steps}")
    assert "s0, s1, s2, s3, s4, s5, s6, … 12 more …, s19" in plan(str(path)).out


def test_graph_as_text(plan: Plan, engine: str, actions: str) -> None:
    drawn = plan(engine, "--graph", "text")
    assert drawn.code == 0
    assert [line.split()[-2:] for line in drawn.out.splitlines() if "shell" in line] == [
        ["fetch", "shell"],
        ["left", "shell"],
        ["right", "shell"],
        ["join", "shell"],
    ]
    assert "test (3.11)" in plan(actions, "--graph", "text").out


def test_graph_as_dot(plan: Plan, engine: str, actions: str) -> None:
    assert '"fetch" -> "left";' in plan(engine, "--graph", "dot").out
    assert '"test (3.12)" -> "publish";' in plan(actions, "--graph", "dot").out


def test_graph_as_svg_goes_into_a_file(plan: Plan, engine: str, actions: str, tmp_path: Path) -> None:
    for file in (engine, actions):
        target = tmp_path / "plan.svg"
        drawn = plan(file, "--graph", "svg", "-o", str(target))
        assert (drawn.code, drawn.out, drawn.err) == (0, "", f"wrote {target}\n")
        assert ElementTree.parse(target).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--graph", "svg", "--json"], "--graph and --json are both given"),
        (["-o", "x.svg"], "-o is given without --graph"),
        (["--graph", "dot", "-o", "/nowhere/x.dot"], "/nowhere/x.dot: cannot be written"),
        (["--event", "push"], "knows no events"),
        (["--graph", "png"], "Invalid value for '--graph'"),
    ],
)
def test_what_cannot_be_meant_is_told(plan: Plan, engine: str, arguments: list[str], message: str) -> None:
    result = plan(engine, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_problems_of_an_engine_file_have_their_place_and_exit_code_65(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(ENGINE.replace("needs: [fetch], run: echo 2", "needs: [fetsh, join], run: echo 2"))
    result = plan(str(path))
    assert (result.code, result.out) == (65, "")
    assert f"error: {path}:6:" in result.err
    assert "did you mean 'fetch'?" in result.err
    assert "left -> join -> left" in result.err
    told = json.loads(plan(str(path), "--json").err)["error"]
    assert {problem["line"] for problem in told["problems"]} == {6}


def test_a_terminal_without_unicode_gets_ascii(plan: Plan, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.cli.workflow_plan._stdout_encoding", lambda: "ascii")
    assert plan(engine, "--graph", "text").out.isascii()
