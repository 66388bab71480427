"""The commands, against a real control socket with a daemon of lists behind it."""

import json
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from control_double import OTHER, PEER, RUN, RUN_2, DaemonDouble, job, run, served
from coterie.cli.main import main

WORKFLOW = "on: [push, workflow_dispatch]\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n      - run: make\n"
CHECKOUT = WORKFLOW.replace("- run: make", "- uses: actions/checkout@v4")
CYCLE = (
    "on: push\njobs:\n  a: {needs: b, runs-on: x, steps: [{run: y}]}\n  b: {needs: a, runs-on: x, steps: [{run: y}]}\n"
)


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


Cli = Callable[..., Result]


@pytest.fixture
def double() -> DaemonDouble:
    return DaemonDouble()


@pytest.fixture
def cli(
    double: DaemonDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Generator[Cli]:
    def call(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        written = capsys.readouterr()
        return Result(int(exit_.value.code or 0), written.out, written.err)

    with served(double, tmp_path) as path:
        monkeypatch.setenv("COTERIE_SOCKET", str(path))
        yield call


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "tree" / "ci.yml"
    path.parent.mkdir()
    path.write_text(WORKFLOW)
    return path


@pytest.mark.parametrize(
    ("command", "schema"),
    [
        ("status", "status"),
        ("peer list", "members"),
        ("clock", "clock"),
        ("invite --uses 2 --valid 1h30m", "invite"),
        ("store verify", "verify"),
        ("workflow list", "runs"),
        ("workflow status abc", "run"),
        ("workflow cancel abc", "run"),
        ("workflow watch abc", "run"),
        ("workflow logs abc build", "log"),
    ],
)
def test_json_is_one_document_on_stdout_and_nothing_else(cli: Cli, command: str, schema: str) -> None:
    result = cli(*command.split(), "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json()["schema"] == f"coterie.{schema}/1"


def test_status_on_one_screen(cli: Cli) -> None:
    result = cli("status")
    assert result.code == 0
    assert "alpha is up: 1 of 1 others connected, 1 of 2 slots free" in result.out
    assert PEER in result.out
    assert "1,204 events" in result.out
    assert "up 1 h 2 min" in result.out
    assert "\x1b" not in result.out


def test_peers_as_a_table(cli: Cli) -> None:
    lines = cli("peer", "list").out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "PEER", "STATE"]
    assert lines[2].split()[:3] == ["beta", f"…{OTHER[-8:]}", "alive"]


def test_the_token_is_the_data_and_the_rest_is_talk(cli: Cli, double: DaemonDouble) -> None:
    result = cli("invite", "--role", "work", "--label", "gpu", "--valid", "1h30m")
    assert result.out == "coterie-token\n"
    assert "coterie join" in result.err
    assert double.invited == [(("work",), ("gpu",), 1, 5400.0)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["statsu"], 2, "did you mean 'status'?"),
        (["workflow"], 2, ""),
        (["workflow", "list", "--limit", "0"], 2, "--limit"),
        (["status", "--nope"], 2, "--nope"),
        (["invite", "--valid", "soon"], 2, "no duration"),
        (["workflow", "status", "zz"], 5, "no run begins with 'zz'"),
        (["workflow", "status", "abc"], 5, f"{RUN}, {RUN_2}"),
        (["workflow", "logs", RUN, "nope"], 5, "has no job 'nope'"),
        (["workflow", "logs", RUN, "--attempt", "2"], 2, "needs a JOB"),
        (["workflow", "plan", "/nowhere.yml"], 2, "/nowhere.yml: cannot be read"),
        (["workflow", "submit", "/nowhere.yml"], 2, "/nowhere.yml: cannot be read"),
        (["--socket", "/nowhere.sock", "status"], 69, "no daemon answers on /nowhere.sock"),
        (["status", "--socket", "/nowhere.sock"], 69, "no daemon answers on /nowhere.sock"),
        (["testnet", "status", "--dir", "/nowhere"], 5, "no testnet in /nowhere"),
        (["testnet", "down", "--dir", "/nowhere"], 5, "no testnet in /nowhere"),
        (["join", "rubbish", "--data-dir", "/nowhere/data"], 2, "invitation"),
    ],
)
def test_exit_codes_of_what_goes_wrong(
    cli: Cli, double: DaemonDouble, arguments: list[str], code: int, words: str
) -> None:
    double.held[RUN_2] = run(RUN_2)
    plain = cli(*arguments)
    assert (plain.code, plain.out) == (code, "")
    assert plain.err.startswith("error: ") or not words
    assert words in plain.err
    assert "Traceback" not in plain.err


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["workflow", "status", "zz"], "not-found", 5),
        (["--socket", "/nowhere.sock", "status"], "no-daemon", 69),
        (["workflow", "list", "--limit", "x"], "usage", 2),
    ],
)
def test_with_json_an_error_is_json_too(cli: Cli, arguments: list[str], code: str, exit_code: int) -> None:
    result = cli(*arguments, "--json")
    error = json.loads(result.err)
    assert error["schema"] == "coterie.error/1"
    assert (error["error"]["code"], error["error"]["exit_code"], result.code) == (code, exit_code, exit_code)
    assert error["error"]["message"]
    assert result.out == ""


