"""The engine's core: what starts when, without any I/O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engine import BadGraph, DagRun, Graph, Group, Node, NodeEnded, NodeStarted, Outcome, Transition


def advance(run: DagRun) -> list[Transition]:
    """Applies all that is due by itself, and returns it."""
    done: list[Transition] = []
    while due := run.due():
        for transition in due:
            run.handle(transition)
            done.append(transition)
    return done


def end(run: DagRun, id_: str, outcome: Outcome = "success", tolerated: bool = False) -> list[Transition]:
    run.handle(NodeEnded(id_, outcome, tolerated))
    return advance(run)


DIAMOND = (Node("a"), Node("b", ("a",)), Node("c", ("a",)), Node("d", ("b", "c")))


def test_a_node_starts_when_its_own_needs_are_done() -> None:
    run = DagRun(Graph((*DIAMOND, Node("slow"))), 10)
    assert advance(run) == [NodeStarted("a"), NodeStarted("slow")]
    assert end(run, "a") == [NodeStarted("b"), NodeStarted("c")]
    assert end(run, "b") == []
    assert end(run, "c") == [NodeStarted("d")]
    assert end(run, "d") == []
    assert not run.finished
    end(run, "slow")
    assert run.finished
    assert run.outcome == "success"


def test_a_failure_skips_what_depends_on_it() -> None:
    run = DagRun(Graph((*DIAMOND, Node("after", ("d",), "needs-ended"))), 10)
    advance(run)
    end(run, "a")
    end(run, "c")
    assert end(run, "b", "failure") == [NodeEnded("d", "skipped"), NodeStarted("after")]
    end(run, "after")
    assert run.finished
    assert (run.outcome, run.outcomes["d"]) == ("failure", "skipped")


def test_a_tolerated_failure_counts_as_a_success() -> None:
    run = DagRun(Graph(DIAMOND[:2]), 10)
    advance(run)
    assert end(run, "a", "failure", tolerated=True) == [NodeStarted("b")]
    end(run, "b")
    assert run.outcome == "success"


def test_no_more_run_at_a_time_than_allowed_and_the_first_are_preferred() -> None:
    run = DagRun(Graph((Node("a"), Node("b"), Node("c"), Node("d", ("a",)))), 2)
    assert advance(run) == [NodeStarted("a"), NodeStarted("b")]
    assert end(run, "a") == [NodeStarted("c")]
    assert end(run, "b") == [NodeStarted("d")]


def test_a_full_group_does_not_hold_up_others() -> None:
    groups = {"g": Group(max_concurrent=1)}
    run = DagRun(Graph((Node("g1", group="g"), Node("g2", group="g"), Node("x")), groups), 5)
    assert advance(run) == [NodeStarted("g1"), NodeStarted("x")]
    assert end(run, "x") == []
    assert end(run, "g1", "failure") == [NodeStarted("g2")]


def test_fail_fast_stops_what_runs_and_cancels_what_waits() -> None:
    groups = {"g": Group(fail_fast=True)}
    run = DagRun(Graph((*(Node(f"g{n}", group="g") for n in range(4)), Node("x")), groups), 3)
    advance(run)
    effects = run.handle(NodeEnded("g1", "failure"))
    assert [type(effect).__name__ + " " + effect.id for effect in effects] == ["StopNode g0", "StopNode g2"]
    assert advance(run) == [NodeEnded("g3", "cancelled"), NodeStarted("x")]
    end(run, "g0", "cancelled")
    end(run, "g2", "cancelled")
    end(run, "x")
    assert run.outcome == "failure"


def test_a_tolerated_failure_is_no_reason_to_fail_fast() -> None:
    run = DagRun(Graph((Node("a", group="g"), Node("b", group="g")), {"g": Group(fail_fast=True)}), 1)
    advance(run)
    assert end(run, "a", "failure", tolerated=True) == [NodeStarted("b")]


def test_a_run_is_taken_up_again_from_its_record() -> None:
    graph = Graph(DIAMOND)
    record: list[Transition] = [
        NodeStarted("a"),
        NodeEnded("a", "success"),
        NodeStarted("b"),
        NodeStarted("c"),
        NodeEnded("c", "success"),
    ]
    run = DagRun.resume(graph, 10, record)
    assert advance(run) == [NodeStarted("b")]
    again = DagRun.resume(graph, 10, [*record, NodeStarted("b")])
    assert advance(again) == [NodeStarted("b")]
    assert end(again, "b") == [NodeStarted("d")]


def test_bad_graphs_name_the_nodes() -> None:
    with pytest.raises(BadGraph, match="a needs b, which does not exist"):
        Graph((Node("a", ("b",)),))
    with pytest.raises(BadGraph, match=r"a -> c -> b -> a|b -> a -> c -> b|c -> b -> a -> c|a -> b -> c -> a"):
        Graph((Node("a", ("c",)), Node("b", ("a",)), Node("c", ("b",))))
    with pytest.raises(BadGraph, match="same id"):
        Graph((Node("a"), Node("a")))
    with pytest.raises(BadGraph, match="unknown group g"):
        Graph((Node("a", group="g"),))


def test_an_empty_graph_is_finished() -> None:
    run = DagRun(Graph(()), 1)
    assert run.due() == []
    assert run.finished


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    nodes = [
        Node(
            str(number),
            tuple(map(str, draw(st.sets(st.integers(0, number - 1))))) if number else (),
            draw(st.sampled_from(["needs-succeeded", "needs-ended"])),
            draw(st.sampled_from([None, "g", "h"])),
        )
        for number in range(count)
    ]
    groups = {name: Group(draw(st.integers(0, 2)), draw(st.booleans())) for name in ("g", "h")}
    return Graph(nodes, groups)


@given(graphs(), st.integers(1, 4), st.randoms(use_true_random=False), st.data())
def test_every_run_ends_within_its_limits_and_resumes_anywhere(
    graph: Graph, max_concurrent: int, random: object, data: st.DataObject
) -> None:
    run = DagRun(graph, max_concurrent)
    record: list[Transition] = advance(run)
    steps = 0
    while run.running:
        steps += 1
        assert steps <= len(graph.nodes)
        assert len(run.running) <= max_concurrent
        for name, group in graph.groups.items():
            members = [id_ for id_ in run.running if graph.nodes[id_].group == name]
            assert not group.max_concurrent or len(members) <= group.max_concurrent
        id_ = data.draw(st.sampled_from(sorted(run.running)))
        ended = NodeEnded(
            id_, data.draw(st.sampled_from(["success", "failure", "cancelled"])), data.draw(st.booleans())
        )
        record.append(ended)
        run.handle(ended)
        record += advance(run)
    assert run.finished
    for id_, node in graph.nodes.items():
        order = list(run.outcomes)
        assert all(order.index(need) < order.index(id_) for need in node.needs) or run.outcomes[id_] == "cancelled"
    cut = data.draw(st.integers(0, len(record)))
    again = DagRun.resume(graph, max_concurrent, record[:cut])
    ended_before = {t.id for t in record[:cut] if isinstance(t, NodeEnded)}
    assert set(again.outcomes) == ended_before
    assert not again.running
