"""A real daemon that executes a workflow of the engine, killed in the middle of it."""

import os
import signal
from pathlib import Path

import pytest

from coterie.founding import found
from executions_house import document, shell
from real_daemon import Daemon, daemons, until

STEPS = 12
RUN_S_MAX = 30.0


@pytest.mark.daemons
def test_a_killed_daemon_goes_on_and_repeats_what_was_running(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "alpha")
    daemon.data_dir.mkdir()
    found(daemon.data_dir, "home")
    marks = tmp_path / "marks"
    marks.touch()
    chain = [
        shell(f"s{number}", f"echo {number} >> {marks}; sleep 0.1", *([f"s{number - 1}"] if number else []))
        for number in range(STEPS)
    ]
    with daemons(daemon):
        daemon.start().ready()
        begun = daemon.client.execute({"document": document(*chain), "key": "once"})
        until(lambda: len(marks.read_text().split()), lambda count: count > 3, RUN_S_MAX)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.ended()
        daemon.start().ready()
        assert daemon.client.execute({"document": document(*chain), "key": "once"})["id"] == begun["id"]
        last = [told for event, told in daemon.client.execution_events(begun["id"], RUN_S_MAX) if event == "execution"]
        assert (last[-1]["status"], last[-1]["counts"]) == ("completed", {"completed": STEPS})
        ran = marks.read_text().split()
        again = [step["id"] for step in daemon.client.all_steps(begun["id"]) if step["attempt"] > 1]
        assert sorted(set(ran), key=int) == [str(number) for number in range(STEPS)]
        assert len(ran) <= STEPS + 1
        assert len(again) == 1
        assert daemon.stop().code == 0


@pytest.mark.daemons
def test_a_stopped_daemon_leaves_an_execution_for_the_next(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "alpha")
    daemon.data_dir.mkdir()
    found(daemon.data_dir, "home")
    pid_file = tmp_path / "pid"
    script = f'echo $$ > {pid_file}; test "$COTERIE_ATTEMPT" -gt 1 || sleep 60'
    with daemons(daemon):
        daemon.start().ready()
        begun = daemon.client.execute({"document": document(shell("a", script))})
        until(pid_file.exists, bool, RUN_S_MAX)
        pid = int(until(pid_file.read_text, bool, RUN_S_MAX))
        assert daemon.stop().code == 0
        assert not Path(f"/proc/{pid}").exists()
        daemon.start().ready()
        last = [told for event, told in daemon.client.execution_events(begun["id"], RUN_S_MAX) if event == "execution"]
        assert last[-1]["status"] == "completed"
        assert daemon.stop().code == 0
