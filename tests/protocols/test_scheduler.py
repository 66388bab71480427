"""Who runs what, as transcripts: something happens, and this is what one peer does, and when."""

import pytest

from coterie_protocols.effects import Answer, FetchBlobs, StartTask, StopTask
from coterie_protocols.ops import Claim, Done, Release
from coterie_protocols.stimuli import RunCancelled, RunSubmitted, TaskEnded, TaskResult
from protocols.building import PLAN, Pen, cancel, claim, done, key, run_of, spec, submit
from protocols.play import Play, result
from protocols.stage import SCHEDULING, Stage, of, ranking, scheduling, untimed


def test_a_lone_peer_starts_at_once() -> None:
    stage = Stage(Pen(), 1)
    effects = stage.handle(RunSubmitted(7, submit(spec("t"), spec("after", "t"))))
    (event, _) = stage.written(effects, Claim)[0]
    (answer,) = of(effects, Answer)
    (start,) = of(effects, StartTask)
    assert (answer.request, answer.error, answer.run) == (7, None, start.run)
    assert (start.task, start.attempt, start.claim) == ("t", 1, event.cid)
    assert (start.plan, start.source, start.placement, start.workflow) == (PLAN, None, "job", "ci.yml")
    assert start.submitter == key(1).peer_id
    effects = stage.handle(TaskEnded(start.run, "t", start.claim, TaskResult("success", {"v": "1"})))
    ((event, op),) = stage.written(effects, Done)
    assert (op.claim, op.status, op.outputs) == (start.claim, "success", {"v": "1"})
    (following,) = of(effects, StartTask)
    assert (following.task, following.needs["t"].outputs, following.ancestors) == (
        "after",
        {"v": "1"},
        {"t": "success"},
    )
    ((_, pinned),) = stage.written(effects, Claim)
    assert pinned.consumed == {"t": event.cid}
    result(stage, following)
    assert stage.replica.state.runs[0].status(stage.replica.state.authority) == "success"
    assert not stage.replica.scheduler.held


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rank_r_leaves_r_staggers_to_the_nearer_ones(rank: int) -> None:
    assert Play(rank=rank).starts(5.0) == [(rank * SCHEDULING.stagger_s, "t", 1)]


def test_the_dead_are_not_waited_for() -> None:
    assert Play(rank=1, present=(1, 2)).starts(5.0) == [(0.0, "t", 1)]
    assert Play(rank=2, present=(0, 2)).starts(5.0) == [(0.5, "t", 1)]


def test_a_peer_that_was_cut_off_or_said_goodbye_is_not_waited_for() -> None:
    for leave in ("cut off", "goodbye"):
        play = Play(rank=1)
        if leave == "cut off":
            play.stage.disconnect(play.ranking[0])
        else:
            play.stage.announce(play.ranking[0], leaving=True)
        play.stage.wait(5.0)
        assert play.starts(5.0)[0] == (0.0, "t", 1)


def test_the_full_are_not_waited_for() -> None:
    play = Play(rank=1)
    play.stage.announce(play.ranking[0], slots=0)
    assert play.starts(5.0)[0] == (0.0, "t", 1)


def test_slots_that_open_claims_take_are_not_free() -> None:
    play = Play(rank=1)
    stage, nearest = play.stage, play.ranking[0]
    stage.announce(nearest, slots=1)
    other = play.pen.write(1, submit(spec("elsewhere", labels=("gpu",))))
    stage.hear(other, play.pen.write(nearest, claim(run_of(other), "elsewhere")))
    assert play.starts(5.0)[0] == (0.0, "t", 1)


def test_who_does_not_fit_is_not_waited_for() -> None:
    play = Play(spec("t", labels=("GPU",)), rank=1, settings=scheduling(labels=frozenset({"gpu"})))
    assert play.starts(5.0)[0] == (0.0, "t", 1)  # the others announced no label
    play = Play(spec("t", labels=("gpu",)), rank=1, settings=scheduling(labels=frozenset({"gpu"})))
    play.stage.announce(play.ranking[0], labels=("Gpu", "big"))
    assert play.starts(5.0)[0] == (0.5, "t", 1)


def test_what_asks_for_labels_that_we_lack_is_left() -> None:
    play = Play(spec("t", labels=("gpu",)), rank=0)
    assert play.starts(60.0) == []


def test_a_claim_in_time_is_respected() -> None:
    play = Play(rank=1)
    play.begin()
    play.stage.hear(play.claim_of(play.ranking[0]))
    assert not of(untimed(play.stage.wait(5.0)), StartTask)


def test_after_a_change_a_claim_settles_before_it_starts() -> None:
    play = Play(rank=0)
    play.stage.disconnect(play.others[1])
    assert play.starts(5.0) == [(SCHEDULING.settle_s, "t", 1)]


def test_a_claim_that_loses_while_it_settles_is_forgotten() -> None:
    play = Play(rank=1, present=(1, 2))
    play.stage.disconnect(play.ranking[2])
    effects = play.stage.hear(play.submission)
    assert play.stage.written(effects, Claim)
    assert not of(effects, StartTask)
    play.stage.hear(play.claim_of(play.ranking[0]))
    happened = untimed(play.stage.wait(5.0))
    assert not of(happened, StartTask)
    assert not of(happened, StopTask)
    assert not play.stage.replica.scheduler.held


def test_the_loser_of_two_concurrent_claims_stops_and_says_nothing() -> None:
    play = Play(rank=1, present=(1, 2))
    (start,) = of(play.stage.hear(play.submission), StartTask)
    effects = play.stage.hear(play.claim_of(play.ranking[0]))
    (stop,) = of(effects, StopTask)
    assert stop.claim == start.claim
    effects = play.stage.handle(TaskEnded(start.run, "t", start.claim, TaskResult("cancelled")))
    assert not play.stage.written(effects, Done)
    assert not play.stage.written(effects, Release)


