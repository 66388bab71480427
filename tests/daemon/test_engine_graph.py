"""The graph of an execution: ints and flat lists, and errors that name the steps."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engine.machine.step_graph import BadGraph, Children, Group, StepGraph, listed
from coterie.engine.model import StepSpec, WorkflowSpec

DIAMOND = StepGraph("abcd", ((), "a", "a", ("b", "c")))


def test_steps_are_positions() -> None:
    assert DIAMOND.ids == ["a", "b", "c", "d"]
    assert DIAMOND.position == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert DIAMOND.needs == [(), (0,), (0,), (1, 2)]
    assert [list(found) for found in DIAMOND.dependents] == [[1, 2], [3], [3], []]
    assert DIAMOND.merge == ["none-failed"] * 4
    assert DIAMOND.order() == [0, 1, 2, 3]


def test_a_need_that_is_named_twice_is_one_need() -> None:
    graph = StepGraph("ab", ((), ("a", "a")))
    assert graph.needs == [(), (0,)]
    assert list(graph.dependents[0]) == [1]


def test_many_dependents_of_one_step() -> None:
    graph = StepGraph(map(str, range(5)), [(), *[("0",)] * 4])
    assert list(graph.dependents[0]) == [1, 2, 3, 4]


def test_steps_may_stand_before_their_needs() -> None:
    graph = StepGraph("cba", ("b", "a", ()))
    assert graph.needs == [(1,), (2,), ()]
    assert graph.order() == [2, 1, 0]


def test_nothing_is_a_graph_too() -> None:
    assert StepGraph((), ()).order() == []


def test_a_graph_of_a_workflow() -> None:
    spec = WorkflowSpec(
        "w",
        steps=(
            StepSpec("size", "conditional"),
            StepSpec("small", "process", ("size",), arms={"size": "small"}),
            StepSpec("large", "process", ("size",), arms={"size": "large"}),
            StepSpec("join", "process", ("small", "large"), merge="first"),
        ),
    )
    graph = StepGraph.of_spec(spec)
    assert graph.ids == ["size", "small", "large", "join"]
    assert graph.arms == {1: ((0, "small"),), 2: ((0, "large"),)}
    assert graph.merge[3] == "first"
    assert graph.firsts == {3}
    assert graph.children == {}
    assert graph.group_of is None


def test_what_map_steps_say_of_their_children() -> None:
    inner = {"type": "map", "config": {"max_parallel": 2, "step": {"type": "shell", "compensate": {"type": "shell"}}}}
    spec = WorkflowSpec(
        "w",
        steps=(
            StepSpec("plain", "process", config={"max_parallel": 3}),
            StepSpec("bare", "map"),
            StepSpec("outer", "map", config={"max_parallel": 5, "fail_fast": True, "step": inner}),
            StepSpec("shell", "map", config={"max_parallel": 1, "step": {"type": "shell"}}),
        ),
    )
    assert StepGraph.of_spec(spec).children == {
        1: Children(),
        2: Children(Group(5, True), inner=Children(Group(2), compensable=True)),
        3: Children(Group(1)),
    }


def test_the_first_failure_of_a_workflow_stops_siblings_unless_their_map_is_tolerated() -> None:
    inner = {"type": "map", "tolerated": True, "config": {"step": {"type": "map"}}}
    steps = (
        StepSpec("strict", "map", config={"step": inner}),
        StepSpec("lenient", "map", tolerated=True),
    )
    children = StepGraph.of_spec(WorkflowSpec("w", steps=steps, fail_fast=True)).children
    assert children[0].group.fail_fast
    assert children[0].inner is not None
    assert not children[0].inner.group.fail_fast
    assert not children[1].group.fail_fast


def test_bad_graphs_name_the_steps() -> None:
    with pytest.raises(BadGraph, match=r"^a needs b, which does not exist$"):
        StepGraph("a", ("b",))
    with pytest.raises(BadGraph, match=r"^c needs x, which does not exist$"):
        StepGraph("abc", ((), (), ("a", "x")))
    with pytest.raises(BadGraph, match=r"^more than one step has the id a and b$"):
        StepGraph("abcab", ("",) * 5)
    with pytest.raises(BadGraph, match=r"^a wants an arm of b, which it does not need$"):
        StepGraph("ab", ("", ""), arms={0: {"b": "yes"}})
    with pytest.raises(BadGraph, match=r"^a wants an arm of x, which it does not need$"):
        StepGraph("ab", ("b", ""), arms={0: {"x": "yes"}})
    with pytest.raises(BadGraph, match=r"^b is of the unknown group 1$"):
        StepGraph("ab", ("", ""), group_of=(0, 1), groups=(Group(),))
    with pytest.raises(BadGraph, match=r"^b has the unknown merge rule maybe$"):
        StepGraph("ab", ("", ""), ["all", "maybe"])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    with pytest.raises(BadGraph, match="2 steps, but 1 lists of needs"):
        StepGraph("ab", ("",))
    with pytest.raises(BadGraph, match="2 steps, but 1 groups"):
        StepGraph("ab", ("", ""), group_of=(-1,))


@pytest.mark.parametrize(
    ("ids", "needs", "path"),
    [
        ("a", "a", "a -> a"),
        ("abc", "cab", "a -> c -> b -> a"),
        ("xabcy", ("", "cx", "a", "b", "c"), "a -> c -> b -> a"),
        ("yab", "aba", "a -> b -> a"),  # y is only behind the circle
    ],
)
def test_a_circle_is_told_as_its_path(ids: str, needs: str, path: str) -> None:
    with pytest.raises(BadGraph, match=f"each needs the next: {path}$"):
        StepGraph(ids, needs)


@given(st.lists(st.sets(st.integers(0, 6), max_size=3), min_size=1, max_size=7))
def test_a_graph_is_refused_exactly_where_there_is_a_circle(needs: list[set[int]]) -> None:
    count = len(needs)
    named = [[str(need) for need in found if need < count] for found in needs]
    left = set(range(count))
    while free := {node for node in left if not any(int(need) in left for need in named[node])}:
        left -= free
    try:
        graph = StepGraph(map(str, range(count)), named)
    except BadGraph as error:
        assert left
        path = str(error).partition("next: ")[2].split(" -> ")
        assert path[0] == path[-1]
        assert all(follower in named[int(node)] for node, follower in pairwise(path))
    else:
        assert not left
        place = {position: index for index, position in enumerate(graph.order())}
        assert len(place) == count
        assert all(place[need] < place[node] for node in range(count) for need in graph.needs[node])


def test_long_lists_are_cut() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
