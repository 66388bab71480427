"""Commands that change executions: what they send, what they say, and what they refuse."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
import pytest

from cli_runner import Cli, cli_for
from coterie.cli.answer_form import ask_person, filled
from execution_double import EX, EX_2, FORM, RUN, ExecutionDouble, execution, job, run

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


@pytest.mark.parametrize(
    ("arguments", "verb", "body"),
    [
        (["retry", EX], "retry", {}),
        (["retry", "etl", "process"], "retry", {"step": "process"}),
        (["rerun", "@last"], "rerun", {"failed": False}),
        (["rerun", EX, "--failed"], "rerun", {"failed": True}),
        (["rerun", EX, "process"], "rerun", {"step": "process"}),
        (["resume", EX], "resume", {}),
        (["pause", EX], "pause", {}),
        (["skip", EX, "process", "--reason", "by hand"], "skip", {"step": "process", "reason": "by hand"}),
        (["signal", EX, "go"], "signal", {"name": "go", "data": None}),
        (["signal", EX, "go", "--data", '{"by": "ada"}'], "signal", {"name": "go", "data": {"by": "ada"}}),
    ],
)
def test_each_command_sends_itself(
    cli: Cli, double: ExecutionDouble, arguments: list[str], verb: str, body: object
) -> None:
    result = cli("workflow", *arguments)
    assert (result.code, result.out) == (0, f"{EX_2 if verb == 'rerun' else EX}\n")
    assert double.commands == [(f"/v1/executions/{EX}/{verb}", body)]
    assert "coterie workflow" in result.err
    assert cli("workflow", *arguments, "--json").json()["schema"] == "coterie.execution/1"


@pytest.mark.parametrize("verb", ["retry", "rerun", "resume", "pause", "timeline", "metrics"])
def test_what_is_for_executions_says_so_of_runs(cli: Cli, double: ExecutionDouble, verb: str) -> None:
    double.runs = [run([job("build")])]
    result = cli("workflow", verb, RUN)
    assert result.code == 2
    assert f"{verb} is for executions" in result.err
    assert f"cancel {RUN[:12]}" in result.err
    assert double.commands == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["rerun", EX, "process", "--failed"], 2, "two different things"),
        (["signal", EX, "go", "--data", "{by"], 2, "not JSON"),
        (["answer", EX, "approve"], 2, "approve asks nothing now"),
        (["retry", "zzzz"], 5, "no run begins with 'zzzz'"),
        (["retry", "ex-zzzz"], 5, "there is no execution"),
    ],
)
def test_what_cannot_be(cli: Cli, double: ExecutionDouble, arguments: list[str], code: int, words: str) -> None:
    result = cli("workflow", *arguments)
    assert (result.code, words in result.err) == (code, True)
    assert double.commands == []


# --- answers ---


def test_an_answer_is_typed_by_its_form(cli: Cli, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running", asks=[ASK])
    result = cli("workflow", "answer", EX, "approve", "ok=yes", "count=3", "where=prod")
    assert result.code == 0
    assert double.commands[0][1] == {"step": "approve", "value": {"ok": True, "count": 3, "where": "prod"}}


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        (["ok=perhaps"], 65, "ok must be true or false"),
        (["ok=yes", "count=many"], 65, "count must be a whole number"),
        (["ok=yes", "where=mars"], 65, "where must be one of test, prod"),
        (["ok=yes", "who=ada"], 2, "no field 'who'"),
        (["count=1"], 2, "ok must be given"),
        (["ok"], 2, "NAME=VALUE"),
        (["ok=yes", "ok=no"], 2, "ok is given twice"),
        ([], 2, "no terminal to ask at"),
        (["ok=yes", "--json-file", "x.json"], 2, "given twice"),
        (["--json-file", "/nowhere.json"], 2, "cannot be read"),
    ],
)
def test_answers_that_do_not_fit(
    cli: Cli, double: ExecutionDouble, values: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.executions[EX] = execution("running", asks=[ASK])
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    result = cli("workflow", "answer", EX, "approve", *values)
    assert (result.code, words in result.err) == (code, True)
    assert double.commands == []


def test_another_step_is_asked(cli: Cli, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running", asks=[ASK])
    assert f"coterie workflow answer {SHORT} approve" in cli("workflow", "answer", EX, "fetch").err


def test_an_answer_from_a_file(cli: Cli, double: ExecutionDouble, tmp_path: Path) -> None:
    double.executions[EX] = execution("running", asks=[ASK])
    (tmp_path / "answer.json").write_text(json.dumps({"ok": False}))
    assert cli("workflow", "answer", EX, "approve", "--json-file", str(tmp_path / "answer.json")).code == 0
    assert double.commands[0][1]["value"] == {"ok": False}
    (tmp_path / "answer.json").write_text("{")
    assert "is not JSON" in cli("workflow", "answer", EX, "approve", "--json-file", str(tmp_path / "answer.json")).err


def test_a_person_is_asked_until_it_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typed = iter(["perhaps", "yes", "0", "7", "mars", ""])
    labels: list[str] = []

    def prompt(label: str, *, default: str | None, **_: Any) -> str:
        labels.append(label)
        return next(typed)

    monkeypatch.setattr(click, "prompt", prompt)
    assert ask_person(FORM, "approve") == {"ok": True, "count": 7}
    assert labels[0] == "  Go ahead (yes | no)"
    assert labels[-1] == "  where (test | prod)"
    said = capsys.readouterr().err
    assert said.startswith("Release?\n")
    for words in ("ok must be true or false", "count must be at least 1", "where must be one of"):
        assert words in said


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "number"}, "3", 3),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "integer"}, "-4", -4),
        ({"type": "string"}, "3", "3"),
        ({"type": "array"}, "[1, 2]", [1, 2]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"enum": [1, True, "x"]}, "1", 1),
        ({"enum": [1, True, "x"]}, "true", True),
    ],
)
def test_texts_become_values(schema: dict[str, Any], text: str, value: object) -> None:
    assert filled({"properties": {"a": schema}}, {"a": text}) == {"a": value}


@pytest.mark.parametrize(
    ("type_", "text"), [("number", "nan"), ("number", "x"), ("integer", "2.5"), ("array", "{}"), ("object", "{")]
)
def test_texts_that_are_no_such_value(type_: str, text: str) -> None:
    from coterie.cli.typed_values import Misfit

    with pytest.raises(Misfit, match="a must be"):
        filled({"properties": {"a": {"type": type_}}}, {"a": text})
