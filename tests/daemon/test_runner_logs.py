"""Logs: bounded, live, and on disk."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from coterie.runner.logs import LINE_CHARS_MAX, FileLogs
from coterie_protocols.errors import NotFound
from coterie_protocols.ops import RunId

RUN = RunId("bafyrun")
STAMP = b"2026-11-21T14:31:00.123Z "
WALL_MS = 1_795_271_460_123


@pytest.fixture
def logs(tmp_path: Path) -> FileLogs:
    return FileLogs(tmp_path / "logs", 10_000, lambda: WALL_MS)


async def all_of(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_lines_have_the_time_in_front(logs: FileLogs) -> None:
    async with logs.open(RUN, "build (3.12, linux)", 1) as log:
        log.line("hello")
        log.line("")
        log.line("two\nlines")
    path = logs.finished(RUN, "build (3.12, linux)", 1)
    assert path is not None
    assert path.read_bytes() == b"".join(STAMP + text + b"\n" for text in (b"hello", b"", b"two", b"lines"))
    assert path.parent.name == RUN


async def test_an_open_log_is_not_finished_and_can_be_read(logs: FileLogs) -> None:
    async with logs.open(RUN, "build", 1) as log:
        log.line("hello")
        assert logs.finished(RUN, "build", 1) is None
        assert await all_of(logs.read(RUN, "build", 1, 0, follow=False)) == STAMP + b"hello\n"
        assert await all_of(logs.read(RUN, "build", 1, len(STAMP), follow=False)) == b"hello\n"


async def test_what_is_not_there_is_not_found(logs: FileLogs) -> None:
    assert logs.finished(RUN, "build", 1) is None
    with pytest.raises(NotFound):
        await all_of(logs.read(RUN, "build", 1, 0, follow=True))
    with pytest.raises(NotFound):
        await all_of(logs.read(RunId("../etc"), "build", 1, 0, follow=True))


async def test_a_follower_sees_each_line_as_it_comes_and_the_end(logs: FileLogs) -> None:
    send, receive = trio.open_memory_channel[bytes](0)

    async def follow() -> None:
        async with send, aclosing(logs.read(RUN, "build", 1, 0, follow=True)) as chunks:
            async for chunk in chunks:
                await send.send(chunk)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            async with logs.open(RUN, "build", 1) as log:
                nursery.start_soon(follow)
                for text in ("one", "two", "three"):
                    log.line(text)
                    assert await receive.receive() == STAMP + text.encode() + b"\n"
            with pytest.raises(trio.EndOfChannel):
                await receive.receive()


async def test_a_finished_log_ends_a_follower_at_once(logs: FileLogs) -> None:
    async with logs.open(RUN, "build", 1) as log:
        log.line("hello")
    with trio.fail_after(5):
        assert await all_of(logs.read(RUN, "build", 1, 0, follow=True)) == STAMP + b"hello\n"


async def test_a_log_past_its_limit_is_cut_and_says_how_much_is_missing(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path / "logs", 1000, lambda: WALL_MS)
    line_bytes = len(STAMP) + 11
    async with logs.open(RUN, "build", 1) as log:
        for _ in range(100):
            log.line("x" * 10)
    data = (logs.finished(RUN, "build", 1) or tmp_path).read_bytes()
    assert len(data) <= 1000
    kept = data.count(b"xxxxxxxxxx\n")
    missing = 100 - kept
    assert data.splitlines()[-1] == STAMP + (
        f"log cut here: {missing} lines ({missing * line_bytes} bytes) more are not kept".encode()
    )


async def test_a_very_long_line_becomes_several(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path / "logs", 10**6, lambda: WALL_MS)
    async with logs.open(RUN, "build", 1) as log:
        log.line("x" * (LINE_CHARS_MAX + 1))
    data = (logs.finished(RUN, "build", 1) or tmp_path).read_bytes()
    assert [len(line) - len(STAMP) for line in data.splitlines()] == [LINE_CHARS_MAX, 1]


async def test_half_a_surrogate_pair_does_no_harm(logs: FileLogs, tmp_path: Path) -> None:
    async with logs.open(RUN, "build", 1) as log:
        log.line("a\ud800b")
    assert (logs.finished(RUN, "build", 1) or tmp_path).read_bytes() == STAMP + b"a?b\n"


async def test_a_second_attempt_has_a_log_of_its_own(logs: FileLogs) -> None:
    for attempt in (1, 2):
        async with logs.open(RUN, "build", attempt) as log:
            log.line(f"attempt {attempt}")
    assert await all_of(logs.read(RUN, "build", 1, 0, follow=False)) == STAMP + b"attempt 1\n"
    assert await all_of(logs.read(RUN, "build", 2, 0, follow=False)) == STAMP + b"attempt 2\n"
