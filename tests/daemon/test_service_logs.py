"""The daemon as its user sees it: logs from wherever they are, and a store that is verified."""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from coterie.blobs.file_blobs import FileBlobs
from coterie.ports import Unreachable
from coterie.store.sqlite import SqliteStore
from coterie_protocols.errors import NotFound, TryLater
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import BlobRequest, LogRequest, decode_request_untrusted
from coterie_protocols.ops import RunId
from coterie_protocols.stimuli import TaskResult
from protocols.building import Pen, claim, done, run_of, spec, submit
from service_house import OTHER, REQUEST, House, shared
from shell_doubles import Home, WatchedStore


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# -- logs -----------------------------------------------------------------------------------------------------------


async def test_the_log_of_a_job_that_runs_here(house: House, autojump_clock: MockClock) -> None:
    async with house.home.up():
        run = (await house.service.submit(REQUEST)).run
        await house.home.runner.begun(1)
        assert (await house.log(run, "build")).endswith(b"build begins\n")
        got: list[bytes] = []

        async def follow() -> None:
            got.append(await house.log(run[:6], "bui", follow=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            assert not got
            house.home.runner.end("build", TaskResult("success"))
    assert got[0].endswith(b"build begins\n")


async def test_the_log_of_a_job_that_ran_here_is_its_blob(
    house: House, tmp_path: Path, autojump_clock: MockClock
) -> None:
    for job in ("build", "test (a)", "test (b)"):
        house.home.runner.end(job, TaskResult("success"))
    async with house.home.up():
        run = (await house.service.submit(REQUEST)).run
        view = await house.until(run, "success")
    for file in (tmp_path / "logs").rglob("*.log"):
        file.unlink()
    assert view.jobs[0].log is not None
    log = await house.log(run, "build")
    assert log.endswith(b"build begins\n")
    assert await house.log(run, "build", offset=len(log) - 3) == b"ns\n"
    with pytest.raises(NotFound, match="several jobs match"):
        await house.log(run, "test")
    assert await house.log(run, "test (b)")


async def test_the_log_of_an_earlier_attempt(house: House, autojump_clock: MockClock) -> None:
    house.home.runner.end("build", TaskResult("failure"))
    async with house.home.up():
        run = (await house.service.submit(replace(REQUEST, retries=1))).run
        view = await house.until(run, "failure")
    assert view.jobs[0].attempt == 2
    assert await house.log(run, "build", attempt=1)
    assert await house.log(run, "build", attempt=2) == await house.log(run, "build")
    with pytest.raises(NotFound, match="attempt 3 of build"):
        await house.log(run, "build", attempt=3)


async def test_there_is_no_log_of_what_nobody_ran(tmp_path: Path) -> None:
    pen, house = shared(tmp_path)
    pen.write(1, submit(spec("build"), spec("test", "build")))
    house = House(tmp_path, pen, slots=0)
    (run,) = house.home.replica.state.runs
    with pytest.raises(NotFound, match="nobody has run it"):
        await house.log(run.id, "build")
    with pytest.raises(NotFound, match="no job 'deploy'"):
        await house.log(run.id, "deploy")


def ran_elsewhere(tmp_path: Path, log: bytes | None, ended: bool) -> tuple[House, RunId]:
    """A run whose one task peer 2 claimed; its log is a blob, or nothing yet."""
    pen, house = shared(tmp_path)
    submission = pen.write(1, submit())
    run = run_of(submission)
    claimed = pen.write(2, claim(run))
    if ended:
        cid = None if log is None else FileBlobs(tmp_path / "theirs", 1000).put(log)
        pen.write(2, replace(done(run, claimed), log=cid))
    house = House(tmp_path, pen, slots=0)
    house.home.network.reached = {OTHER}
    return house, run


async def test_the_log_of_a_job_that_ran_elsewhere_is_fetched_once(tmp_path: Path) -> None:
    house, run = ran_elsewhere(tmp_path, b"their log\n", ended=True)

    @asynccontextmanager
    async def answer(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        assert isinstance(decode_request_untrusted(request), BlobRequest)
        yield _once(b"their log\n")

    house.home.network.answer = answer
    assert await house.log(run, "t") == b"their log\n"
    assert await house.log(run, "t", offset=6) == b"log\n"
    assert house.home.network.fetches == [OTHER]


async def test_the_log_of_a_job_that_runs_elsewhere_is_streamed(tmp_path: Path) -> None:
    house, run = ran_elsewhere(tmp_path, None, ended=False)
    asked: list[LogRequest] = []

    @asynccontextmanager
    async def answer(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        asked.append(cast(LogRequest, decode_request_untrusted(request)))
        yield _once(b"so far\n")

    house.home.network.answer = answer
    assert await house.log(run, "t", offset=5, follow=True) == b"so far\n"
    assert asked == [LogRequest(run, "t", 1, 5, True)]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_log_that_cannot_be_had_now_is_no_bug_of_ours(tmp_path: Path, ended: bool) -> None:
    house, run = ran_elsewhere(tmp_path, b"lost", ended)
    with pytest.raises(TryLater):
        await house.log(run, "t")


async def test_a_log_that_breaks_off_is_no_bug_of_ours_even_in_a_nursery(tmp_path: Path) -> None:
    house, run = ran_elsewhere(tmp_path, None, ended=False)

    @asynccontextmanager
    async def answer(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        yield _break_off()

    house.home.network.answer = answer

    async def read() -> None:
        async with house.service.logs(run, "t", None, 0, False) as chunks, trio.open_nursery():
            async for _ in chunks:
                pass

    with pytest.raises(ExceptionGroup) as caught:
        await read()
    assert [type(each) for each in caught.value.exceptions] == [TryLater]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _break_off() -> AsyncIterator[bytes]:
    yield b"a"
    raise Unreachable("it broke off")


# -- verifying ------------------------------------------------------------------------------------------------------


def written(path: Path) -> Pen:
    pen = Pen()
    pen.join(2)
    for _ in range(20):
        run = run_of(pen.write(1, submit()))
        pen.write(2, claim(run))
    store = SqliteStore(path)
    store.append(pen.events)
    store.close()
    return pen


async def test_a_sound_store_is_verified(house: House) -> None:
    house.home.pen.write(1, submit())
    fresh = Home(house.home.pen)
    house.service.peer, house.service.store = fresh.peer, fresh.store
    view = await house.service.verify()
    assert (view.problems, view.events) == ((), 2)
    assert view.live_digest == view.rebuilt_digest


async def test_every_damaged_event_is_found(tmp_path: Path) -> None:
    """Flips one byte in each stored event in turn; the database itself notices none of that."""
    path = tmp_path / "coterie.db"
    pen = written(path)
    store = SqliteStore(path)
    sound = dict(enumerate(store.replay(), 1))
    store.close()
    for position in (1, 2, 3, 10, len(sound)):
        for place in (3, len(sound[position]) // 2, len(sound[position]) - 1):
            damaged = bytearray(sound[position])
            damaged[place] ^= 1
            with sqlite3.connect(path) as database:
                database.execute("UPDATE event SET data = ? WHERE position = ?", (bytes(damaged), position))
            database.close()
            store = SqliteStore(path)
            house = House(tmp_path, pen, slots=0)
            house.service.store = store
            assert (await house.service.verify()).problems, (position, place)
            store.close()
        with sqlite3.connect(path) as database:
            database.execute("UPDATE event SET data = ? WHERE position = ?", (sound[position], position))
        database.close()
    store = SqliteStore(path)
    house = House(tmp_path, pen, slots=0)
    house.service.store = store
    assert (await house.service.verify()).problems == ()
    store.close()


async def test_a_missing_event_is_found(tmp_path: Path) -> None:
    pen = Pen()
    pen.write(1, submit())
    house = House(tmp_path, pen, slots=0)
    lacking = WatchedStore()
    lacking.append(pen.events[:1])
    house.service.store = lacking
    assert (await house.service.verify()).problems


async def test_problems_are_bounded(tmp_path: Path) -> None:
    house = House(tmp_path)
    store = WatchedStore()
    house.service.store = store
    store.replay = lambda: iter([b"garbage %d" % number for number in range(1000)])  # type: ignore[method-assign]
    assert len((await house.service.verify()).problems) == 100
