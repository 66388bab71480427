"""Leases, takeovers and endings, as transcripts: who is believed in for how long, and what becomes of a claim."""

import pytest

from coterie_protocols.effects import StartTask, StopTask
from coterie_protocols.messages import SyncDone, SyncRequest
from coterie_protocols.ops import Care, Claim, Done, Release
from coterie_protocols.stimuli import RunSubmitted, StopBegan, TaskEnded, TaskResult
from protocols.building import Pen, claim, key, release, run_of, spec, submit
from protocols.play import LEASE_S, WORKERS, Play, result
from protocols.stage import SCHEDULING, Stage, broadcasts, of, scheduling, sends, untimed


def test_a_lease_that_ends_is_taken_over_by_the_nearest() -> None:
    play = Play(rank=0, attempt=2)
    stage = play.stage
    stage.hear(play.submission, theirs := play.claim_of(play.others[0]))
    at, start = stage.wait_for(StartTask)
    assert at == 1.25 * LEASE_S
    assert (start.attempt, start.task) == (2, "t")
    ((_, op),) = [(e, op) for e in stage.saved.values() for op in e.ops if isinstance(op, Claim) and op.attempt == 2]
    assert op.supersedes == theirs.cid


def test_a_dead_holder_is_overtaken_in_the_order_of_the_new_attempt() -> None:
    play = Play(rank=2, attempt=2)
    play.stage.hear(play.submission, play.claim_of(play.ranking[0]))
    at, _ = play.stage.wait_for(StartTask)
    assert at == pytest.approx(1.25 * LEASE_S + SCHEDULING.stagger_s * 2)


def test_the_holders_own_lease_ends_before_the_patience_of_others() -> None:
    """Both at their worst: the sign of life is heard the moment that it is given, and the next ones are lost."""
    play = Play(rank=0, settings=scheduling(when_isolated="stop"))
    holder = play.stage
    holder.hear(play.submission)
    holder.disconnect(*play.others)
    at, stop = holder.wait_for(StopTask)
    assert at <= LEASE_S
    assert "no member was in reach" in stop.reason
    observer = Play(rank=1)
    observer.stage.hear(observer.submission, observer.claim_of(observer.ranking[0]))
    late, _ = observer.stage.wait_for(StartTask)
    assert late >= 1.25 * at


def test_a_holder_whom_others_answer_keeps_its_lease() -> None:
    play = Play(rank=0, settings=scheduling(when_isolated="stop"))
    stage = play.stage
    happened = play.begin()
    for _ in range(60):
        for peer, message in sends(happened):
            if isinstance(message, SyncRequest):
                clock = stage.replica.clock
                other = next(number for number in WORKERS if key(number).peer_id == peer)
                stage.tell(other, SyncDone(clock.frontier, clock.fingerprint, reply_wanted=False))
        happened = untimed(stage.wait(LEASE_S / 10))
        assert not of(happened, StopTask)


def test_a_connection_that_nobody_answers_on_is_no_reach() -> None:
    play = Play(rank=0, settings=scheduling(when_isolated="stop"))
    play.begin()
    at, _ = play.stage.wait_for(StopTask)
    assert at <= LEASE_S


@pytest.mark.parametrize("care", ["normal", "careful", "at-most-once"])
def test_whom_nobody_else_could_follow_keeps_its_lease(care: Care) -> None:
    stage = Stage(Pen(), 1, scheduling(when_isolated="stop"))
    stage.handle(RunSubmitted(1, submit(care=care)))
    happened = untimed(stage.wait(10 * LEASE_S))
    assert len(of(happened, StartTask)) == (0 if care == "normal" else 1)
    assert not of(happened, StopTask)


def test_when_isolated_a_normal_task_goes_on() -> None:
    play = Play(rank=0)
    play.begin()
    play.stage.disconnect(*play.others)
    assert not of(untimed(play.stage.wait(10 * LEASE_S)), StopTask)


