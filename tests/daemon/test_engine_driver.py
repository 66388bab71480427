"""The engine under trio: records first, then acts."""

import pytest
import trio
import trio.testing

from coterie.engine import Ended, Graph, Group, Node, NodeEnded, NodeStarted, NoJournal, Transition, run_graph

DIAMOND = (Node("a"), Node("b", ("a",)), Node("c", ("a",)), Node("d", ("b", "c")))


class ListJournal:
    def __init__(self) -> None:
        self.record_of: list[Transition] = []

    def record(self, transition: Transition) -> None:
        self.record_of.append(transition)


async def test_each_transition_is_on_record_before_it_is_acted_on() -> None:
    journal = ListJournal()

    async def execute(id_: str) -> Ended:
        assert journal.record_of[-1] == NodeStarted(id_) or NodeStarted(id_) in journal.record_of
        for need in next(node for node in DIAMOND if node.id == id_).needs:
            assert NodeEnded(need, "success") in journal.record_of
        return Ended("success")

    state = await run_graph(Graph(DIAMOND), execute, 2, journal)
    assert state.outcome == "success"
    assert len(journal.record_of) == 8
    assert list(state.outcomes) == [t.id for t in journal.record_of if isinstance(t, NodeEnded)]


async def test_nodes_run_side_by_side_up_to_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    running = most = 0

    async def execute(_: str) -> Ended:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return Ended("success")

    begun = trio.current_time()
    await run_graph(Graph(Node(str(n)) for n in range(6)), execute, 3, NoJournal())
    assert most == 3
    assert trio.current_time() - begun == 2


async def test_no_stages(autojump_clock: trio.testing.MockClock) -> None:
    ended: dict[str, float] = {}

    async def execute(id_: str) -> Ended:
        await trio.sleep({"slow": 10}.get(id_, 1))
        ended[id_] = trio.current_time()
        return Ended("success")

    begun = trio.current_time()
    await run_graph(Graph((Node("slow"), Node("b"), Node("c", ("b",)))), execute, 5, NoJournal())
    assert ended["c"] - begun == 2


async def test_fail_fast_cancels_the_others(autojump_clock: trio.testing.MockClock) -> None:
    cleaned: list[str] = []

    async def execute(id_: str) -> Ended:
        if id_ == "bad":
            return Ended("failure")
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(id_)
        return Ended("success")

    nodes = (Node("good", group="g"), Node("bad", group="g"), Node("late", group="g"))
    state = await run_graph(Graph(nodes, {"g": Group(fail_fast=True)}), execute, 2, NoJournal())
    assert state.outcomes == {"bad": "failure", "late": "cancelled", "good": "cancelled"}
    assert cleaned == ["good"]


async def test_what_had_ended_is_not_run_again() -> None:
    ran: list[str] = []

    async def execute(id_: str) -> Ended:
        ran.append(id_)
        return Ended("success")

    record = (NodeStarted("a"), NodeEnded("a", "success"), NodeStarted("b"))
    state = await run_graph(Graph(DIAMOND), execute, 1, NoJournal(), record)
    assert ran == ["b", "c", "d"]
    assert state.finished


async def test_a_bug_in_a_node_ends_the_run() -> None:
    async def execute(id_: str) -> Ended:
        if id_ == "b":
            raise RuntimeError("bug")
        if id_ == "c":
            await trio.sleep_forever()
        return Ended("success")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="bug"), flatten_subgroups=True):
        await run_graph(Graph(DIAMOND), execute, 2, NoJournal())
