"""No process that the engine starts outlives its step, or the engine, whatever it does and however the engine ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anyio
import psutil
import pytest

from coterie.engine.settings import EngineSettings
from coterie.engine.spawner import CannotStart, Command, Exit, HeadAndTail, SupervisorLost
from coterie.engine.spawner.tracking import kill_orphans, tracking_prefix
from engine_processes import PATH, SETTINGS, Output, alive, backends, gone, number_in, open_spawner, run, sh


@backends
def test_output_and_exit_code(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner:
            ended = await spawner.run_command(
                sh("echo out; echo err >&2; printf 'no end'; exit 3", tmp_path), output.take
            )
        assert ended == Exit(3)
        assert not ended.ok
        assert str(ended) == "exit code 3"
        assert output.data == {1: b"out\nerr\nno end", 2: b""}

    run(backend, main)


@backends
def test_stdout_apart_from_stderr(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        command = Command(("/bin/sh", "-c", "echo out; echo err >&2"), {"PATH": PATH}, tmp_path, merged=False)
        async with open_spawner() as spawner:
            assert (await spawner.run_command(command, output.take)).ok
        assert output.data == {1: b"out\n", 2: b"err\n"}

    run(backend, main)


@backends
def test_a_signal_is_told_apart_from_an_exit_code(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_spawner() as spawner:
            ended = await spawner.run_command(sh("kill -SEGV $$", tmp_path), Output().take)
        assert ended == Exit(None, signal.SIGSEGV)
        assert ended.number == -signal.SIGSEGV
        assert str(ended) == "signal 11 (SIGSEGV)"

    run(backend, main)


def test_it_reads_what_it_is_given(tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        text = b"x" * 1_000_000
        async with open_spawner() as spawner:
            await spawner.run_command(Command(("/bin/cat",), {}, tmp_path, stdin=text), output.take)
            assert output.data[1] == text
            await spawner.run_command(sh("readlink /proc/self/fd/0 >&2; cat", tmp_path), output.take)
        assert output.data[1][len(text) :] == b"/dev/null\n"

    run("trio", main)


def test_nothing_of_the_engine_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_ENGINE", "x")

    async def main() -> None:
        output = Output()
        with (tmp_path / "open").open("w") as held:
            os.set_inheritable(held.fileno(), True)
            async with open_spawner() as spawner:
                await spawner.run_command(sh("env; ls /proc/self/fd | wc -l; trap", tmp_path), output.take)
        assert "SECRET" not in "\n".join(output.lines)
        assert output.lines[-1] == "4"  # 0, 1, 2 and the folder that ls reads

    run("trio", main)


def test_signals_are_at_their_defaults(tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner:
            await spawner.run_command(sh("grep -E 'Sig(Blk|Ign)' /proc/self/status", tmp_path), output.take)
        blocked, ignored = (int(line.split()[1], 16) for line in output.lines)
        assert blocked == 0
        assert ignored & 0x7FFF_FFFF == 0  # glibc's posix_spawn ignores its own two, 32 and 33

    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        run("trio", main)
    finally:
        signal.signal(signal.SIGQUIT, before)


@backends
def test_what_cannot_start_says_so_and_the_next_command_still_runs(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_spawner() as spawner:
            with pytest.raises(CannotStart, match="No such file"):
                await spawner.run_command(Command(("/no/such/program",), {}, tmp_path), print)
            with pytest.raises(CannotStart, match="No such file"):
                await spawner.run_command(Command(("/bin/true",), {}, tmp_path / "missing"), print)
            with pytest.raises(CannotStart, match="null"):
                await spawner.run_command(Command(("/bin/true",), {"A": "\0"}, tmp_path), print)
            assert (await spawner.run_command(sh("true", tmp_path), print)).ok

    run(backend, main)


def test_an_environment_longer_than_a_message(tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        env = {f"V{number}": "x" * 100_000 for number in range(10)}
        async with open_spawner() as spawner:
            await spawner.run_command(sh("echo ${#V9}", tmp_path, **env), output.take)
        assert output.lines == ["100000"]

    run("trio", main)


@backends
def test_many_at_a_time(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        exits: dict[int, Exit] = {}

        async def one(number: int) -> None:
            exits[number] = await spawner.run_command(
                sh(f"read line; echo $line; exit {number}", tmp_path), output.take
            )

        output = Output()
        async with open_spawner() as spawner:
            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(one, number)
        assert exits == {number: Exit(number) for number in range(40)}

    run(backend, main)


@backends
def test_a_flood_of_output_is_all_told(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner:
            await spawner.run_command(sh("yes | head -c 3000000; sleep 0.02; echo end", tmp_path), output.take)
        assert len(output.data[1]) == 3_000_004
        assert output.data[1].endswith(b"end\n")

    run(backend, main)


@pytest.mark.parametrize(
    "escape",
    [
        pytest.param("sleep 1000 & echo $! >pid", id="background"),
        pytest.param("sleep 1000 >/dev/null 2>&1 & echo $! >pid", id="background-silent"),
        pytest.param("setsid sh -c 'echo $$ >pid; exec sleep 1000' &", id="setsid"),
        pytest.param("(setsid sh -c 'echo $$ >pid; exec sleep 1000' &)", id="double-fork-setsid"),
        pytest.param("env -i setsid setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 &", id="scrubbed"),
        pytest.param("setsid sh -c 'trap \"\" TERM INT HUP; echo $$ >pid; while :; do sleep 1; done' &", id="deaf"),
    ],
)
def test_nothing_survives_the_command(tmp_path: Path, escape: str) -> None:
    async def main() -> None:
        async with open_spawner() as spawner:
            wait = "\nwhile ! [ -s pid ]; do sleep 0.01; done"
            assert (await spawner.run_command(sh(escape + wait, tmp_path), Output().take)).ok
            assert not alive(number_in(tmp_path / "pid"))

    run("trio", main)


def test_a_daemon_of_one_command_goes_with_it_and_not_with_another(tmp_path: Path) -> None:
    escape = "(setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 &); echo up; read line <go"
    os.mkfifo(tmp_path / "go")

    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner, await spawner.start(sh(escape, tmp_path), output.take) as long:
            await output.holds("up")
            pid = number_in(tmp_path / "pid")
            assert (await spawner.run_command(sh("sleep 1000 & true", tmp_path), print)).ok
            assert alive(pid)
            assert (await spawner.run_command(sh("echo >go", tmp_path), print)).ok
            assert (await long.wait()).ok
            assert not alive(pid)

    run("trio", main)


def test_what_cannot_be_told_to_belong_to_a_command_goes_with_the_last(tmp_path: Path) -> None:
    escape = "(env -i setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 &)"

    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner:
            async with await spawner.start(sh("echo up; exec sleep 1000", tmp_path), output.take):
                await output.holds("up")
                wait = "\nwhile ! [ -s pid ]; do sleep 0.01; done"
                assert (await spawner.run_command(sh(escape + wait, tmp_path), Output().take)).ok
                pid = number_in(tmp_path / "pid")
            gone(pid)

    run("trio", main)


def test_a_fork_storm_is_caught(tmp_path: Path) -> None:
    storm = "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        os.setsid()\ntime.sleep(1000)"
    prefix = tracking_prefix(tmp_path)

    async def main() -> None:
        async with open_spawner(EngineSettings(grace_s=0.3, work_dir=tmp_path)) as spawner:
            script = f"{sys.executable} -c '{storm}' >/dev/null 2>&1 & sleep 0.1; echo started"
            await spawner.run_command(sh(script, tmp_path), Output().take)
            assert not tracked(prefix)

    run("trio", main)


def tracked(prefix: str) -> list[int]:
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("COTERIE_TRACKING_ID", "").startswith(prefix) and alive(process.pid):
                found.append(process.pid)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def test_output_from_what_runs_on_is_waited_for_a_little(tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner:
            begun = time.monotonic()
            await spawner.run_command(sh("(sleep 0.1; echo late) & echo first", tmp_path), output.take)
            assert output.lines == ["first", "late"]
            await spawner.run_command(sh("sleep 1000 & echo second", tmp_path), output.take)
        assert output.lines[-1] == "second"
        assert time.monotonic() - begun < 5

    run("trio", main)


@backends
def test_cancelled_by_term_when_the_command_listens(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        output = Output()
        async with open_spawner(EngineSettings(grace_s=20)) as spawner:
            begun = time.monotonic()
            async with anyio.create_task_group() as tasks:
                script = "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.05; done"
                tasks.start_soon(spawner.run_command, sh(script, tmp_path), output.take)
                await output.holds("up")
                tasks.cancel_scope.cancel()
            assert time.monotonic() - begun < 10
        assert output.lines[-1] == "bye"

    run(backend, main)


@backends
def test_cancelled_by_kill_when_the_command_is_deaf(backend: str, tmp_path: Path) -> None:
    script = (
        "trap '' INT TERM; echo $$ >pid; setsid sh -c 'echo $$ >child; exec sleep 1000' & echo up;"
        " while :; do sleep 1; done"
    )

    async def main() -> None:
        output = Output()
        async with open_spawner() as spawner:
            begun = time.monotonic()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(spawner.run_command, sh(script, tmp_path), output.take)
                await output.holds("up")
                number_in(tmp_path / "child")
                tasks.cancel_scope.cancel()
            assert SETTINGS.grace_s < time.monotonic() - begun < 10
            assert not alive(number_in(tmp_path / "pid"))
            assert not alive(number_in(tmp_path / "child"))

    run(backend, main)


def test_left_early_it_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_spawner() as spawner:
            async with await spawner.start(sh("echo $$ >pid; exec sleep 1000", tmp_path), print) as process:
                pid = number_in(tmp_path / "pid")
                assert not process.ended
            assert not alive(pid)

    run("trio", main)


@backends
def test_when_the_spawner_closes_all_is_dead(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_spawner() as spawner:
            await spawner.start(sh("trap '' TERM; echo $$ >pid; while :; do sleep 1; done", tmp_path), print)
            pid = number_in(tmp_path / "pid")
        assert not alive(pid)

    run(backend, main)


@backends
def test_a_command_that_kills_its_supervisor_gains_nothing(backend: str, tmp_path: Path) -> None:
    escape = "setsid sh -c 'echo $$ >pid; exec sleep 1000' & while ! [ -s pid ]; do sleep 0.01; done"

    async def main() -> None:
        async with open_spawner() as spawner:
            with pytest.raises(SupervisorLost):
                await spawner.run_command(sh(f"{escape}; kill -9 $PPID; sleep 1000", tmp_path), print)
            assert not alive(number_in(tmp_path / "pid"))
            assert (await spawner.run_command(sh("true", tmp_path), print)).ok

    run(backend, main)


ENGINE = textwrap.dedent(
    """
    import anyio, sys
    from pathlib import Path
    from coterie.engine.settings import EngineSettings
    from coterie.engine.spawner import Command, Spawner

    async def main():
        folder = Path(sys.argv[1])
        async with anyio.create_task_group() as tasks:
            spawner = Spawner(EngineSettings(work_dir=folder))
            await tasks.start(spawner.run)
            for script in sys.argv[3:]:
                command = Command(("/bin/sh", "-c", script), {"PATH": "/usr/bin:/bin"}, folder)
                tasks.start_soon(spawner.run_command, command, print)

    anyio.run(main, backend=sys.argv[2])
    """
)


def start_engine(folder: Path, backend: str, *scripts: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", ENGINE, str(folder), backend, *scripts])


@backends
def test_nothing_survives_an_engine_that_is_killed(backend: str, tmp_path: Path) -> None:
    deaf = (
        "trap '' TERM INT HUP; (env -i setsid sh -c 'echo $$ >escaped; exec sleep 1000' &); echo $$ >step;"
        " while :; do sleep 1; done"
    )
    engine = start_engine(tmp_path, backend, deaf, "echo $$ >other; exec sleep 1000")
    pids = [number_in(tmp_path / name) for name in ("step", "escaped", "other")]
    supervisor = psutil.Process(pids[0]).ppid()
    engine.kill()
    engine.wait()
    for pid in (*pids, supervisor):
        gone(pid)


@backends
def test_the_next_engine_kills_what_is_left_of_one_killed_with_its_supervisor(backend: str, tmp_path: Path) -> None:
    engine = start_engine(tmp_path, backend, "(setsid sh -c 'echo $$ >pid; exec sleep 1000' &) ; sleep 1000")
    pid = number_in(tmp_path / "pid")
    children = psutil.Process(engine.pid).children()
    assert len(children) == 1
    engine.send_signal(signal.SIGSTOP)  # or it would see to the orphans itself
    children[0].kill()
    engine.kill()
    engine.wait()
    assert alive(pid)

    async def main() -> None:
        assert await kill_orphans("another-engine") == 0
        assert alive(pid)
        async with open_spawner(EngineSettings(work_dir=tmp_path)):
            gone(pid)

    run(backend, main)


def test_engines_that_live_are_left_alone(tmp_path: Path) -> None:
    settings = EngineSettings(grace_s=0.3, work_dir=tmp_path)

    async def main() -> None:
        async with open_spawner(settings) as first:
            async with await first.start(sh("echo $$ >pid; exec sleep 1000", tmp_path), print):
                pid = number_in(tmp_path / "pid")
                async with open_spawner(settings) as second:
                    assert (await second.run_command(sh("true", tmp_path), print)).ok
                    assert alive(pid)

    run("trio", main)


def test_it_says_when_it_does_not_run() -> None:
    from coterie.engine.spawner import Spawner

    async def main() -> None:
        with pytest.raises(RuntimeError, match="does not run"):
            await Spawner(SETTINGS).start(sh("true", Path("/")), print)

    run("trio", main)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_spawner() as spawner:
            await spawner.run_command(sh("true", tmp_path), print)
            before = len(os.listdir("/proc/self/fd"))
            for script in ("true", "echo x", "sleep 0.02", "exit 3", "echo x; sleep 0.02 & true"):
                await spawner.run_command(sh(script, tmp_path), Output().take)
            with pytest.raises(CannotStart):
                await spawner.run_command(Command(("/none",), {}, tmp_path, stdin=b"x"), print)
            assert len(os.listdir("/proc/self/fd")) == before

    run("trio", main)


def test_beginning_and_end_are_kept() -> None:
    kept = HeadAndTail(10)
    for piece in (b"abc", b"defgh", b"ijklmnop", b"q"):
        kept.add(piece)
    assert kept.left_out == 7
    assert kept.value == b"abcde\n[... 7 bytes left out ...]\nmnopq"


def test_what_fits_is_kept_whole() -> None:
    kept = HeadAndTail(10)
    for piece in (b"abc", b"defg", b"hij"):
        kept.add(piece)
    assert kept.left_out == 0
    assert kept.value == b"abcdefghij"


def supervisor_of_this() -> psutil.Process:
    return next(each for each in psutil.Process().children() if "supervisor.py" in " ".join(each.cmdline()))


@backends
def test_a_supervisor_that_is_behind_is_waited_for(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        exits: list[Exit] = []

        async def one() -> None:
            exits.append(await spawner.run_command(sh("true", tmp_path, LONG="x" * 30_000), print))

        async with open_spawner() as spawner:
            assert (await spawner.run_command(sh("true", tmp_path), print)).ok
            supervisor = supervisor_of_this()
            supervisor.send_signal(signal.SIGSTOP)
            descriptors = len(os.listdir("/proc/self/fd"))
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(one)
                await anyio.wait_all_tasks_blocked()
                with anyio.move_on_after(0.05) as scope:
                    await spawner.start(sh("true", tmp_path, LONG="x" * 30_000), print)
                assert scope.cancelled_caught
                supervisor.send_signal(signal.SIGCONT)
            assert exits == [Exit(0)] * 30
            assert len(os.listdir("/proc/self/fd")) == descriptors

    run(backend, main)


def test_a_supervisor_that_hangs_is_killed_with_what_it_supervised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.engine.spawner.tracking.SUPERVISORS_S_MAX", 0.1)
    engine = start_engine(tmp_path, "trio", "echo $$ >pid; exec sleep 1000")
    pid = number_in(tmp_path / "pid")
    supervisor = psutil.Process(pid).parent()
    assert supervisor is not None
    supervisor.send_signal(signal.SIGSTOP)
    engine.kill()
    engine.wait()

    async def main() -> None:
        assert await kill_orphans(tracking_prefix(tmp_path)) == 1

    run("trio", main)
    gone(pid)
    gone(supervisor.pid)


def test_a_supervisor_that_ends_for_nothing_is_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr("coterie.engine.spawner.spawner._SUPERVISOR", tmp_path / "broken.py")

    async def main() -> None:
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="before it had anything to do")):
            async with open_spawner():
                await anyio.sleep_forever()

    run("trio", main)
