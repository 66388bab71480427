"""The lines in which wants wait."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engine.admission.wants import GARBAGE_MAX, Line, Want


def want(order: float, number: int) -> Want:
    made = Want(("x", number), "w", "x", 0.0, order)
    made.order, made.number = order, number
    return made


def drained(line: Line) -> list[tuple[float, int]]:
    order: list[tuple[float, int]] = []
    while line.waiting:
        first = line.first()
        line.take(first)
        order.append((first.order, first.number))
    return order


@given(st.lists(st.tuples(st.sampled_from(["push", "take", "withdraw"]), st.integers(0, 20)), max_size=200))
def test_they_come_out_in_order_whatever_was_withdrawn(what: list[tuple[str, int]]) -> None:
    line, there = Line(), list[Want]()
    for number, (verb, drawn) in enumerate(what):
        if verb == "push":
            there.append(want(float(drawn), number))
            line.push(there[-1])
        elif there and verb == "withdraw":
            line.withdraw(there.pop(drawn % len(there)))
        elif there:
            first = line.first()
            assert first is min(there, key=lambda each: (each.order, each.number))
            line.take(first)
            there.remove(first)
        assert line.waiting == len(there)
    assert drained(line) == sorted((each.order, each.number) for each in there)


@pytest.mark.parametrize("descending", [False, True])
def test_garbage_is_bounded(descending: bool) -> None:
    line = Line()
    inside: Any = line
    wants = [want(float(-n if descending else n), n) for n in range(5000)]
    for each in wants:
        line.push(each)
    for left, each in zip(range(4999, -1, -1), wants[1::2] + wants[::2], strict=True):
        line.withdraw(each)
        assert len(inside._steady) + len(inside._early) <= 2 * left + GARBAGE_MAX
        if left == 1000:
            break
    assert drained(line) == sorted((each.order, each.number) for each in wants[::2][-1000:])


def test_an_empty_line_has_no_first() -> None:
    line = Line()
    with pytest.raises(IndexError):
        line.first()
    for order in (2.0, 1.0):  # one in each half
        only = want(order, int(order))
        line.push(only)
        assert line.first() is only
        line.withdraw(only)
        with pytest.raises(IndexError):
            line.first()