def test_not_allowed_is_4(cli: Cli, double: DaemonDouble) -> None:
    double.admin = False
    result = cli("invite")
    assert result.code == 4
    assert result.err == "error: only an admin can invite\nhint: ask an admin\n"


def test_our_own_bug_in_the_daemon_is_70(cli: Cli, double: DaemonDouble, caplog: pytest.LogCaptureFixture) -> None:
    from structlog.testing import capture_logs

    double.broken = True
    with capture_logs():
        assert cli("status").code == 70


def test_a_damaged_store_is_1(cli: Cli, double: DaemonDouble) -> None:
    double.problems = ("event 7: bad signature",)
    result = cli("store", "verify")
    assert result.code == 1
    assert "event 7: bad signature" in result.out


def test_plan_needs_no_daemon(cli: Cli, workflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTERIE_SOCKET", "/nowhere.sock")
    assert cli("workflow", "plan", str(workflow), "--json").json()["stages"] == [["build"]]
    shown = cli("workflow", "plan", str(workflow)).out
    assert "1 job in 1 stage" in shown
    assert "ubuntu-latest" in shown


def test_an_invalid_workflow_is_65_with_every_problem_and_its_place(cli: Cli, workflow: Path) -> None:
    workflow.write_text(CYCLE)
    for command in ("plan", "submit"):
        plain = cli("workflow", command, str(workflow))
        assert plain.code == 65
        assert f"error: {workflow}:3:" in plain.err
        told = json.loads(cli("workflow", command, str(workflow), "--json").err)["error"]
        assert told["code"] == "invalid-workflow"
        assert {(problem["line"], problem["column"]) for problem in told["problems"]} >= {(3, 14), (4, 14)}


def test_submit_sends_what_was_asked_for(cli: Cli, double: DaemonDouble, workflow: Path, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text('{"number": 7}')
    result = cli(
        "workflow", "submit", str(workflow), "--event", "push", "--payload", str(payload), "--priority", "critical",
        "--placement", "run", "--retries", "2", "--care", "careful",
    )  # fmt: skip
    assert (result.code, result.out) == (0, f"{RUN}\n")
    sent = double.submitted[0]
    assert (sent.file, sent.text, sent.event, sent.payload) == ("ci.yml", WORKFLOW, "push", {"number": 7})
    assert (sent.priority, sent.placement, sent.retries, sent.care) == (1.0, "run", 2, "careful")
    assert double.sources == []


def test_submit_sends_the_tree_only_where_a_step_checks_it_out(cli: Cli, double: DaemonDouble, workflow: Path) -> None:
    workflow.write_text(CHECKOUT)
    assert cli("workflow", "submit", str(workflow), "--no-source", "--json").json()["run"] == RUN
    assert double.sources == []
    assert cli("workflow", "submit", str(workflow), "--json").json()["run"] == RUN
    assert b"ci.yml" in double.sources[0]


def test_submit_tells_what_git_knows(cli: Cli, double: DaemonDouble, workflow: Path) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=workflow.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "trunk")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    git("remote", "add", "origin", "git@example.org:office/tools.git")
    git("add", ".")
    git("commit", "-qm", "first")
    cli("workflow", "submit", str(workflow))
    assert double.submitted[0].git == {
        "sha": git("rev-parse", "HEAD"),
        "ref": "refs/heads/trunk",
        "ref_name": "trunk",
        "ref_type": "branch",
        "repository": "office/tools",
        "actor": "Ada",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "novalue"], "NAME=VALUE"),
        (["--input", "a=b"], "a"),
        (["--event", "release"], "does not listen to release"),
        (["--payload", "/nowhere.json"], "cannot be read"),
        (["--priority", "-3"], "--priority"),
    ],
)
def test_submit_refuses_what_cannot_be(
    cli: Cli, double: DaemonDouble, workflow: Path, arguments: list[str], words: str
) -> None:
    result = cli("workflow", "submit", str(workflow), *arguments)
    assert result.code == 2
    assert words in result.err
    assert double.submitted == []


