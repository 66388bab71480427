"""Runs a graph in this process with nothing kept: for runs that another record covers, such as a job of the coterie's.

What steps do, and what their failures mean, is the caller's; order, limits and fail-fast are the `RunMachine`'s.
"""

from bisect import insort
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, assert_never

import anyio
from anyio.abc import TaskGroup

from coterie.engine.machine.run_machine import Compensate, Ended, Gather, Ready, RunMachine, Stop, Withdraw
from coterie.engine.machine.step_graph import StepGraph

EndState = Literal["completed", "failed", "skipped", "cancelled"]


@dataclass(frozen=True, slots=True)
class StepEnded:
    """How a step ended. A `tolerated` failure does not count as one."""

    state: EndState
    reason: str = ""
    tolerated: bool = False


Execute = Callable[[str], Awaitable[StepEnded]]
"""Runs the step of that id. When cancelled it must clean up before it lets the cancellation through."""


async def run_graph(graph: StepGraph, execute: Execute, max_concurrent: int) -> RunMachine:
    """Runs it to its end, at most `max_concurrent` steps at a time, and returns its final state.

    What `execute` raises ends the run with it.
    """
    run = _Run(graph, execute, max_concurrent)
    async with anyio.create_task_group() as tasks:
        run.begin(tasks)
    return run.machine


class _Run:
    def __init__(self, graph: StepGraph, execute: Execute, max_concurrent: int) -> None:
        self.machine = RunMachine(graph)
        self._execute = execute
        self._free = max_concurrent
        self._ready: list[int] = []
        self._running: dict[int, anyio.CancelScope] = {}

    def begin(self, tasks: TaskGroup) -> None:
        self.machine.begin(0)
        self._go_on(tasks)

    def _go_on(self, tasks: TaskGroup) -> None:
        for effect in self.machine.take_effects():
            match effect:
                case Ready(position):
                    insort(self._ready, position)
                case Withdraw(position):
                    self._ready.remove(position)
                case Stop(position):
                    self._running[position].cancel()
                case Gather() | Compensate():
                    raise AssertionError("there are no map steps here, and nothing that can be undone")
                case Ended():
                    return
                case _:
                    assert_never(effect)
        while self._ready and self._free:
            self._start(self._ready.pop(0), tasks)

    def _start(self, position: int, tasks: TaskGroup) -> None:
        self._free -= 1
        self.machine.started(position, 0)
        self._running[position] = anyio.CancelScope()
        tasks.start_soon(self._run, position, tasks, name=f"step {self.machine.name(position)}")

    async def _run(self, position: int, tasks: TaskGroup) -> None:
        ended = StepEnded("cancelled")
        with self._running[position]:
            ended = await self._execute(self.machine.name(position))
        del self._running[position]
        self._free += 1
        self._tell(position, ended)
        self._go_on(tasks)

    def _tell(self, position: int, ended: StepEnded) -> None:
        match ended.state:
            case "completed":
                self.machine.completed(position, 0)
            case "failed":
                self.machine.failed(position, ended.reason, 0, tolerated=ended.tolerated)
            case "skipped":
                self.machine.skipped(position, ended.reason, 0)
            case "cancelled":
                self.machine.cancelled(position, 0, reason=ended.reason)
            case _:
                assert_never(ended.state)
