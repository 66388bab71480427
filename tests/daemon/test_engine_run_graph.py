"""Graphs that run with nothing kept: the jobs of a run that one peer runs alone."""

import pytest
import trio
import trio.testing

from coterie.engine.machine.step_graph import Group, StepGraph
from coterie.engine.model import Merge
from coterie.engine.run_graph import StepEnded, run_graph

COMPLETED = StepEnded("completed")


def graph(needs: dict[str, list[str]], group: Group | None = None) -> StepGraph:
    always: list[Merge] = ["ended"] * len(needs)
    return StepGraph(
        list(needs),
        list(needs.values()),
        merge=always,
        group_of=None if group is None else [0] * len(needs),
        groups=() if group is None else (group,),
    )


async def test_steps_run_side_by_side_up_to_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    running = most = 0

    async def execute(_: str) -> StepEnded:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return COMPLETED

    begun = trio.current_time()
    machine = await run_graph(graph({str(number): [] for number in range(6)}), execute, 3)
    assert most == 3
    assert trio.current_time() - begun == 2
    assert machine.run_state == "completed"


async def test_no_stages(autojump_clock: trio.testing.MockClock) -> None:
    ended: dict[str, float] = {}

    async def execute(id_: str) -> StepEnded:
        await trio.sleep({"slow": 10}.get(id_, 1))
        ended[id_] = trio.current_time()
        return COMPLETED

    begun = trio.current_time()
    await run_graph(graph({"slow": [], "b": [], "c": ["b"]}), execute, 5)
    assert ended["c"] - begun == 2


async def test_fail_fast_cancels_the_others(autojump_clock: trio.testing.MockClock) -> None:
    cleaned: list[str] = []

    async def execute(id_: str) -> StepEnded:
        if id_ == "bad":
            return StepEnded("failed")
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(id_)
        return COMPLETED

    needs: dict[str, list[str]] = {"good": [], "bad": [], "late": []}
    machine = await run_graph(graph(needs, Group(fail_fast=True)), execute, 2)
    assert [machine.state(position) for position in range(3)] == ["cancelled", "failed", "cancelled"]
    assert cleaned == ["good"]


async def test_each_way_to_end_is_told_to_those_who_wait(autojump_clock: trio.testing.MockClock) -> None:
    ways = {
        "done": COMPLETED,
        "bad": StepEnded("failed", "no", tolerated=True),
        "not wanted": StepEnded("skipped", "if: false"),
        "stopped": StepEnded("cancelled", "by its limit"),
    }
    started: list[str] = []

    async def execute(id_: str) -> StepEnded:
        started.append(id_)
        return ways.get(id_, COMPLETED)

    machine = await run_graph(graph({**{way: [] for way in ways}, "last": list(ways)}), execute, 1)
    assert started == [*ways, "last"]
    assert [machine.state(position) for position in range(4)] == ["completed", "failed", "skipped", "cancelled"]
    assert machine.run_state == "cancelled"


async def test_what_a_step_raises_ends_the_run(autojump_clock: trio.testing.MockClock) -> None:
    started: list[str] = []

    async def execute(id_: str) -> StepEnded:
        started.append(id_)
        if id_ == "bug":
            raise ZeroDivisionError
        await trio.sleep_forever()
        return COMPLETED

    with pytest.raises(ExceptionGroup) as raised:
        await run_graph(graph({"waits": [], "bug": [], "after": ["bug"]}), execute, 2)
    assert raised.group_contains(ZeroDivisionError)
    assert "after" not in started
