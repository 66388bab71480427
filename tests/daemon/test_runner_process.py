"""No process of a job outlives it, whatever it does and however the daemon ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import trio

from coterie.runner.process import CannotStart, Command, Exit, Grace, JobProcesses, SupervisorLost, job_processes
from coterie.runner.tracking import TRACKING_VARIABLE, kill_orphans, kill_tracked
from runner_tasks import QUICK, ListLog, alive, gone, number_in

PATH = os.environ["PATH"]


def sh(script: str, folder: Path, **env: str) -> Command:
    return Command(("/bin/sh", "-c", script), {"PATH": PATH, **env}, folder)


async def test_output_and_exit_code(tmp_path: Path) -> None:
    log = ListLog()
    async with job_processes("t1-a", QUICK) as processes:
        ended = await processes.run(sh("echo out; echo err >&2; printf 'no end'; exit 3", tmp_path), log.line)
    assert ended == Exit(3)
    assert not ended.ok
    assert str(ended) == "exit code 3"
    assert log.lines == ["out", "err", "no end"]


async def test_a_signal_is_told_apart_from_an_exit_code(tmp_path: Path) -> None:
    async with job_processes("t2-a", QUICK) as processes:
        ended = await processes.run(sh("kill -SEGV $$", tmp_path), print)
    assert ended == Exit(None, signal.SIGSEGV)
    assert str(ended) == "signal 11 (SIGSEGV)"


async def test_nothing_of_the_daemon_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    log = ListLog()
    (tmp_path / "open").touch()
    with (tmp_path / "open").open() as held:
        os.set_inheritable(held.fileno(), True)
        async with job_processes("t3-a", QUICK) as processes:
            await processes.run(
                sh("env; ls -l /proc/self/fd | grep open; readlink /proc/self/fd/0", tmp_path), log.line
            )
            await processes.run(sh("trap", tmp_path), log.line)
    assert "SECRET" not in log.text
    assert str(tmp_path / "open") not in log.text
    assert "/dev/null" in log.text


async def test_signals_are_at_their_defaults(tmp_path: Path) -> None:
    log = ListLog()
    async with job_processes("t4-a", QUICK) as processes:
        await processes.run(sh("grep -E 'Sig(Blk|Ign)' /proc/self/status", tmp_path), log.line)
    blocked, ignored = (int(line.split()[1], 16) for line in log.lines)
    assert blocked == 0
    assert ignored & 0x7FFF_FFFF == 0  # glibc's posix_spawn ignores its own two, 32 and 33


async def test_what_cannot_start_says_so_and_the_next_command_still_runs(tmp_path: Path) -> None:
    async with job_processes("t5-a", QUICK) as processes:
        with pytest.raises(CannotStart, match="No such file"):
            await processes.run(Command(("/no/such/program",), {}, tmp_path), print)
        with pytest.raises(CannotStart, match="No such file"):
            await processes.run(Command(("/bin/true",), {}, tmp_path / "missing"), print)
        assert (await processes.run(sh("true", tmp_path), print)).ok


async def test_an_environment_longer_than_a_message(tmp_path: Path) -> None:
    log = ListLog()
    env = {f"V{number}": "x" * 100_000 for number in range(10)}
    async with job_processes("t6-a", QUICK) as processes:
        await processes.run(sh("echo ${#V9}", tmp_path, **env), log.line)
    assert log.lines == ["100000"]


@pytest.mark.parametrize(
    "escape",
    [
        pytest.param("sleep 1000 & echo $! >pid", id="background"),
        pytest.param("setsid sh -c 'echo $$ >pid; exec sleep 1000' &", id="setsid"),
        pytest.param("(setsid sh -c 'echo $$ >pid; exec sleep 1000' &)", id="double-fork-setsid"),
        pytest.param("env -i setsid setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 &", id="scrubbed"),
        pytest.param("setsid sh -c 'trap \"\" TERM INT HUP; echo $$ >pid; while :; do sleep 1; done' &", id="deaf"),
    ],
)
async def test_nothing_survives_the_job(tmp_path: Path, escape: str) -> None:
    with trio.fail_after(15):
        async with job_processes("t7-a", QUICK) as processes:
            assert (await processes.run(sh(escape, tmp_path), print)).ok
            pid = await number_in(tmp_path / "pid")
            assert alive(pid)
        assert not alive(pid)
    assert processes.orphans_killed >= 1


async def test_a_fork_storm_is_caught(tmp_path: Path) -> None:
    storm = "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        os.setsid()\ntime.sleep(1000)"
    script = f"{sys.executable} -c '{storm}' >/dev/null 2>&1 & echo started"
    with trio.fail_after(20):
        async with job_processes("t8-a", QUICK) as processes:
            await processes.run(sh(script, tmp_path, **{TRACKING_VARIABLE: "t8-a"}), print)
    assert kill_tracked("t8-a") == 0


async def test_background_output_is_told_and_does_not_hold_the_step(tmp_path: Path) -> None:
    log = ListLog()
    os.mkfifo(tmp_path / "go")
    with trio.fail_after(15):
        async with job_processes("t9-a", QUICK) as processes:
            await processes.run(sh("(read word <go; echo late; sleep 1000) & echo first", tmp_path), log.line)
            assert log.lines == ["first"]
            await processes.run(sh("echo second; echo x >go", tmp_path), log.line)
            await log.holds("late")
    assert sorted(log.lines) == ["first", "late", "second"]


async def test_cancelled_by_interrupt_when_the_step_listens(tmp_path: Path) -> None:
    log = ListLog()
    async with job_processes("t10-a", Grace(30, 30, 30)) as processes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                processes.run,
                sh("trap 'echo bye; exit' INT; echo up; while :; do sleep 0.05; done", tmp_path),
                log.line,
            )
            await log.holds("up")
            begun = time.monotonic()
            nursery.cancel_scope.cancel()
    assert log.lines == ["up", "bye"]
    assert time.monotonic() - begun < 5


async def test_cancelled_by_kill_when_the_step_is_deaf(tmp_path: Path) -> None:
    log = ListLog()
    script = (
        "trap '' INT TERM; echo $$ >pid; setsid sh -c 'echo $$ >child; sleep 1000' & echo up; while :; do sleep 1; done"
    )
    begun = time.monotonic()
    with trio.fail_after(15):
        async with job_processes("t11-a", QUICK) as processes:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(processes.run, sh(script, tmp_path), log.line)
                await log.holds("up")
                child = await number_in(tmp_path / "child")
                nursery.cancel_scope.cancel()
            assert not alive(int((tmp_path / "pid").read_text()))
        assert not alive(child)
    assert time.monotonic() - begun < 5


async def test_a_step_that_kills_its_supervisor_gains_nothing(tmp_path: Path) -> None:
    escape = "setsid sh -c 'echo $$ >pid; exec sleep 1000' & while ! [ -s pid ]; do sleep 0.01; done"
    script = f"{escape}; kill -9 $PPID; sleep 1000"
    env = {TRACKING_VARIABLE: "t12-a"}
    with trio.fail_after(15):
        async with job_processes("t12-a", QUICK) as processes:
            with pytest.raises(SupervisorLost):
                await processes.run(sh(script, tmp_path, **env), print)
            with pytest.raises(SupervisorLost):
                await processes.run(sh("true", tmp_path, **env), print)
        await gone(int((tmp_path / "pid").read_text()))


DAEMON = textwrap.dedent(
    """
    import os, sys, trio
    from pathlib import Path
    from coterie.runner.process import Command, Grace, job_processes

    async def main():
        folder = Path(sys.argv[1])
        async with job_processes(sys.argv[2] + "-claim", Grace()) as processes:
            env = {"PATH": os.environ["PATH"], "COTERIE_TRACKING_ID": sys.argv[2] + "-claim"}
            await processes.run(Command(("/bin/sh", "-c", sys.argv[3]), env, folder), print)

    trio.run(main)
    """
)


def start_daemon(folder: Path, tracking: str, script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", DAEMON, str(folder), tracking, script])


async def test_nothing_survives_a_daemon_that_is_killed(tmp_path: Path) -> None:
    script = (
        "trap '' TERM INT HUP; (env -i setsid sh -c 'echo $$ >escaped; exec sleep 1000' &); echo $$ >step;"
        " while :; do sleep 1; done"
    )
    daemon = start_daemon(tmp_path, "t13", script)
    pids = [await number_in(tmp_path / "step"), await number_in(tmp_path / "escaped")]
    supervisor = psutil.Process(pids[0]).ppid()
    daemon.kill()
    daemon.wait()
    for pid in (*pids, supervisor):
        await gone(pid)


async def test_nothing_survives_daemon_and_supervisor_killed_once_the_next_daemon_starts(tmp_path: Path) -> None:
    daemon = start_daemon(tmp_path, "t14", "(setsid sh -c 'echo $$ >pid; exec sleep 1000' &) ; sleep 1000")
    pid = await number_in(tmp_path / "pid")
    children = psutil.Process(daemon.pid).children()
    assert len(children) == 1
    daemon.send_signal(signal.SIGSTOP)  # or it would see to the orphans itself
    children[0].kill()
    daemon.kill()
    daemon.wait()
    assert alive(pid)
    with trio.fail_after(15):
        assert await kill_orphans("another-daemon") == 0
        assert alive(pid)
        assert await kill_orphans("t14") >= 1
    await gone(pid)


async def test_each_job_has_its_own_supervisor(tmp_path: Path) -> None:
    async def run(processes: JobProcesses, log: ListLog) -> None:
        await processes.run(sh("echo $PPID; sleep 0.1", tmp_path), log.line)

    first, second = ListLog(), ListLog()
    async with job_processes("t15-a", QUICK) as one, job_processes("t15-b", QUICK) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, one, first)
            nursery.start_soon(run, two, second)
    assert first.lines != second.lines


async def test_signals_that_the_daemon_ignores_are_not_ignored_by_steps(tmp_path: Path) -> None:
    log = ListLog()
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        async with job_processes("t4-b", QUICK) as processes:
            await processes.run(sh("grep SigIgn /proc/self/status", tmp_path), log.line)
    finally:
        signal.signal(signal.SIGQUIT, before)
    assert int(log.lines[0].split()[1], 16) & 0x7FFF_FFFF == 0
