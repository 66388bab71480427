"""`coterie testnet`, with real daemons."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.daemons
COMMAND_S_MAX = 120.0
WORKFLOW = """\
on: workflow_dispatch
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{id: say, run: 'echo "word=hello" >> "$GITHUB_OUTPUT"'}]
    outputs: {word: '${{ steps.say.outputs.word }}'}
  two:
    needs: one
    runs-on: ubuntu-latest
    steps: [{run: 'test "${{ needs.one.outputs.word }}" = hello'}]
"""


def coterie(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coterie.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
        env={**os.environ, "COTERIE_SLOTS": "99"},  # of the user's own daemon, not of these
    )


def document(*arguments: str) -> dict[str, Any]:
    done = coterie(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "net"
    yield where
    if where.exists():
        coterie("testnet", "down", "--dir", str(where))


def test_up_status_down(directory: Path) -> None:
    up = document("testnet", "up", "--peers", "2", "--dir", str(directory), "--slots", "3")
    listed = document("testnet", "status", "--dir", str(directory))
    assert [peer["peer"] for peer in listed["peers"]] == [peer["peer"] for peer in up["peers"]]
    assert len({peer["digest"] for peer in listed["peers"]}) == 1
    first, second = listed["peers"]
    assert {"peer", "pid", "socket", "dir", "digest", "name", "alive"} <= set(first)
    members = document("peer", "list", "--socket", first["socket"])["members"]
    assert {member["peer"]: member["slots"] for member in members} == {first["peer"]: 3, second["peer"]: 3}
    assert all(address.startswith("/ip4/127.0.0.1/") for member in members for address in member["addresses"])

    again = coterie("testnet", "up", "--dir", str(directory))
    assert (again.returncode, again.stdout) == (2, "")
    assert "there is a testnet in" in again.stderr

    os.kill(second["pid"], signal.SIGKILL)
    psutil.wait_procs([psutil.Process(second["pid"])] if psutil.pid_exists(second["pid"]) else [], timeout=10)
    status = coterie("testnet", "status", "--dir", str(directory), "--json")
    assert status.returncode == 1
    assert [peer["alive"] for peer in json.loads(status.stdout)["peers"]] == [True, False]

    down = document("testnet", "down", "--dir", str(directory))
    assert (down["stopped"], down["killed"]) == (["peer-1", "peer-2"], [])
    assert not directory.exists()
    assert not any(psutil.pid_exists(peer["pid"]) and _is_daemon(peer["pid"]) for peer in listed["peers"])


def _is_daemon(pid: int) -> bool:
    return "coterie.cli" in psutil.Process(pid).cmdline()


def test_run_starts_a_testnet_and_takes_it_down(directory: Path, tmp_path: Path) -> None:
    workflow = tmp_path / "ci.yml"
    workflow.write_text(WORKFLOW)
    run = document("testnet", "run", str(workflow), "--peers", "2", "--dir", str(directory))
    assert run["schema"] == "coterie.run/1"
    assert run["status"] == "success"
    assert [(job["id"], job["status"]) for job in run["jobs"]] == [("one", "success"), ("two", "success")]
    assert not directory.exists()


def test_a_testnet_that_cannot_start_says_why(directory: Path) -> None:
    done = coterie("testnet", "up", "--peers", "1", "--dir", str(directory), "--lease", "-1")
    assert done.returncode == 2
    assert "lease_s" in done.stderr
    assert "Traceback" not in done.stderr
    assert not directory.exists()


def test_an_invalid_workflow_starts_nothing(directory: Path, tmp_path: Path) -> None:
    workflow = tmp_path / "ci.yml"
    workflow.write_text("on: push\njobs: {}\n")
    done = coterie("testnet", "run", str(workflow), "--dir", str(directory))
    assert done.returncode == 65
    assert not directory.exists()
