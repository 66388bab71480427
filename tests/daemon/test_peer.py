"""The loop of one peer: the order of effects, what becomes of tasks, requests, and the end."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from coterie.peer import STIMULI_PER_COMMIT_MAX, PeerSettings
from coterie.ports import LogWriter
from coterie.store.errors import StoreFailed
from coterie_protocols.effects import StartTask, StopTask
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import NotAllowed, NotFound, TryLater, UserError
from coterie_protocols.event import Event
from coterie_protocols.messages import Events, SyncDone, SyncRequest, encode_events, encode_message
from coterie_protocols.ops import REASON_CHARS_MAX, Done, Release, RunId, Submit
from coterie_protocols.stimuli import FrameReceived, PeerConnected, StopBegan, TaskEnded, TaskResult
from protocols.building import Pen, key, run_of, spec, submit
from shell_doubles import ABSENT, WALL_MS, Home, one_error

OTHER = key(2).peer_id


def wish(home: Home, *tasks: str, retries: int = 0) -> Submit:
    """A submission whose plan is here."""
    specs = [spec(task) for task in tasks or ("t",)]
    return replace(submit(*specs, retries=retries), plan=home.blob())


def ops_of(home: Home) -> Iterator[object]:
    for data in home.store.replay():
        yield from decoded(data).ops


def decoded(data: bytes) -> Event:
    from coterie_protocols.event import decode_event_untrusted

    return decode_event_untrusted(data)


async def ended(home: Home, run: RunId, task: str = "t") -> str:
    """The status with which a task ends."""
    async with home.peer.changes.watch() as changes:
        while (status := status_of(home, run, task)) is None:
            await anext(changes)
        return status


def status_of(home: Home, run: RunId, task: str = "t") -> str | None:
    found = home.replica.state.run(run)
    assert found is not None
    return found.view(task, home.replica.state.authority).status


async def idle() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def home() -> Home:
    return Home()


def two_peers() -> Pen:
    pen = Pen()
    pen.join(2)
    return pen


# -- save, then send ------------------------------------------------------------------------------------------------


async def test_nothing_is_shown_that_is_not_durable(autojump_clock: MockClock, home: Home) -> None:
    def check() -> None:
        assert home.network.shown() <= set(home.stored())

    home.network.on_sent = check
    home.runner.end("t", TaskResult("success"))
    async with home.up():
        run = await home.peer.submit(wish(home))
        assert await ended(home, run) == "success"
        await trio.sleep(1)
    assert len(home.network.shown()) == 3  # the submission, the claim, the result


async def test_a_store_that_fails_ends_the_peer_and_leaves_nothing_sent(autojump_clock: MockClock, home: Home) -> None:
    refused: list[UserError] = []

    async def ask() -> None:
        try:
            await home.peer.submit(wish(home))
        except UserError as error:
            refused.append(error)

    sent = 0

    async def live() -> None:
        nonlocal sent
        async with home.up() as nursery:
            sent = len(home.network.sent)
            home.store.fail_next_append()
            nursery.start_soon(ask)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert isinstance(one_error(caught.value), StoreFailed)
    assert len(home.network.sent) == sent
    assert len(home.stored()) == 1
    assert not refused
    assert not home.runner.started


async def test_a_failing_store_starts_no_task(autojump_clock: MockClock, home: Home) -> None:
    """The claim is saved in the same batch: where that fails, nothing runs."""
    commits = 0

    def fail_second(events: object) -> None:
        nonlocal commits
        commits += 1
        if commits == 2:
            raise StoreFailed("no room", "make room")

    home.store.before = fail_second
    with suppress(BaseExceptionGroup):
        async with home.up():
            await home.peer.submit(wish(home, "a", "b", "c"))
            await trio.sleep(5)
            home.runner.end("a", TaskResult("success"))
            home.runner.end("b", TaskResult("success"))
            await trio.sleep_forever()
    assert {task.task for task in home.runner.started} <= {"a", "b"}
    assert len(home.store.commits) == 2  # the founding and the submission with its claims


async def test_many_stimuli_share_a_commit(autojump_clock: MockClock) -> None:
    pen = two_peers()
    home = Home(pen, slots=0)
    events = [pen.write(2, submit()) for _ in range(2 * STIMULI_PER_COMMIT_MAX)]
    async with home.up():
        home.store.commits.clear()
        for event in events:
            home.peer._post.send_nowait(FrameReceived(OTHER, encode_events([event.data])))  # pyright: ignore[reportPrivateUsage]
        await idle()
    # The first one is taken by the loop that waits; the others gather meanwhile.
    assert sum(home.store.commits) == len(events)
    assert len(home.store.commits) <= 3
    assert max(home.store.commits) == STIMULI_PER_COMMIT_MAX


async def test_deliver_waits_while_the_inbox_is_full(autojump_clock: MockClock) -> None:
    home = Home(peer=PeerSettings(inbox_max=2))
    for _ in range(2):
        await home.peer.deliver(StopBegan(False))
    with trio.move_on_after(10) as waiting:
        await home.peer.deliver(StopBegan(False))
    assert waiting.cancelled_caught
    assert home.peer.inbox_depth() == 2


# -- time -----------------------------------------------------------------------------------------------------------


async def test_what_is_due_is_done_without_any_news(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        before = len(home.network.announcements())
        await trio.sleep(25)
        assert len(home.network.announcements()) - before == 2  # one in ten seconds


async def test_a_deadline_in_the_past_does_not_keep_the_inbox_shut(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        home.replica.deadline = lambda now: now.monotonic - 1  # type: ignore[method-assign]
        for _ in range(3):
            with trio.fail_after(5), pytest.raises(NotFound):
                await home.peer.cancel(RunId("nothing"), "")


# -- members --------------------------------------------------------------------------------------------------------


async def test_a_member_that_asks_is_told_all_it_lacks(autojump_clock: MockClock) -> None:
    home = Home(two_peers(), slots=0)
    async with home.up():
        run = await home.peer.submit(wish(home))
        request = SyncRequest({}, bytes(32))
        await home.peer.deliver(FrameReceived(OTHER, encode_message(request)))
        await idle()
        frames = [message for message in home.network.to(OTHER) if isinstance(message, Events | SyncDone)]
    assert run
    assert [data for each in frames if isinstance(each, Events) for data in each.events] == home.stored()
    done = frames[-1]
    assert isinstance(done, SyncDone)
    assert done.fingerprint == home.replica.clock.fingerprint


async def test_an_answer_ends_when_the_asker_is_gone_and_a_later_question_is_answered(
    autojump_clock: MockClock,
) -> None:
    home = Home(two_peers(), slots=0)
    ask = FrameReceived(OTHER, encode_message(SyncRequest({}, bytes(32))))
    async with home.up():
        home.network.accepts = False
        await home.peer.deliver(ask)
        await idle()
        assert not any(isinstance(message, SyncDone) for message in home.network.to(OTHER))
        home.network.accepts = True
        await home.peer.deliver(ask)
        await idle()
        assert any(isinstance(message, SyncDone) for message in home.network.to(OTHER))


async def test_a_member_that_sends_garbage_is_dropped_with_the_reason(autojump_clock: MockClock) -> None:
    home = Home(two_peers())
    async with home.up():
        with capture_logs() as lines:
            await home.peer.deliver(FrameReceived(OTHER, b"\xff\xff"))
            await idle()
    ((peer, reason),) = home.network.dropped
    assert peer == OTHER
    assert reason
    assert [line["event"] for line in lines] == ["peer dropped"]


async def test_addresses_are_remembered_over_restarts(autojump_clock: MockClock) -> None:
    home = Home(two_peers())
    home.store.remember(OTHER, ("/ip4/127.0.0.1/tcp/5",))
    async with home.up():
        assert home.network.contacts == {OTHER: ("/ip4/127.0.0.1/tcp/5",)}


async def test_a_restart_is_newer_than_the_life_before_though_the_clock_went_back(
    autojump_clock: MockClock,
) -> None:
    """Others tell announcements by boot time and number: one that seems older would be passed over for ever."""
    home = Home()
    async with home.up():
        pass
    again = Home(home.pen, store=home.store)
    again.wall_ms = WALL_MS - 365 * 24 * 3600 * 1000
    async with again.up():
        pass
    before, after = home.network.announcements()[-1], again.network.announcements()[0]
    assert (before.boot_ms, before.number) < (after.boot_ms, after.number)


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


# -- requests -------------------------------------------------------------------------------------------------------


async def test_a_submission_is_durable_when_it_is_answered(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        run = await home.peer.submit(wish(home))
        assert run in {run_of(decoded(data)) for data in home.stored()}


async def test_a_peer_without_the_role_is_refused(autojump_clock: MockClock) -> None:
    pen = Pen()
    pen.join(2, "observe")
    home = Home(pen, 2)
    async with home.up():
        with pytest.raises(NotAllowed):
            await home.peer.submit(wish(home))


async def test_a_submission_that_others_could_not_read_is_refused(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        with pytest.raises(UserError):
            await home.peer.submit(replace(wish(home), workflow="w" * 300))
        with pytest.raises(UserError):
            await home.peer.submit(wish(home, *(f"t{number}" for number in range(600))))
    assert len(home.stored()) == 1


async def test_an_unknown_run_cannot_be_cancelled(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        with pytest.raises(NotFound):
            await home.peer.cancel(RunId("nothing"), "")


async def test_a_peer_that_does_not_answer_says_so(autojump_clock: MockClock) -> None:
    home = Home(peer=PeerSettings(answer_timeout_s=3.0))
    began = trio.current_time()
    with pytest.raises(TryLater):
        await home.peer.submit(wish(home))  # it was never started
    assert trio.current_time() - began == 3.0


async def test_an_answer_that_nobody_waits_for_is_dropped(autojump_clock: MockClock, home: Home) -> None:
    async with home.up():
        with trio.CancelScope() as scope:
            scope.cancel()
            await home.peer.submit(wish(home))
        await idle()
        assert await home.peer.submit(wish(home, "u"))


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
