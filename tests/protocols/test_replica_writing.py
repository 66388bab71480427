"""What a peer writes, announces and holds back, as transcripts."""

from itertools import pairwise

import pytest

from coterie_protocols.effects import (
    Answer,
    Broadcast,
    Changed,
    Effect,
    FetchBlobs,
    Remember,
    Save,
    StartTask,
)
from coterie_protocols.encoding import cid_of_blob, link
from coterie_protocols.errors import NotAllowed, NotFound, TryLater, UserError
from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.messages import GOSSIP_BYTES_MAX, SyncDone, SyncRequest
from coterie_protocols.ops import Claim, Done, RunId, Submit
from coterie_protocols.replica import HEADS_MAX, REQUESTS_HELD_MAX
from coterie_protocols.stimuli import (
    DeadlineReached,
    RunCancelled,
    RunSubmitted,
    StopBegan,
    TaskEnded,
    TaskResult,
)
from protocols.building import PLAN, Pen, claim, key, run_of, spec, submit
from protocols.stage import Stage, broadcasts, of, scheduling, sends, untimed


def peers(count: int, *, me: int = 1) -> Stage:
    """A coterie of so many members that all may work and submit; nobody is connected."""
    pen = Pen()
    for number in range(2, count + 1):
        pen.join(number)
    return Stage(pen, me, scheduling(slots=0))


def by_id(*numbers: int) -> list[int]:
    """The numbers in the order of their peer ids."""
    return sorted(numbers, key=lambda number: key(number).peer_id)


def saved(effects: list[Effect]) -> list[Event]:
    """What was taken in or written."""
    return [effect.event for effect in of(effects, Save)]


# -- recovering -----------------------------------------------------------------------------------------------------


def recovering() -> Stage:
    """A member that was just started."""
    pen = Pen()
    pen.join(2)
    return Stage(pen, 1, settled=False)


def test_a_started_peer_holds_requests_until_it_was_told_the_tail_of_its_log() -> None:
    stage = recovering()
    stage.connect(2)
    assert not of(stage.handle(RunSubmitted(1, submit())), Answer)
    own = stage.pen.write(1)  # written before the disk was restored from a backup
    stage.hear(own, by=2)
    clock = stage.replica.clock
    effects = stage.tell(2, SyncDone(clock.frontier, clock.fingerprint, reply_wanted=True))
    ((event, _),) = stage.written(effects, Submit)
    assert event.header.prev == own.cid
    assert of(effects, Answer)[0].run == run_of(event)
    assert not clock.forks


def test_it_waits_for_nobody_too_long() -> None:
    stage = recovering()
    stage.handle(RunSubmitted(1, submit()))
    at, answer = stage.wait_for(Answer)
    assert (at, answer.error) == (3.0, None)


def test_a_question_from_one_who_has_the_same_is_as_good_as_an_answer() -> None:
    stage = recovering()
    stage.connect(2)
    stage.handle(RunSubmitted(1, submit()))
    clock = stage.replica.clock
    assert of(stage.tell(2, SyncRequest(clock.frontier, clock.fingerprint)), Answer)


def test_a_lone_peer_recovers_nothing() -> None:
    assert of(Stage(Pen(), 1, settled=False).handle(RunSubmitted(1, submit())), Answer)


def test_requests_that_wait_are_bounded() -> None:
    stage = recovering()
    for number in range(REQUESTS_HELD_MAX):
        assert not of(stage.handle(RunSubmitted(number, submit())), Answer)
    (answer,) = of(stage.handle(RunSubmitted(9_999, submit())), Answer)
    assert isinstance(answer.error, TryLater)
    assert len(of(untimed(stage.wait(4.0)), Answer)) == REQUESTS_HELD_MAX


def test_nothing_is_claimed_while_recovering() -> None:
    pen = Pen()
    pen.join(2)
    pen.write(2, submit())
    stage = Stage(pen, 1, settled=False)
    assert not stage.written(stage.first, Claim)
    at, _ = stage.wait_for(StartTask)
    assert at >= 3.0


# -- the user's wishes ------------------------------------------------------------------------------------------------


def test_who_may_not_submit_is_told_so() -> None:
    pen = Pen()
    pen.join(2, "work")
    stage = Stage(pen, 2)
    for stimulus in (RunSubmitted(1, submit()), RunCancelled(2, RunId("r"), "")):
        effects = stage.handle(stimulus)
        assert isinstance(of(effects, Answer)[0].error, NotAllowed)
        assert not saved(effects)


