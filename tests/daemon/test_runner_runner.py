"""The runner as the daemon sees it: blobs in, results out, nothing left behind."""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trio

from coterie.runner.logs import FileLogs
from coterie.runner.process import Grace
from coterie.runner.runner import RunnerSettings, passed_environment
from coterie.source_tree import pack_source
from coterie_protocols.encoding import Cid
from runner_tasks import QUICK, RUN, Bench, alive, number_in, one_job, wall_ms


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def source(bench: Bench) -> Cid:
    root = bench.folder / "tree"
    (root / "src").mkdir(parents=True)
    (root / "src" / "main.py").write_text("print('from the tree')")
    (root / "build.sh").write_text("#!/bin/sh\necho built\n")
    (root / "build.sh").chmod(0o755)
    pack_source(root, bench.folder / "tree.tar")
    return bench.blobs.put_file(bench.folder / "tree.tar")


async def test_checkout(bench: Bench) -> None:
    steps = """
- run: ls | wc -l
- uses: actions/checkout@v4
- run: ./build.sh && python3 src/main.py
- uses: actions/checkout@v4
  with: {path: again}
- run: cmp build.sh again/build.sh
"""
    result = await bench.run(bench.task(one_job(steps), source=source(bench)))
    assert result.status == "success", bench.log.text
    assert [line for line in bench.log.lines if line in ("0", "built", "from the tree")] == [
        "0",
        "built",
        "from the tree",
    ]


@pytest.mark.parametrize("path", ["../out", "/tmp/out", "link/out"])
async def test_checkout_stays_in_the_workspace(bench: Bench, path: str) -> None:
    steps = f"- run: ln -s /tmp link\n- uses: actions/checkout@v4\n  with: {{path: {path}}}"
    result = await bench.run(bench.task(one_job(steps), source=source(bench)))
    assert result.status == "failure"
    assert "lies outside the workspace" in result.reason


async def test_a_source_blob_that_is_no_tree(bench: Bench) -> None:
    blob = bench.blobs.put(b"garbage")
    result = await bench.run(bench.task(one_job("- uses: actions/checkout@v4"), source=blob))
    assert (result.status, result.reason) == (
        "failure",
        "step 'Run actions/checkout@v4': source tree: not a tar file of this format",
    )


async def test_nothing_is_left_behind(bench: Bench) -> None:
    steps = """
- run: mkdir -p a/b && touch a/b/c && chmod -R a-w a && touch $HOME/.rc $TMPDIR/t
- run: setsid sleep 1000 >/dev/null 2>&1 &
"""
    result = await bench.run(bench.task(one_job(steps)))
    assert result.status == "success", bench.log.text
    assert list(bench.work.iterdir()) == []
    assert bench.log.lines[-1] == "Killed 1 processes that the steps had left running."


async def test_each_attempt_begins_afresh(bench: Bench) -> None:
    for attempt in (1, 2):
        result = await bench.run(bench.task(one_job("- run: test ! -e x && touch x"), attempt=attempt))
        assert result.status == "success", bench.log.text


async def test_the_workspace_of_a_failure_is_kept_on_request(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RunnerSettings(env={"PATH": "/usr/bin:/bin"}, grace=QUICK, keep_failed=True))
    await bench.run_steps("- run: echo x >kept; exit 1")
    assert [path.read_text() for path in bench.work.glob("*/workspace/kept")] == ["x\n"]
    await bench.run_steps("- run: 'true'")
    assert await bench.runner.clean() == 0
    assert list(bench.work.iterdir()) == []


async def test_cancelling_kills_and_removes_everything_promptly(bench: Bench) -> None:
    pid = bench.folder / "pid"
    escape = f"(setsid sh -c 'echo $$ >{pid}; echo ready-$((1+1)); exec sleep 1000' &)"
    steps = f"- run: {escape} ; trap '' INT TERM; while :; do sleep 1; done"
    task = bench.task(one_job(steps))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.runner.run, task, bench.log, bench.reported.append)
            await bench.log.holds("ready-2")
            nursery.cancel_scope.cancel()
    assert list(bench.work.iterdir()) == []
    assert not alive(await number_in(pid))


