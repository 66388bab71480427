"""Following runs and logs, and what the live tree shows."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.console import Console

from control_double import OTHER, PEER, RUN, DaemonDouble, job, run, served
from coterie.cli.follow import RunFollower, followed_lines, without_time
from coterie.cli.live import run_tree
from coterie.control.client import Client, Document
from coterie.control.schemas import Run
from coterie.views import RunView
from coterie_protocols.errors import TryLater

WAIT_S = 10.0


@pytest.fixture
def double() -> DaemonDouble:
    return DaemonDouble()


@pytest.fixture
def client(double: DaemonDouble, tmp_path: Path) -> Generator[Client]:
    with served(double, tmp_path) as path:
        yield Client(path)


def document(view: RunView) -> Document:
    return Run.model_validate(view).model_dump(mode="json")


def test_a_follower_tells_every_last_state(client: Client, double: DaemonDouble) -> None:
    double.held[RUN] = run(status="running", jobs=(job("build", "running"),))
    follower = RunFollower(client, "abc")
    assert follower.run["status"] == "running"
    double.put(run(status="success"))
    seen, now = 0, follower.run
    while now["status"] == "running":
        seen, now = follower.after(seen, WAIT_S)
    assert now["status"] == "success"


def test_a_follower_tells_when_the_daemon_stops(double: DaemonDouble, tmp_path: Path) -> None:
    double.held[RUN] = run(status="running")
    with served(double, tmp_path) as path:
        follower = RunFollower(Client(path), "abc")
        seen, _ = follower.after(1, WAIT_S)
    with pytest.raises(TryLater):
        follower.after(seen, WAIT_S)


def test_the_lines_of_a_job_are_followed_over_its_attempts(client: Client, double: DaemonDouble) -> None:
    double.held[RUN] = run(status="running", jobs=(job("build", "running"),))
    follower = RunFollower(client, "abc")
    lines = followed_lines(client, follower, "build")
    assert without_time(next(lines)) == "hello"
    double.put(run(status="running", jobs=(job("build", "running", attempt=2),)))
    double.grow_log("build", b"again\n", ended=True)
    assert next(lines) == "again"
    seen = 0
    while follower.run["jobs"][0]["attempt"] < 2:
        seen, _ = follower.after(seen, WAIT_S)
    assert [without_time(next(lines)), next(lines)] == ["hello", "again"]
    double.put(run(status="success", jobs=(job("build", attempt=2),)))
    assert list(lines) == []


@pytest.mark.parametrize("sent_before", [0, 1])
def test_a_followed_log_goes_on_where_its_peer_was_lost(client: Client, double: DaemonDouble, sent_before: int) -> None:
    double.held[RUN] = run(status="running", jobs=(job("build", "running"),))
    double.logs_fail_after = sent_before
    lines = followed_lines(client, RunFollower(client, "abc"), "build")
    assert without_time(next(lines)) == "hello"
    double.put(run(status="success"))
    double.grow_log("build", b"bye\n", ended=True)
    assert list(lines) == ["bye"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("2026-11-21T14:31:00.123Z hello", "hello"),
        ("2026-11-21T14:31:00.123Z ", ""),
        ("2026-11-21T14:31:00.123Z", ""),
        ("no time at all, but long enough to have one", "no time at all, but long enough to have one"),
        ("", ""),
    ],
)
def test_times_are_taken_off(line: str, text: str) -> None:
    assert without_time(line) == text


def picture(view: RunView, rows: int | None = None, last: dict[str, str] | None = None) -> list[str]:
    out = io.StringIO()
    names = {PEER: "alpha", OTHER: "beta"}
    Console(file=out, width=100).print(run_tree(document(view), names, last or {}, rows))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_live_tree_shows_jobs_peers_durations_and_last_lines() -> None:
    view = run(
        status="failure",
        jobs=(
            job("build", peer=OTHER),
            job("test", "failure", attempt=2, reason="exit code 3"),
            job("deploy", "waiting", peer=None),
        ),
    )
    lines = picture(view)
    assert lines[0].startswith("✗ ci.yml  failure  3.2 s")
    assert lines[1:] == [
        "├── ✓ build   success    beta      3.2 s",
        "├── ✗ test    failure    alpha     3.2 s  try 2  exit code 3",
        "└── · deploy  waiting",
    ]
    running = run(status="running", jobs=(job("build", "running", step="Compile"),))
    assert picture(running, last={"build": "cc main.c"})[-1] == "    └── cc main.c"


def test_a_large_run_shows_what_matters_and_counts_the_rest() -> None:
    many = [job(f"test ({number})") for number in range(500)]
    many[300] = job("test (300)", "failure", reason="exit code 1")
    many[400] = job("test (400)", "running")
    lines = picture(run(status="running", jobs=tuple(many)), rows=10)
    assert len(lines) <= 11
    assert any("test (300)" in line for line in lines)
    assert any("test (400)" in line for line in lines)
    assert lines[-1].endswith("more")


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_come_back(double: DaemonDouble, tmp_path: Path) -> None:
    double.held[RUN] = run(status="running", jobs=(job("build", "running"),))
    with served(double, tmp_path) as path:
        with subprocess.Popen(
            [sys.executable, "-m", "coterie.cli", "--socket", str(path), "workflow", "watch", "abc"],
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
    assert first == "build: running on alpha\n"
    assert process.returncode == 130, talk
    assert "coterie workflow watch abc" in talk
    assert "coterie workflow cancel abc" in talk
    assert double.cancelled == []