def test_the_winner_of_two_concurrent_claims_goes_on() -> None:
    play = Play(rank=0)
    play.begin()
    assert not of(play.stage.hear(play.claim_of(play.ranking[1])), StopTask)


def test_care_takes_its_time() -> None:
    assert Play(rank=0, care="careful").starts(9.0) == [(SCHEDULING.careful_settle_s, "t", 1)]
    waits = SCHEDULING.careful_stagger_s * 2 + SCHEDULING.careful_settle_s
    assert Play(rank=2, care="careful").starts(9.0) == [(waits, "t", 1)]


def test_no_more_tasks_at_once_than_slots() -> None:
    stage = Stage(Pen(), 1, scheduling(slots=2))
    effects = stage.handle(RunSubmitted(1, submit(*(spec(name) for name in "abcd"))))
    starts = of(effects, StartTask)
    assert len(starts) == 2
    (third,) = of(result(stage, starts[0]), StartTask)
    assert third.task not in {start.task for start in starts}


def test_the_most_urgent_first() -> None:
    stage = Stage(Pen(), 1, scheduling(slots=1))
    (start,) = of(stage.handle(RunSubmitted(1, submit(spec("busy")))), StartTask)
    for number, priority in enumerate((5.0, 1.0, 3.0)):
        stage.handle(RunSubmitted(2 + number, submit(spec(f"p{priority}"), priority=priority)))
    order: list[str] = []
    for _ in range(3):
        (start,) = of(result(stage, start), StartTask)
        order.append(start.task)
    assert order == ["p1.0", "p3.0", "p5.0"]


def test_a_freed_slot_takes_what_is_nearest_then_helps_others() -> None:
    tasks = [spec(f"t{i}") for i in range(24)]
    play = Play(*tasks, rank=0, first="t0", settings=scheduling(slots=1), present=(0, 1))
    stage = play.stage
    near = {
        task.id
        for task in tasks
        if ranking(play.pen, play.submission, [play.ranking[0], play.ranking[1]], task.id)[0] == play.ranking[0]
    }
    stage.announce(play.ranking[1], slots=100)
    starts = of(stage.hear(play.submission), StartTask)
    stage.wait(2.0)  # all are due by now
    order = [starts[0].task]
    for _ in tasks[1:]:
        starts = of(result(stage, starts[0]), StartTask)
        order.append(starts[0].task)
    assert 0 < len(near) < len(tasks)
    assert set(order[: len(near)]) == near
    assert len(order) == len(tasks)


def test_cancel_stops_what_runs_and_its_end_is_told() -> None:
    stage = Stage(Pen(), 1)
    (start,) = of(stage.handle(RunSubmitted(1, submit(spec("t"), spec("after", "t")))), StartTask)
    effects = stage.handle(RunCancelled(2, start.run, "enough"))
    assert of(effects, Answer)[0].run == start.run
    (stop,) = of(effects, StopTask)
    assert (stop.claim, stop.reason) == (start.claim, "enough")
    effects = stage.handle(TaskEnded(start.run, "t", start.claim, None))
    assert [op.status for _, op in stage.written(effects, Done)] == ["cancelled"]
    assert stage.replica.state.runs[0].status(stage.replica.state.authority) == "cancelled"


def test_somebody_elses_cancel_stops_what_runs_here() -> None:
    play = Play(rank=0)
    play.begin()
    assert of(play.stage.hear(play.pen.write(1, cancel(play.run))), StopTask)


def test_fail_fast_stops_the_other_cells() -> None:
    stage = Stage(Pen(), 1)
    cells = [spec(f"m{i}", job="m", fail_fast=True) for i in range(3)]
    starts = of(stage.handle(RunSubmitted(1, submit(*cells))), StartTask)
    assert len(starts) == 2
    effects = result(stage, starts[0], "failure")
    (stop,) = of(effects, StopTask)
    assert stop.claim == starts[1].claim
    assert not of(effects, StartTask)


def test_max_parallel_holds_back_what_slots_would_allow() -> None:
    stage = Stage(Pen(), 1, scheduling(slots=4))
    cells = [spec(f"m{i}", job="m", max_parallel=1) for i in range(3)]
    done: list[str] = []
    (start,) = of(stage.handle(RunSubmitted(1, submit(*cells))), StartTask)
    while len(done) < 3:
        done.append(start.task)
        following = of(result(stage, start), StartTask)
        assert len(following) == (1 if len(done) < 3 else 0)
        start = following[0] if following else start
    assert done == ["m0", "m1", "m2"]


def test_who_may_not_work_claims_nothing_and_stays_idle() -> None:
    pen = Pen()
    pen.join(2, "submit")
    pen.join(3)
    stage = Stage(pen, 2)
    stage.connect(3)
    effects = stage.handle(RunSubmitted(1, submit()))
    happened = [*effects, *untimed(stage.wait(30.0))]
    assert not stage.written(happened, Claim)
    assert not of(happened, FetchBlobs)


def test_a_result_from_elsewhere_ends_our_own_attempt() -> None:
    play = Play(rank=0)
    stage, other = play.stage, play.others[0]
    (start,) = of(stage.hear(play.submission), StartTask)
    theirs = play.claim_of(other)  # concurrent, and farther; but it is done first
    effects = stage.hear(theirs, play.pen.write(other, done(play.run, theirs)))
    assert of(effects, StopTask)[0].claim == start.claim