def test_a_sign_of_life_renews_a_lease() -> None:
    play = Play(rank=0, attempt=2)
    stage, holder = play.stage, play.others[0]
    stage.hear(play.submission, theirs := play.claim_of(holder))
    for _ in range(4):
        assert not of(untimed(stage.wait(LEASE_S)), StartTask)
        stage.announce(holder, claims=[theirs])
    stage.announce(play.others[1], claims=[theirs])  # by somebody else: nothing
    assert stage.wait_for(StartTask)[0] == 1.25 * LEASE_S


def test_a_late_sign_of_life_closes_what_the_end_of_the_lease_opened() -> None:
    play = Play(rank=0, settings=scheduling(slots=0))
    stage, holder = play.stage, play.others[0]
    stage.hear(play.submission, theirs := play.claim_of(holder))
    stage.wait(2 * LEASE_S)
    assert stage.replica.scheduler.openings.get((play.run, "t"))
    stage.announce(holder, claims=[theirs])
    assert not stage.replica.scheduler.openings.get((play.run, "t"))


def test_an_overtaken_holder_stops() -> None:
    play = Play(rank=0)
    (start,) = of(play.stage.hear(play.submission), StartTask)
    mine = play.stage.saved[start.claim]
    effects = play.stage.hear(play.claim_of(play.others[0], attempt=2, supersedes=mine))
    assert of(effects, StopTask)[0].claim == start.claim


def test_at_most_once_is_never_taken_over_but_follows_a_release() -> None:
    play = Play(rank=0, care="at-most-once")
    stage, holder = play.stage, play.others[0]
    stage.hear(play.submission, theirs := play.claim_of(holder))
    assert not of(untimed(stage.wait(20 * LEASE_S)), StartTask)
    effects = stage.hear(play.pen.write(holder, release(play.run, theirs)))
    started = of(effects, StartTask) + of(untimed(stage.wait(5.0)), StartTask)
    assert [start.attempt for start in started] == [2]


def test_after_a_restart_old_claims_are_released_and_taken_anew() -> None:
    pen = Pen()
    submission = pen.write(1, submit())
    old = pen.write(1, claim(run_of(submission)))
    stage = Stage(pen, 1, settled=False)
    ((_, op),) = stage.written(stage.first, Release)
    assert (op.claim, op.reason) == (old.cid, "the peer was restarted")
    (start,) = of(stage.first, StartTask)
    assert start.attempt == 2


def test_failures_are_retried_at_once_then_ever_more_slowly() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit(retries=9))), StartTask)
    delays: list[float] = []
    for _ in range(8):
        result(stage, start, "failure")
        at, start = stage.wait_for(StartTask, 120.0)
        delays.append(round(at, 6))
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_task_that_could_not_begin_is_given_back_with_the_reason() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit())), StartTask)
    effects = stage.handle(TaskEnded(start.run, "t", start.claim, None, "no plan: " + "x" * 600))
    ((_, op),) = stage.written(effects, Release)
    assert op.reason.startswith("no plan: x")
    assert [again.attempt for again in of(effects, StartTask)] == [2]


def test_stopping_releases_what_runs_and_claims_nothing_more() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit())), StartTask)
    assert of(stage.handle(StopBegan()), StopTask)[0].claim == start.claim
    effects = stage.handle(TaskEnded(start.run, "t", start.claim, TaskResult("cancelled")))
    ((_, op),) = stage.written(effects, Release)
    assert (op.claim, op.reason) == (start.claim, "the peer is shutting down")
    assert not of(effects, StartTask)
    assert not stage.written(stage.handle(RunSubmitted(2, submit())), Claim)


def test_what_ended_while_it_was_being_stopped_counts() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit(care="at-most-once"))), StartTask) or [
        stage.wait_for(StartTask)[1]
    ]
    stage.handle(StopBegan())
    effects = result(stage, start)
    assert [op.status for _, op in stage.written(effects, Done)] == ["success"]


