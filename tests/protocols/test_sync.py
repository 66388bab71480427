"""When to ask whom: one question to a peer at a time, each with an end."""

from itertools import pairwise
from random import Random

from coterie_protocols.clock import Clock, NoHeaders
from coterie_protocols.sync import Sync, answer
from protocols.building import Pen, key

A, B = key(1).peer_id, key(2).peer_id


def sync() -> Sync:
    """With round numbers."""
    return Sync(timeout_s=10.0, anti_entropy_interval_s=30.0, chance=Random(1))


def test_one_question_at_a_time_unless_it_is_meant() -> None:
    questions = sync()
    assert questions.begin(A, 0.0)
    assert not questions.begin(A, 1.0, beside=True)
    assert not questions.begin(B, 1.0)
    assert questions.begin(B, 1.0, beside=True)
    questions.end(A)
    questions.end(B)
    assert questions.begin(A, 2.0)
    questions.forget(B)
    questions.end(B)
    assert questions.deadline() == 12.0


def test_a_question_lasts_while_its_answer_comes() -> None:
    questions = sync()
    questions.begin(A, 0.0)
    questions.begin(B, 0.0, beside=True)
    questions.progress(A, 8.0)
    questions.progress(key(3).peer_id, 8.0)
    assert questions.expired(9.9) == []
    assert questions.expired(10.0) == [B]
    assert questions.deadline() == 18.0
    assert questions.expired(18.0) == [A]


def test_rounds_come_at_random_but_within_bounds() -> None:
    questions = sync()
    assert not questions.round_due(1e9)  # not before the start
    questions.start(0.0)
    times: list[float] = []
    for _ in range(50):
        now = questions.deadline()
        assert not questions.round_due(now - 0.001)
        assert questions.round_due(now)
        times.append(now)
    gaps = [b - a for a, b in pairwise(times)]
    assert 15.0 <= min(gaps) < 20.0 < 40.0 < max(gaps) <= 45.0


def test_who_owes_no_answer_is_asked() -> None:
    questions = sync()
    assert questions.choose([]) is None
    assert {questions.choose([A, B]) for _ in range(50)} == {A, B}
    questions.begin(A, 0.0)
    assert {questions.choose([A, B]) for _ in range(10)} == {B}
    questions.begin(B, 0.0, beside=True)
    assert questions.choose([A, B]) is None


def test_answers_cover_forked_logs_only_where_the_sets_differ() -> None:
    pen = Pen()
    root = pen.join(2)
    pen.write(2, prev=root, time_ms=1)
    pen.write(2, prev=root, parents=[root], time_ms=2)
    clock = Clock(pen.coterie, NoHeaders())
    for event in pen.events:
        clock.insert(event)
    have = dict(clock.frontier)
    assert answer(A, have, clock.fingerprint, clock, reply_wanted=True).have == have
    assert set(answer(A, have, bytes(32), clock, reply_wanted=False).have) == {A}