def test_a_run_that_is_not_there_cannot_be_cancelled() -> None:
    (answer,) = of(peers(1).handle(RunCancelled(1, RunId("nowhere"), "why")), Answer)
    assert isinstance(answer.error, NotFound)


@pytest.mark.parametrize(
    "op",
    [
        submit(*(spec(f"{i} " + "x" * 200) for i in range(400))),
        submit(workflow="x" * 257),
        submit(priority=1_001.0),
        submit(spec("a"), spec("a")),
        submit(spec("a" * 257)),
        submit(spec("a", labels=["l"] * 33)),
        submit(workflow="\ud800"),
        submit(spec("a", "later"), spec("later")),
        submit(retries=101),
    ],
    ids=["too large", "name", "priority", "twice", "id", "labels", "surrogate", "order", "retries"],
)
def test_what_others_would_refuse_is_never_written(op: Submit) -> None:
    """An event that others refuse would end this peer's log for ever."""
    stage = peers(1)
    effects = stage.handle(RunSubmitted(1, op))
    assert isinstance(of(effects, Answer)[0].error, UserError)
    assert not saved(effects)


@pytest.mark.parametrize(
    "result",
    [
        TaskResult("success", {"big": "x" * 60_000}),
        TaskResult("success", {"big": "x" * 20_000}),
        TaskResult("success", {str(i): "" for i in range(300)}),
        TaskResult("success", {"odd": "\ud800"}),
        TaskResult("success", started_ms=-5),
        TaskResult("failure", reason="\udcff" * 700),
    ],
    ids=["large", "long value", "many", "surrogate", "time", "reason"],
)
def test_a_result_that_others_would_refuse_becomes_a_failure_that_says_so(result: TaskResult) -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit())), StartTask)
    effects = stage.handle(TaskEnded(start.run, "t", start.claim, result))
    ((event, op),) = stage.written(effects, Done)
    assert op.status == "failure"
    assert op.reason
    assert decode_event_untrusted(event.data) == event


def test_a_release_for_any_reason_is_readable_to_others() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit())), StartTask)
    for event in saved(stage.handle(TaskEnded(start.run, "t", start.claim, None, "\udcff" * 700))):
        assert decode_event_untrusted(event.data) == event


def test_a_cancel_for_any_reason_is_readable_to_others() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit())), StartTask)
    for event in saved(stage.handle(RunCancelled(2, start.run, "\udcff" * 700))):
        assert decode_event_untrusted(event.data) == event


# -- announcing -----------------------------------------------------------------------------------------------------


def test_news_are_announced_at_once_and_inline() -> None:
    stage = peers(1)
    effects = stage.handle(RunSubmitted(1, submit()))
    (announcement,) = broadcasts(effects)
    assert announcement.events == tuple(event.data for event in saved(effects))
    assert announcement.heads == tuple(head.cid for head in stage.replica.clock.heads)
    assert isinstance(effects.index(of(effects, Save)[0]), int)
    assert effects.index(of(effects, Save)[0]) < effects.index(of(effects, Broadcast)[0])


def test_never_two_announcements_within_the_budget() -> None:
    stage = peers(1)
    times: list[float] = []
    shown: list[bytes] = []
    for number in range(100):
        effects = [(stage.now, effect) for effect in stage.handle(RunSubmitted(number, submit()))]
        effects += stage.wait(0.013)
        times += [at for at, effect in effects if isinstance(effect, Broadcast)]
        shown += [data for a in broadcasts([effect for _, effect in effects]) for data in a.events]
    assert min(b - a for a, b in pairwise(times)) >= stage.settings.announce_interval_s - 1e-9
    assert len(times) >= 100 * 0.013 / stage.settings.announce_interval_s - 1
    assert shown == [event.data for event in stage.pen.events[1:]][: len(shown)]


def test_idle_peers_are_quiet() -> None:
    stage = peers(1)
    stage.wait(10.0)
    assert 9 <= len(broadcasts(untimed(stage.wait(100.0)))) <= 11