def test_stopping_with_finish_lets_what_runs_end() -> None:
    stage = Stage(Pen(), 1, scheduling(slots=1))
    (start,) = of(stage.handle(RunSubmitted(1, submit(spec("a"), spec("b")))), StartTask)
    assert not of(stage.handle(StopBegan(finish=True)), StopTask)
    effects = result(stage, start)
    assert [op.status for _, op in stage.written(effects, Done)] == ["success"]
    assert not of(effects, StartTask)


def test_stopping_releases_at_once_what_did_not_start_yet() -> None:
    play = Play(rank=0, care="careful")
    play.begin()
    effects = play.stage.handle(StopBegan(finish=True))
    assert [op.reason for _, op in play.stage.written(effects, Release)] == ["the peer is shutting down"]


def test_a_run_whose_submitter_loses_its_place_is_over() -> None:
    """Two newcomers come with a certificate for one; the earlier entry turns up late and voids the other's run."""
    pen = Pen()
    certificate = pen.certificate(900, ("submit",), uses=1)
    late = pen.write(1)
    second = pen.join_with(3, certificate, 900, parents=[late, pen.genesis])
    stage = Stage(pen, 1, scheduling(slots=1))
    running = pen.write(3, submit(spec("a"), spec("b"), spec("c")), parents=[second])
    (start,) = of(stage.hear(running), StartTask)
    first = pen.join_with(2, certificate, 900, parents=[pen.genesis])
    effects = stage.hear(first)
    assert not stage.replica.state.runs
    (stop,) = of(effects, StopTask)
    assert stop.claim == start.claim
    happened = [*stage.handle(TaskEnded(start.run, start.task, start.claim, TaskResult("cancelled")))]
    happened += untimed(stage.wait(60.0))
    assert not of(happened, StartTask)
    assert not stage.replica.scheduler.openings.get((start.run, "b"))


def test_a_worker_that_loses_its_place_stops_and_stays_idle() -> None:
    pen = Pen()
    certificate = pen.certificate(900, ("submit", "work"), uses=1)
    late = pen.write(1)
    pen.join_with(3, certificate, 900, parents=[late, pen.genesis])
    stage = Stage(pen, 3, scheduling(slots=1))
    (start,) = of(stage.hear(pen.write(1, submit(spec("a"), spec("b")))), StartTask)
    effects = stage.hear(pen.join_with(2, certificate, 900, parents=[pen.genesis]))
    assert of(effects, StopTask)[0].claim == start.claim
    stage.handle(TaskEnded(start.run, start.task, start.claim, TaskResult("cancelled")))
    assert not of(untimed(stage.wait(60.0)), StartTask)


def test_a_claim_that_becomes_valid_late_is_respected() -> None:
    """A claim by somebody whose entry counts only since an earlier one is known to be void."""
    play = Play(rank=0, settings=scheduling(slots=0))
    stage = play.stage
    stage.hear(play.submission)
    stage.hear(play.pen.join(9, parents=[play.pen.genesis]), by=9)
    stage.hear(play.claim_of(9))
    assert stage.replica.scheduler.leases[(play.run, "t")].claim.author == key(9).peer_id


def test_holders_give_signs_of_life_four_times_a_lease() -> None:
    play = Play(rank=0)
    (start,) = of(play.stage.hear(play.submission), StartTask)
    happened = play.stage.wait(LEASE_S)
    shown = [announcement.claims for announcement in broadcasts(untimed(happened))]
    assert len(shown) >= 4
    assert all(claims == (start.claim,) for claims in shown)


def test_no_more_slots_than_claims_can_be_shown() -> None:
    """A claim that no sign of life names would be taken over."""
    scheduling(slots=64)
    for slots in (-1, 65):
        with pytest.raises(ValueError, match="slots"):
            scheduling(slots=slots)