async def test_a_plan_that_is_garbage_or_lacks_the_task(bench: Bench) -> None:
    task = bench.task(one_job("- run: x"), "nobody")
    result = await bench.run(task)
    assert (result.status, result.reason) == ("failure", "the plan has no job 'nobody'")
    result = await bench.run(replace(task, plan=bench.blobs.put(b"garbage")))
    assert result.status == "failure"
    assert result.reason.startswith("the plan cannot be read")


def test_steps_see_little_of_the_daemons_environment() -> None:
    seen = passed_environment({"PATH": "/bin", "LANG": "C", "AWS_SECRET_ACCESS_KEY": "x", "COTERIE_SOCKET": "y"})
    assert seen == {"PATH": "/bin", "LANG": "C"}
    assert "/usr/bin" in passed_environment({})["PATH"]


async def test_jobs_run_side_by_side(bench: Bench) -> None:
    async def one(name: str, other: str) -> None:
        meet = bench.folder / "meet"
        meet.mkdir(exist_ok=True)
        steps = f"- run: touch {meet}/{name}; while ! test -e {meet}/{other}; do sleep 0.01; done"
        task = bench.task(one_job(steps).replace("  it:", f"  {name}:"))
        assert (await bench.run(task)).status == "success"

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a", "b")
            nursery.start_soon(one, "b", "a")


async def test_a_long_log_stays_in_flat_memory(bench: Bench, tmp_path: Path) -> None:
    """50 MB of output, most of it past the log's limit."""
    logs = FileLogs(tmp_path / "logs", 5_000_000, wall_ms)
    task = bench.task(one_job("- run: head -c 50000000 /dev/zero | tr '\\0' x | fold -w 1000"))
    process = psutil.Process()
    await bench.run_steps("- run: echo warm")
    before = process.memory_info().rss
    with trio.fail_after(60):
        async with logs.open(RUN, "it", 1) as log:
            result = await bench.runner.run(task, log, bench.reported.append)
    assert result.status == "success"
    assert process.memory_info().rss - before < 20_000_000
    path = logs.finished(RUN, "it", 1)
    assert path is not None
    assert 4_900_000 < path.stat().st_size <= 5_000_000
    assert b"log cut here" in path.read_bytes()[-200:]


DAEMON = textwrap.dedent(
    """
    import sys, trio
    from pathlib import Path
    from runner_tasks import Bench, one_job

    bench = Bench(Path(sys.argv[1]))
    escape = "(setsid sh -c 'echo $$ >%s/escaped; exec sleep 1000' &)" % sys.argv[1]
    steps = "- run: %s ; trap '' INT TERM; echo $$ >%s/pid; while :; do sleep 1; done" % (escape, sys.argv[1])
    trio.run(bench.runner.run, bench.task(one_job(steps)), bench.log, print)
    """
)


async def test_a_daemon_killed_in_a_job_leaves_no_process_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    support = str(Path(__file__).parent.parent)
    daemon = await trio.lowlevel.open_process(
        [sys.executable, "-c", DAEMON, str(tmp_path)], env={"PYTHONPATH": support, "PATH": "/bin"}
    )
    with trio.fail_after(20):
        pids = [await number_in(tmp_path / name) for name in ("pid", "escaped")]
        daemon.kill()
        await daemon.wait()
        next_one = Bench(tmp_path)
        assert len(list(next_one.work.iterdir())) == 1
        await next_one.runner.clean()
        assert list(next_one.work.iterdir()) == []
    assert not any(alive(pid) for pid in pids)


async def test_a_deaf_step_does_not_outlast_the_grace(tmp_path: Path) -> None:
    grace = Grace(interrupt_s=0.1, terminate_s=0.1, drain_s=0.1)
    bench = Bench(tmp_path, RunnerSettings(env={"PATH": "/usr/bin:/bin"}, grace=grace))
    task = bench.task(one_job("- run: trap '' INT TERM; echo ready-$((1+1)); while :; do sleep 1; done"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.runner.run, task, bench.log, bench.reported.append)
        await bench.log.holds("ready-2")
        begun = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - begun < 2
