"""The most urgent task first, ageing by its formula, and nothing that depends on chance or on how often one asks."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_protocols.priority_queue import QueueFull, ReadyTask, WorkflowPriorityQueue

AGEING_S = 10.0


def queue_of(*tasks: tuple[str, float, int, float]) -> WorkflowPriorityQueue[str]:
    queue: WorkflowPriorityQueue[str] = WorkflowPriorityQueue(AGEING_S)
    for task, priority, lamport, now in tasks:
        queue.push(task, priority, lamport, now)
    return queue


def drain(queue: WorkflowPriorityQueue[str]) -> list[str]:
    return [queue.pop().task for _ in range(len(queue))]


def test_lower_priority_then_older_submission_then_id() -> None:
    queue = queue_of(("d", 3.0, 5, 0.0), ("c", 2.0, 9, 0.0), ("b", 2.0, 4, 0.0), ("a", 2.0, 9, 0.0))
    assert [ready.task for ready in queue] == ["b", "a", "c", "d"]
    assert queue.peek() == ReadyTask("b", 2.0, 2.0, 4)
    assert drain(queue) == ["b", "a", "c", "d"]


def test_what_is_in_the_queue() -> None:
    queue = queue_of(("a", 3.0, 1, 0.0), ("b", 3.0, 2, 0.0))
    assert (len(queue), "a" in queue, "x" in queue) == (2, True, False)
    queue.remove("a")
    assert (len(queue), "a" in queue) == (1, False)
    with pytest.raises(KeyError):
        queue.remove("a")
    with pytest.raises(KeyError):
        queue.reprioritise("a", 1.0)
    with pytest.raises(ValueError, match="queued already"):
        queue.push("b", 1.0, 1, 0.0)
    assert drain(queue) == ["b"]
    for empty in (queue.pop, queue.peek):
        with pytest.raises(IndexError):
            empty()


def test_reprioritise_both_ways() -> None:
    queue = queue_of(("a", 3.0, 1, 0.0), ("b", 3.0, 2, 0.0), ("c", 3.0, 3, 0.0))
    queue.reprioritise("c", 1.0)
    queue.reprioritise("a", 6.0)
    assert [(ready.task, ready.priority) for ready in queue] == [("c", 1.0), ("b", 3.0), ("a", 6.0)]
    queue.reprioritise("a", 6.0)
    assert drain(queue) == ["c", "b", "a"]


def test_a_full_queue_says_so_and_keeps_what_it_has() -> None:
    queue: WorkflowPriorityQueue[int] = WorkflowPriorityQueue(AGEING_S, queue_max=2)
    queue.push(1, 3.0, 1, 0.0)
    queue.push(2, 3.0, 1, 0.0)
    with pytest.raises(QueueFull):
        queue.push(3, 1.0, 1, 0.0)
    assert queue.pop().task == 1
    queue.push(3, 1.0, 1, 0.0)
    assert queue.pop().task == 3


@pytest.mark.parametrize("make", [lambda: WorkflowPriorityQueue[str](0.0), lambda: WorkflowPriorityQueue[str](1.0, 0)])
def test_limits_make_sense(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


def test_waiting_makes_urgent_in_whole_steps_but_never_more_than_critical() -> None:
    queue = queue_of(("late", 3.5, 1, 0.0), ("critical", 1.0, 2, 0.0), ("above", 0.5, 3, 0.0))
    seen: list[tuple[float, float]] = []
    for now in (9.9, 10.0, 19.0, 20.0, 30.0, 1000.0):
        queue.age(now)
        seen.append((now, {ready.task: ready.aged for ready in queue}["late"]))
    assert seen == [(9.9, 3.5), (10.0, 2.5), (19.0, 2.5), (20.0, 1.5), (30.0, 1.0), (1000.0, 1.0)]
    assert [(ready.task, ready.priority, ready.aged) for ready in queue] == [
        ("above", 0.5, 0.5),
        ("late", 3.5, 1.0),
        ("critical", 1.0, 1.0),
    ]


def test_a_background_task_overtakes_newer_urgent_ones_in_the_end() -> None:
    queue = queue_of(("background", 6.0, 1, 0.0))
    served: list[str] = []
    for second in range(100):
        queue.push(f"urgent {second}", 1.0, 2 + second, float(second))
        queue.age(float(second))
        served.append(queue.pop().task)
    assert served.index("background") == 50


def test_ageing_is_told_when_it_has_work() -> None:
    queue = queue_of(("a", 3.0, 1, 5.0), ("b", 1.0, 1, 0.0))
    assert queue.ages_at() == 15.0
    assert queue.age(14.9) == 0
    assert queue.age(15.0) == 1
    assert queue.ages_at() == 25.0
    assert queue.age(100.0) == 1
    assert queue.ages_at() == float("inf")
    queue.reprioritise("b", 4.0)
    assert queue.ages_at() == 10.0
    queue.remove("b")
    assert queue.ages_at() == float("inf")


def test_a_changed_priority_does_not_age_twice() -> None:
    queue = queue_of(("a", 5.0, 1, 0.0))
    queue.reprioritise("a", 4.0)
    assert queue.age(10.0) == 1
    assert queue.peek().aged == 3.0


def test_waiting_counts_on_when_the_priority_is_changed() -> None:
    queue = queue_of(("a", 3.0, 1, 0.0))
    queue.age(20.0)
    queue.reprioritise("a", 6.0)
    queue.age(20.0)
    assert queue.peek().aged == 4.0


PUSHES = st.lists(st.tuples(st.floats(0.0, 8.0), st.integers(1, 5), st.floats(0.0, 100.0)), min_size=1, max_size=30)


@given(PUSHES, st.lists(st.floats(0.0, 300.0), max_size=10))
def test_the_order_follows_from_the_formula_however_often_one_ages(
    pushes: list[tuple[float, int, float]], times: list[float]
) -> None:
    often: WorkflowPriorityQueue[int] = WorkflowPriorityQueue(AGEING_S)
    once: WorkflowPriorityQueue[int] = WorkflowPriorityQueue(AGEING_S)
    for task, (priority, lamport, since) in enumerate(pushes):
        often.push(task, priority, lamport, since)
    for task in reversed(range(len(pushes))):
        once.push(task, *pushes[task][:2], pushes[task][2])
    for now in sorted(times):
        often.age(now)
    often.age(300.0)
    once.age(300.0)
    expected = sorted(
        (max(min(priority, 1.0), priority - int((300.0 - since) // AGEING_S)), lamport, task)
        for task, (priority, lamport, since) in enumerate(pushes)
    )
    for queue in (often, once):
        popped = [queue.pop() for _ in range(len(queue))]
        assert [(ready.aged, ready.lamport, ready.task) for ready in popped] == expected


def test_a_thousand_random_steps_agree_with_a_plain_sort() -> None:
    random = Random(4)
    queue: WorkflowPriorityQueue[int] = WorkflowPriorityQueue(AGEING_S)
    model: dict[int, tuple[float, int]] = {}
    for task in range(1000):
        priority, lamport = random.choice([1.0, 2.0, 3.0, 6.0]), random.randrange(100)
        queue.push(task, priority, lamport, 0.0)
        model[task] = (priority, lamport)
        other = random.choice(list(model))
        match random.randrange(4):
            case 0:
                model[other] = (random.choice([0.5, 1.5, 5.0]), model[other][1])
                queue.reprioritise(other, model[other][0])
            case 1:
                queue.remove(other)
                del model[other]
            case 2:
                assert queue.pop().task == min(model, key=lambda each: (*model[each], each))
                del model[min(model, key=lambda each: (*model[each], each))]
            case _:
                assert len(queue) == len(model)
    assert [ready.task for ready in queue] == sorted(model, key=lambda each: (*model[each], each))
