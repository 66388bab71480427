"""Submitting `coterie: 1` files, and what such commands do not import."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Generator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from cli_runner import Cli, cli_for
from execution_double import EX, ExecutionDouble, execution, executions_served

HEAVY = ("trio", "anyio", "pydantic", "fastapi", "libp2p", "httpx", "asyncio", "structlog", "jsonschema", "sqlite3")
FILE = """
coterie: 1
id: etl
inputs:
  day: {type: string, required: true}
  count: {type: integer, options: [1, 2]}
  fast: {type: boolean}
  tags: {type: array}
steps:
  fetch: {type: process, function: "jobs:fetch", args: ["${{ inputs.day }}"]}
"""
NO_FILES = """
coterie: 1
id: pause
steps:
  nap: {type: wait, seconds: 1}
"""


@pytest.fixture
def double() -> ExecutionDouble:
    return ExecutionDouble()


@pytest.fixture
def cli(
    double: ExecutionDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Generator[Cli]:
    with cli_for(double, tmp_path, capsys, monkeypatch) as call:
        yield call


@pytest.fixture
def etl(tmp_path: Path) -> Path:
    path = tmp_path / "tree" / "etl.yaml"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def sent(double: ExecutionDouble) -> Any:
    """The one submission."""
    [(target, body)] = double.commands
    assert target == "/v1/executions"
    return body


def test_inputs_are_typed_by_the_file_and_the_tree_goes_along(cli: Cli, double: ExecutionDouble, etl: Path) -> None:
    given = ["day=2026-11-21", "count=2", "fast=yes", 'tags=["a"]']
    options = [word for text in given for word in ("--input", text)]
    result = cli("workflow", "submit", str(etl), *options, "--key", "nightly", "--priority", "high")
    assert (result.code, result.out) == (0, f"{EX}\n")
    assert f"coterie workflow watch {EX[:16]}" in result.err
    body = sent(double)
    assert body["inputs"] == {"day": "2026-11-21", "count": 2, "fast": True, "tags": ["a"]}
    assert (body["key"], body["priority"], body["source"]) == ("nightly", 2.0, "tree-1")
    assert body["document"]["schema"] == "coterie.workflow/1"
    with tarfile.open(fileobj=BytesIO(double.uploads[0])) as tar:
        assert tar.getnames() == ["etl.yaml"]


def test_the_files_own_priority_holds_where_none_is_said(cli: Cli, double: ExecutionDouble, tmp_path: Path) -> None:
    (tmp_path / "pause.yaml").write_text(NO_FILES)
    assert cli("workflow", "submit", str(tmp_path / "pause.yaml")).code == 0
    assert set(sent(double)) == {"document", "inputs"}


def test_no_source_means_none(cli: Cli, double: ExecutionDouble, etl: Path) -> None:
    assert cli("workflow", "submit", str(etl), "--input", "day=x", "--no-source", "--json").json()["id"] == EX
    assert "source" not in sent(double)
    assert double.uploads == []


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_submit_and_watch_end_with_the_result(
    cli: Cli, double: ExecutionDouble, etl: Path, status: str, code: int
) -> None:
    double.executions[EX] = execution(status)
    result = cli("workflow", "submit", str(etl), "--input", "day=x", "--watch", "--json")
    assert (result.code, result.json()["status"]) == (code, status)
    assert cli("workflow", "submit", str(etl), "--input", "day=x", "--watch").code == code


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 65, "'day' is required"),
        (["--input", "day=x", "--input", "nope=1"], 65, "'nope' is no input of etl"),
        (["--input", "day=x", "--input", "count=3"], 65, "input count must be one of 1, 2"),
        (["--input", "day=x", "--input", "fast=perhaps"], 65, "input fast must be true or false"),
        (["--input", "day=x", "--event", "push"], 2, "--event is for GitHub Actions files"),
        (["--input", "day=x", "--retries", "2"], 2, "--retries is for GitHub Actions files"),
    ],
)
def test_what_does_not_fit(
    cli: Cli, double: ExecutionDouble, etl: Path, options: list[str], code: int, words: str
) -> None:
    result = cli("workflow", "submit", str(etl), *options)
    assert (result.code, words in result.err) == (code, True)
    assert double.commands == []


def test_a_key_is_for_files_of_the_engine(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ci.yml").write_text("on: push\njobs: {}\n")
    assert "--key is for" in cli("workflow", "submit", str(tmp_path / "ci.yml"), "--key", "x").err


def test_problems_of_a_file_have_their_places(cli: Cli, etl: Path) -> None:
    etl.write_text(FILE.replace("type: process", "type: proces"))
    result = cli("workflow", "submit", str(etl), "--input", "day=x", "--json")
    assert result.code == 65
    assert '"code": "invalid-workflow"' in result.err
    assert '"line": 10' in result.err


def test_the_schema_of_files(cli: Cli) -> None:
    document = cli("workflow", "schema", "--json").json()
    assert document["$schema"].endswith("2020-12/schema")
    assert cli("workflow", "schema").json() == document


@pytest.mark.parametrize(
    "arguments",
    [
        "status @last",
        "list",
        "watch @last",
        "logs @last fetch",
        "explain @last",
        "timeline @last",
        "pause @last",
        "signal @last go",
        "cancel @last",
    ],
)
def test_commands_for_the_daemon_import_no_engine(tmp_path: Path, arguments: str) -> None:
    code = (
        "import sys, atexit; from coterie.cli.main import main\n"
        f"heavy = lambda: [m for m in sys.modules if m in {HEAVY!r} or m.startswith('coterie.engine')]\n"
        "atexit.register(lambda: print(heavy(), file=sys.stderr))\n"
        f"main(['workflow', *{arguments.split()!r}])"
    )
    with executions_served(ExecutionDouble(), tmp_path) as path:
        environment = {**os.environ, "COTERIE_SOCKET": str(path)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")


def test_names_are_completed(double: ExecutionDouble, tmp_path: Path) -> None:
    with executions_served(double, tmp_path) as path:
        environment = {
            **os.environ,
            "COTERIE_SOCKET": str(path),
            "_COTERIE_COMPLETE": "bash_complete",
            "COMP_WORDS": "coterie workflow status ex",
            "COMP_CWORD": "3",
        }
        code = "from coterie.cli.main import coterie; coterie(prog_name='coterie')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert EX in done.stdout
