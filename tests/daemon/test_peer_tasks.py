"""The loop of one peer: what becomes of tasks, and how it all ends."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from coterie.peer import PeerSettings
from coterie.ports import LogWriter
from coterie_protocols.effects import StartTask, StopTask
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import TryLater, UserError
from coterie_protocols.ops import REASON_CHARS_MAX, Done, Release, RunId
from coterie_protocols.stimuli import PeerConnected, TaskEnded, TaskResult
from peer_house import decoded, ended, idle, ops_of, status_of, two_peers, wish
from protocols.building import key, submit
from shell_doubles import ABSENT, Home

OTHER = key(2).peer_id


@pytest.fixture
def home() -> Home:
    return Home()


# -- tasks ----------------------------------------------------------------------------------------------------------


async def test_a_task_runs_and_its_log_is_kept(autojump_clock: MockClock, home: Home) -> None:
    home.runner.end("t", TaskResult("success", {"made": "it"}, started_ms=5, ended_ms=9))
    async with home.up():
        run = await home.peer.submit(wish(home))
        assert await ended(home, run) == "success"
    (done,) = [op for op in ops_of(home) if isinstance(op, Done)]
    assert (done.status, done.outputs, done.started_ms, done.ended_ms) == ("success", {"made": "it"}, 5, 9)
    assert done.log is not None
    assert home.files.blob(done.log) == b"t begins\n"


async def test_steps_are_shown_while_they_run(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        await home.peer.submit(wish(home))
        await home.runner.begun(1)
        assert list(home.peer.steps.values()) == ["the only step"]
        home.runner.end("t", TaskResult("success"))
        await idle()
        assert not home.peer.steps


async def test_our_own_fault_fails_the_task_and_is_logged_and_the_peer_goes_on(
    autojump_clock: MockClock, home: Home
) -> None:
    async def stumble(task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        raise ZeroDivisionError("in the runner")

    home.runner.work = stumble
    async with home.up():
        with capture_logs() as lines:
            run = await home.peer.submit(wish(home))
            assert await ended(home, run) == "failure"
        home.runner.work = None
        home.runner.end("u", TaskResult("success"))
        again = await home.peer.submit(wish(home, "u"))
        assert await ended(home, again, "u") == "success"
    (done, _) = [op for op in ops_of(home) if isinstance(op, Done)]
    assert "ZeroDivisionError" in done.reason
    assert done.log is not None, "what was written before the fault is kept"
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["exc_info"]


@pytest.mark.parametrize("grouped", [False, True])
async def test_what_the_user_can_mend_gives_the_task_back(autojump_clock: MockClock, home: Home, grouped: bool) -> None:
    async def refuse(task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        if task.attempt > 1:
            return TaskResult("success")
        error = TryLater("the disk is full", "make room")
        raise ExceptionGroup("a nursery's", [error]) if grouped else error

    home.runner.work = refuse
    async with home.up():
        run = await home.peer.submit(wish(home))
        assert await ended(home, run) == "success"
    (release,) = [op for op in ops_of(home) if isinstance(op, Release)]
    assert release.reason == "the disk is full"
    assert [task.attempt for task in home.runner.started] == [1, 2]


async def test_a_task_whose_plan_nobody_has_is_given_back(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        await home.peer.submit(replace(submit(), plan=ABSENT))
        await trio.sleep(0.5)
    release = next(op for op in ops_of(home) if isinstance(op, Release))
    assert "no peer in reach has the blob" in release.reason
    assert not home.runner.started


async def test_a_reason_of_any_length_fits_the_clock(autojump_clock: MockClock, home: Home) -> None:
    """An op that others refuse to read would cut this peer off from all of them, and from its own store."""

    async def refuse(task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        raise UserError("\udcff long " * 1000)

    home.runner.work = refuse
    async with home.up():
        await home.peer.submit(wish(home))
        await trio.sleep(0.5)
    releases = [op for data in home.stored() for op in decoded(data).ops if isinstance(op, Release)]
    assert releases
    assert all(len(release.reason) <= REASON_CHARS_MAX for release in releases)


async def test_a_cancelled_task_keeps_its_log(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        run = await home.peer.submit(wish(home))
        await home.runner.begun(1)
        assert await home.peer.cancel(run, "changed my mind") == run
        await idle()
        assert home.runner.cancelled == ["t"]
        assert status_of(home, run) == "cancelled"
    (done,) = [op for op in ops_of(home) if isinstance(op, Done)]
    assert done.status == "cancelled"
    assert done.log is not None
    assert home.files.blob(done.log) == b"t begins\n"


async def test_a_stop_that_comes_after_the_end_is_passed_over(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        run = await home.peer.submit(wish(home))
        await home.runner.begun(1)
        claim = home.runner.started[0].claim
        home.runner.end("t", TaskResult("success"))
        await ended(home, run)
        home.peer._perform([StopTask(run, "t", claim, "too late")])  # pyright: ignore[reportPrivateUsage]
        await idle()
        assert status_of(home, run) == "success"


async def test_a_log_that_cannot_be_kept_loses_no_result(
    autojump_clock: MockClock, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Cid:
        raise UserError("the disk is full")

    home.runner.end("t", TaskResult("success"))
    async with home.up():
        op = wish(home)
        monkeypatch.setattr(home.files, "put_file", full)
        run = await home.peer.submit(op)
        assert await ended(home, run) == "success"
    (done,) = [op for op in ops_of(home) if isinstance(op, Done)]
    assert done.log is None


# -- the end --------------------------------------------------------------------------------------------------------


async def test_stop_gives_back_what_runs_and_says_goodbye(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        await home.peer.submit(wish(home, "a", "b"))
        await home.runner.begun(2)
        began = trio.current_time()
        await home.peer.stop(finish=False)
        assert trio.current_time() - began < 1
        assert sorted(home.runner.cancelled) == ["a", "b"]
        releases = [op for op in ops_of(home) if isinstance(op, Release)]
        assert sorted(release.task for release in releases) == ["a", "b"]
        farewell = home.network.announcements()[-1]
        assert farewell.leaving
        assert not farewell.claims
        assert home.network.shown() >= set(home.stored()[-1:]), "the releases went out before the end"


async def test_stop_of_an_idle_peer_takes_no_time(autojump_clock: MockClock) -> None:
    home = Home(two_peers())
    async with home.up():
        await trio.sleep(30)
        began = trio.current_time()
        await home.peer.stop(finish=False)
        assert trio.current_time() == began


async def test_stop_does_not_wait_for_news_that_nobody_has(autojump_clock: MockClock) -> None:
    """What the last stimuli bring may change nothing that anybody watches."""
    home = Home(two_peers())
    async with home.up():
        await trio.sleep(30)
        await home.peer.submit(wish(home))
        await home.runner.begun(1)
        for _ in range(200):
            home.peer._post.send_nowait(PeerConnected(key(9).peer_id))  # pyright: ignore[reportPrivateUsage]
        stray = TaskEnded(RunId("none"), "t", ABSENT, None)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(home.peer.stop, False)
            for _ in range(200):
                home.peer._post.send_nowait(stray)  # pyright: ignore[reportPrivateUsage]
        assert trio.current_time() - began < 1


async def test_stop_tells_connected_members_directly(autojump_clock: MockClock) -> None:
    home = Home(two_peers())
    async with home.up():
        await home.peer.deliver(PeerConnected(OTHER))
        await trio.sleep(30)
        home.network.sent.clear()
        await home.peer.stop(finish=False)
        assert any(getattr(message, "leaving", False) for message in home.network.to(OTHER))


async def test_stop_may_let_the_work_end(autojump_clock: MockClock, home: Home) -> None:
    async with home.up() as nursery:
        run = await home.peer.submit(wish(home, "a", "b", "c"))
        await home.runner.begun(2)
        nursery.start_soon(home.peer.stop, True)
        await idle()
        assert not home.runner.cancelled
        for task in "abc":
            home.runner.end(task, TaskResult("success"))
        await idle()
        assert [status_of(home, run, task) for task in "abc"] == ["success", "success", None]
        assert home.network.announcements()[-1].leaving
    assert len(home.runner.started) == 2, "nothing new is begun"


@pytest.mark.parametrize("finish", [False, True])
async def test_stop_ends_within_its_time(autojump_clock: MockClock, finish: bool) -> None:
    async def dawdle(task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        return TaskResult("success")

    home = Home(peer=PeerSettings(stop_timeout_s=8.0))
    home.runner.work = dawdle
    with trio.CancelScope() as life:
        async with home.up():
            await home.peer.submit(wish(home))
            await home.runner.begun(1)
            began = trio.current_time()
            await home.peer.stop(finish)
            assert abs(trio.current_time() - began - 8.0) < 0.01
            assert home.network.announcements()[-1].leaving
            life.cancel()


async def test_what_does_not_finish_in_time_is_given_back(autojump_clock: MockClock) -> None:
    home = Home(peer=PeerSettings(stop_timeout_s=8.0))
    async with home.up():
        await home.peer.submit(wish(home))
        await home.runner.begun(1)
        await home.peer.stop(finish=True)
        assert home.runner.cancelled == ["t"]
        assert [op.task for op in ops_of(home) if isinstance(op, Release)] == ["t"]


async def test_a_restarted_peer_gives_back_what_it_held(autojump_clock: MockClock) -> None:
    home = Home()
    async with home.up():
        run = await home.peer.submit(wish(home))
        await home.runner.begun(1)
    again = Home(home.pen, store=home.store)
    again.blob()
    again.runner.end("t", TaskResult("success"))
    async with again.up():
        assert await ended(again, run) == "success"
    (task,) = again.runner.started
    assert task.attempt == 2
