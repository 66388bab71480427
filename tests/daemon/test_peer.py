"""The loop of one peer: the order of effects, time, members and requests."""

from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from coterie.peer import STIMULI_PER_COMMIT_MAX, PeerSettings
from coterie.store.errors import StoreFailed
from coterie_protocols.errors import NotAllowed, NotFound, TryLater, UserError
from coterie_protocols.messages import Events, SyncDone, SyncRequest, encode_events, encode_message
from coterie_protocols.ops import RunId
from coterie_protocols.stimuli import FrameReceived, StopBegan, TaskResult
from peer_house import decoded, ended, idle, two_peers, wish
from protocols.building import Pen, key, run_of, submit
from shell_doubles import WALL_MS, Home, one_error

OTHER = key(2).peer_id


@pytest.fixture
def home() -> Home:
    return Home()


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