def test_an_announcement_takes_no_more_than_gossip_carries() -> None:
    labels = frozenset(f"{i:02d}-" + "ü" * 60 for i in range(32))
    stage = Stage(Pen(), 1, scheduling(slots=64, labels=labels))
    happened = stage.handle(RunSubmitted(1, submit(*(spec(str(i)) for i in range(64)))))
    happened += untimed(stage.wait(30.0))
    assert len(of(happened, StartTask)) == 64
    assert all(len(effect.data) <= GOSSIP_BYTES_MAX for effect in of(happened, Broadcast))
    with pytest.raises(ValueError, match="labels"):
        Stage(Pen(), 1, scheduling(labels=frozenset(f"{i:02d}-" + "ü" * 253 for i in range(32))))


def test_members_are_remembered_where_they_say_they_are() -> None:
    stage = peers(2)
    (remember,) = of(stage.connect(2), Remember)
    assert remember == Remember(key(2).peer_id, ("/ip4/127.0.0.1/tcp/2",))
    assert not of(stage.announce(2), Remember)


def test_what_others_announce_is_taken_in() -> None:
    stage = peers(2)
    news = stage.pen.write(2, submit())
    effects = stage.announce(2, events=[news], heads=[news])
    assert saved(effects) == [news]
    assert Changed(run_of(news)) in effects
    assert of(effects, FetchBlobs) == [FetchBlobs((PLAN,), (key(2).peer_id,))]


def test_logs_of_ones_own_runs_are_fetched() -> None:
    stage = peers(2)
    (answer,) = of(stage.handle(RunSubmitted(1, submit())), Answer)
    assert answer.run is not None
    held = stage.pen.write(2, claim(answer.run))
    log = cid_of_blob(b"\x07" * 32)
    ended = stage.pen.write(2, Done(answer.run, "t", 1, held.cid, "success", {}, log, 1, 2, ""))
    assert of(stage.hear(held, ended, by=2), FetchBlobs) == [FetchBlobs((log,), (key(2).peer_id,))]


def test_goodbye() -> None:
    stage = peers(2)
    stage.connect(2)
    effects = stage.replica.say_goodbye(stage.instant())
    (announcement,) = broadcasts(effects)
    assert announcement.leaving
    assert [(peer, message) for peer, message in sends(effects)] == [(key(2).peer_id, announcement)]


# -- many heads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [True, False])
def test_too_many_heads_are_tied_by_one_chosen_peer(chosen: bool) -> None:
    less, more = by_id(1, 2)
    stage = peers(2, me=less if chosen else more)
    other = more if chosen else less
    stage.connect(other)
    for number in range(100, 100 + HEADS_MAX + 1):
        stage.hear(stage.pen.join(number, parents=[stage.pen.genesis]), by=other)
    assert len(stage.replica.clock.heads) > HEADS_MAX
    happened = stage.wait(12.0)
    written = [(at, e.event) for at, e in happened if isinstance(e, Save)]
    assert len(written) == (1 if chosen else 0)
    if chosen:
        _, event = written[0]
        assert (event.ops, len(event.header.parents)) == ((), 8)
        assert len(stage.replica.clock.heads) <= HEADS_MAX


def test_heads_that_are_tied_in_time_need_nobody() -> None:
    stage = peers(1)
    for number in range(100, 100 + HEADS_MAX + 1):
        stage.hear(stage.pen.join(number, parents=[stage.pen.genesis]), by=number)
    stage.wait(4.0)
    stage.handle(RunSubmitted(1, submit()))
    assert not [e for e in of(untimed(stage.wait(10.0)), Save) if not e.event.ops]


# -- small things -----------------------------------------------------------------------------------------------------


def test_nothing_to_do_does_nothing() -> None:
    stage = peers(1)
    assert stage.handle(DeadlineReached()) == []
    assert stage.handle(StopBegan()) == []


def test_a_result_that_nobody_asked_for_is_nothing() -> None:
    stage = peers(1)
    assert not saved(stage.handle(TaskEnded(RunId("r"), "t", stage.pen.coterie, TaskResult("success"))))


def test_what_was_stored_is_loaded_without_being_verified_again() -> None:
    pen = Pen()
    pen.join(2)
    last = pen.write(2, submit())
    spoilt = last.data[:-1] + bytes([last.data[-1] ^ 1])
    stage = Stage(pen, 1, scheduling(slots=0), known=[*pen.events[:-1], decode_event_untrusted(spoilt, verify=False)])
    assert stage.replica.clock.count == 3
    assert link(last.cid) != link(stage.replica.clock.heads[0].cid)
