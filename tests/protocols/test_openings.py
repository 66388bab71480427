"""What may be claimed: first a turn by rank, then a queue for a free slot."""

from coterie_protocols.openings import Opening, Openings, TaskKey
from coterie_protocols.ops import RunId
from coterie_protocols.priority_queue import AGEING_S

RUN = RunId("r")


def opening(
    task: str, *, opens_at: float = 0.0, priority: float = 3.0, lamport: int = 1, nearest: bool = True
) -> Opening:
    """An opening of a first attempt."""
    return Opening((RUN, task), 1, None, opens_at, priority, lamport, bytes(32), frozenset(), False, nearest=nearest)


def openings(*each: Opening) -> Openings:
    """All of them added."""
    result = Openings()
    for one in each:
        result.add(one)
    return result


def waits(**seconds: float | None) -> dict[TaskKey, float | None]:
    """By task."""
    return {(RUN, task): wait for task, wait in seconds.items()}


def order(queue: Openings, now: float, **seconds: float | None) -> list[str]:
    """What is taken out, in order."""
    taken: list[str] = []
    while (each := queue.pop_due(now, waits(**seconds))) is not None:
        taken.append(each.key[1])
    return taken


def test_each_has_its_turn() -> None:
    queue = openings(opening("a", opens_at=10.0), opening("b"), opening("c"))
    seconds: dict[str, float | None] = {"a": 0.0, "b": 1.0, "c": None}
    assert queue.next_due(waits(**seconds)) == 1.0
    assert order(queue, 0.5, **seconds) == []
    assert order(queue, 1.0, **seconds) == ["b"]
    assert queue.next_due(waits(**seconds)) == 10.0
    assert order(queue, 99.0, **seconds) == ["a"]
    assert queue.next_due(waits(**seconds)) == float("inf")  # what does not fit is never due
    assert [each.key for each in queue] == [(RUN, "c")]


def test_the_most_urgent_then_the_nearest_then_the_oldest() -> None:
    queue = openings(
        opening("far", lamport=1, nearest=False),
        opening("late", lamport=3),
        opening("early", lamport=2),
        opening("urgent and far", priority=1.0, nearest=False),
    )
    seconds = {"far": 1.0, "late": 0.0, "early": 0.0, "urgent and far": 1.0}
    assert order(queue, 1.0, **seconds) == ["urgent and far", "early", "late", "far"]


def test_what_is_due_stays_due() -> None:
    queue = openings(opening("a"), opening("b"))
    first = queue.pop_due(5.0, waits(a=0.0, b=0.0))
    assert first is not None
    assert len(queue) == 1
    assert list(queue.waiting) == []
    assert queue.next_due({}) == float("-inf")
    assert order(queue, 5.0) == ["b"]


def test_waiting_makes_urgent() -> None:
    queue = openings(opening("old", priority=5.0), opening("new", priority=3.5, opens_at=2 * AGEING_S))
    assert order(queue, 2 * AGEING_S, old=0.0, new=0.0) == ["old", "new"]


def test_an_opening_is_replaced_and_removed_wherever_it_stands() -> None:
    queue = openings(opening("a"), opening("b"), opening("c"))
    assert order(queue, 0.0, a=0.0) == ["a"]
    queue.add(opening("b", opens_at=7.0))
    assert queue.get((RUN, "b")) == opening("b", opens_at=7.0)
    queue.pop_due(7.0, waits(b=0.0, c=0.0))
    for task in ("b", "c", "nowhere"):
        queue.remove((RUN, task))
    assert (len(queue), queue.next_due({}), queue.get((RUN, "c"))) == (0, float("inf"), None)
