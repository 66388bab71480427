"""The output of steps: a file an attempt, each line with its time, bounded, and followed without polling."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from coterie.engine.journal.port import ExecutionRecord
from coterie.executions.output import StepLogs
from coterie.executions.service import Submission
from coterie_protocols.errors import NotFound
from executions_house import document, ended, executions_in, shell, step

RECORD = ExecutionRecord("ex-1", "flow", "flow", b"", "hash", 0)
NOW_MS = 1_700_000_000_123
STAMP = b"2023-11-14T22:13:20.123Z "


def logs_in(directory: Path, bytes_max: int = 10_000) -> tuple[StepLogs, list[str]]:
    opened: list[str] = []
    return StepLogs(directory / "logs", bytes_max, lambda: NOW_MS, opened.append), opened


def read(logs: StepLogs, step: str, attempt: int = 1, offset: int = 0) -> bytes:
    return logs.read(logs.path("ex-1", step, attempt), offset)


async def test_lines_have_their_time_and_attempts_their_files(tmp_path: Path) -> None:
    logs, opened = logs_in(tmp_path)
    logs.line(RECORD, "a", 1, "one")
    logs.line(RECORD, "a", 1, "two\nthree")
    logs.line(RECORD, "a", 2, "again")
    assert read(logs, "a") == STAMP + b"one\n" + STAMP + b"two\n" + STAMP + b"three\n"
    assert read(logs, "a", 2, len(STAMP)) == b"again\n"
    assert read(logs, "b") == b""
    assert opened == ["ex-1", "ex-1"]
    logs.ended(RECORD, "a", 1)
    logs.ended(RECORD, "never", 1)
    assert not logs.is_open(logs.path("ex-1", "a", 1))
    logs.close()
    assert (tmp_path / "logs/ex-1/a.2.log").read_bytes().endswith(b"again\n")


async def test_lines_reach_the_file_with_the_next_turn(tmp_path: Path) -> None:
    logs, _ = logs_in(tmp_path)
    logs.line(RECORD, "a", 1, "one")
    path = logs.path("ex-1", "a", 1)
    assert path.read_bytes() == b""
    with trio.fail_after(5):
        await logs.more(path)
    assert path.read_bytes() == STAMP + b"one\n"
    logs.close()


async def test_much_at_once_does_not_wait_for_the_turn(tmp_path: Path) -> None:
    logs, _ = logs_in(tmp_path, 10_000_000)
    logs.line(RECORD, "a", 1, "x" * 300_000)
    assert logs.path("ex-1", "a", 1).stat().st_size > 300_000
    logs.close()


async def test_a_log_is_cut_and_says_so(tmp_path: Path) -> None:
    logs, _ = logs_in(tmp_path, 300)
    for _ in range(10):
        logs.line(RECORD, "a", 1, "x" * 20)
    logs.ended(RECORD, "a", 1)
    text = read(logs, "a")
    assert len(text) <= 300
    assert text.splitlines()[-1] == STAMP + b"log cut here: 8 lines (368 bytes) more are not kept"


async def test_a_disk_that_takes_no_more_costs_lines_only(tmp_path: Path) -> None:
    logs, _ = logs_in(tmp_path)
    (tmp_path / "logs/ex-1").write_text("no folder")
    with capture_logs() as logged:
        logs.line(RECORD, "a", 1, "lost")
        logs.ended(RECORD, "a", 1)
    assert [entry["event"] for entry in logged] == ["the output of a step is not kept"]


async def test_logs_of_forgotten_executions_go(tmp_path: Path) -> None:
    logs, _ = logs_in(tmp_path)
    for id_ in ("ex-1", "ex-2"):
        logs.line(replace(RECORD, id=id_), "a", 1, "x")
        logs.ended(replace(RECORD, id=id_), "a", 1)
    assert await logs.sweep(lambda id_: id_ == "ex-2") == 1
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["ex-2"]


async def test_following_ends_with_the_attempt(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    go = tmp_path / "go"
    async with executions.opened():
        begun = await executions.submit(
            Submission(document(step("w", type="wait", config={"signal": "go"}),
                                shell("a", f"echo one; while ! test -e {go}; do sleep 0.01; done; echo two", "w")))
        )  # fmt: skip
        seen = b""
        with pytest.raises(NotFound, match="has put out nothing"):
            await anext(executions.following.log(begun.id, "a", None, 0, follow=False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executions.signal, begun.id, "go", None)
            with trio.fail_after(20):
                async for chunk in executions.following.log(begun.id, "a", None, 0, follow=True):
                    seen += chunk
                    go.touch()
        assert re.sub(rb"(?m)^\S+Z ", b"", seen) == b"one\ntwo\n"
        over = await ended(executions, begun.id)
        quiet = [chunk async for chunk in executions.following.log(over.id, "w", None, 0, follow=True)]
        assert quiet == []
        with pytest.raises(NotFound, match="no step 'x'"):
            await anext(executions.following.log(begun.id, "x", None, 0, follow=False))


async def test_following_what_never_begins_ends_with_the_execution(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        begun = await executions.submit(Submission(document(shell("a", "exit 1"), shell("b", "echo", "a"))))
        with trio.fail_after(20), pytest.raises(NotFound, match="b has put out nothing: it is"):
            await anext(executions.following.log(begun.id, "b", None, 0, follow=True))
        assert [_ async for _ in executions.following.log(begun.id, "b", 3, 0, follow=True)] == []