def test_a_run_with_its_jobs(cli: Cli, double: DaemonDouble) -> None:
    double.held[RUN] = run(
        status="failure", jobs=(job("build", peer=OTHER, attempt=2), job("test", "failure", reason="exit code 3"))
    )
    lines = cli("workflow", "status", "abc").out.splitlines()
    assert lines[0].startswith("✗ failure  ci.yml")
    assert lines[4].split() == ["build", "✓", "success", "beta", "2", "3.2", "s"]
    assert lines[5].endswith("exit code 3")


def test_watch_ends_with_the_result_of_the_run(cli: Cli, double: DaemonDouble) -> None:
    assert cli("workflow", "watch", "abc").code == 0
    double.held[RUN] = run(status="failure", jobs=(job("build", "failure", reason="exit code 3"),))
    result = cli("workflow", "watch", "abc")
    assert result.code == 1
    assert result.out.splitlines() == [
        "build: failure on alpha after 3.2 s: exit code 3",
        f"{RUN}: failure after 3.2 s",
    ]


def test_submit_and_watch_answers_one_document(cli: Cli, double: DaemonDouble, workflow: Path) -> None:
    result = cli("workflow", "submit", str(workflow), "--watch", "--json")
    assert (result.code, result.json()["status"]) == (0, "success")
    double.held[RUN] = run(status="cancelled")
    assert cli("workflow", "submit", str(workflow), "--watch", "--json").code == 1


def test_logs_of_one_job_and_of_all(cli: Cli, double: DaemonDouble) -> None:
    stamp = "2026-11-21T12:00:01.000Z"
    double.held[RUN] = run(jobs=(job("build"), job("test (3.12)"), job("never", "skipped", attempt=0)))
    double.texts["test (3.12)"] = f"{stamp} ##[group]Run x\n{stamp} ##[endgroup]\n{stamp} ##[error]no".encode()
    assert cli("workflow", "logs", "abc", "bui").out == "hello\n"
    assert cli("workflow", "logs", "abc", "build", "-t").out == f"{stamp} hello\n"
    assert cli("workflow", "logs", "abc").out.splitlines() == [
        "build       | hello",
        "test (3.12) | ▸ Run x",
        "test (3.12) | error: no",
    ]
    told = [json.loads(line) for line in cli("workflow", "logs", "abc", "--json").out.splitlines()]
    assert [(each["job"], each["line"], each["time"]) for each in told][:2] == [
        ("build", "hello", stamp),
        ("test (3.12)", "##[group]Run x", stamp),
    ]


def test_doctor_works_with_a_daemon_and_without(cli: Cli, tmp_path: Path) -> None:
    for arguments in ((), ("--socket", str(tmp_path / "none.sock"))):
        result = cli("doctor", "--data-dir", str(tmp_path / "data"), "--json", *arguments)
        checks = {check["name"]: check for check in result.json()["checks"]}
        assert result.code == 0
        assert checks["libp2p"]["level"] == "ok"
        assert checks["daemon"]["level"] == ("warn" if arguments else "ok")
        assert checks["data directory"]["level"] == "warn"
        assert all(check["fix"] for check in checks.values() if check["level"] != "ok")


def test_doctor_fails_on_a_key_that_others_can_read(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "identity.key").write_bytes(b"secret")
    (data / "identity.key").chmod(0o644)
    result = cli("doctor", "--data-dir", str(data))
    assert result.code == 1
    assert f"chmod 600 {data / 'identity.key'}" in result.out


def test_init_founds_and_does_not_found_twice(cli: Cli, tmp_path: Path) -> None:
    made = cli("init", "--data-dir", str(tmp_path / "data"), "--name", "office", "--json").json()
    assert (made["schema"], made["coterie_name"]) == ("coterie.founding/1", "office")
    assert "admin" in made["roles"]
    again = cli("init", "--data-dir", str(tmp_path / "data"))
    assert (again.code, again.out) == (2, "")
    assert "belongs to a coterie already" in again.err
