"""What tests of the engine's processes share: a spawner for a test, calls of steps, waits for processes."""

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from pathlib import Path
from typing import Any, cast

import anyio
import psutil
import pytest

from coterie.engine.context import CONTEXT, ExecutionContext
from coterie.engine.model import Json, StepSpec, StepState
from coterie.engine.settings import EngineSettings
from coterie.engine.spawner import Command, Spawner
from coterie.engine.steps.executor import Services, StepCall, StepExecutor
from coterie.engine.steps.resources import Resources

PATH = os.environ["PATH"]
WAIT_S_MAX = 15.0
SETTINGS = EngineSettings(grace_s=0.3, env={"PATH": PATH})

backends = pytest.mark.parametrize("backend", ["trio", "asyncio"])


def run(backend: str, main: Callable[[], Awaitable[None]], seconds: float = 30.0) -> None:
    """Runs a test on a backend, and not for ever."""

    async def limited() -> None:
        with anyio.fail_after(seconds):
            await main()

    anyio.run(limited, backend=backend)


@asynccontextmanager
async def open_spawner(settings: EngineSettings = SETTINGS) -> AsyncGenerator[Spawner]:
    """A spawner; with the context everything ends that it started."""
    async with anyio.create_task_group() as tasks:
        spawner = Spawner(settings)
        await tasks.start(spawner.run)
        yield spawner
        tasks.cancel_scope.cancel()


def sh(script: str, folder: Path, **env: str) -> Command:
    """A command that runs a script."""
    return Command(("/bin/sh", "-c", script), {"PATH": PATH, **env}, folder)


class Output:
    """Takes what a command writes."""

    def __init__(self) -> None:
        self.data = {1: b"", 2: b""}
        self._waiting: dict[bytes, anyio.Event] = {}

    def take(self, stream: int, data: bytes) -> None:
        self.data[stream] += data
        for wanted, event in self._waiting.items():
            if wanted in self.data[1]:
                event.set()

    @property
    def lines(self) -> list[str]:
        return self.data[1].decode().splitlines()

    async def holds(self, wanted: str) -> None:
        """Returns once stdout holds `wanted`."""
        if wanted.encode() not in self.data[1]:
            event = self._waiting.setdefault(wanted.encode(), anyio.Event())
            with anyio.fail_after(WAIT_S_MAX):
                await event.wait()


def alive(pid: int) -> bool:
    """Does a process live?"""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def gone(pid: int) -> None:
    """Returns once a process is dead: not ours, so there is nothing to wait on but time."""
    end = time.monotonic() + WAIT_S_MAX
    while alive(pid):
        assert time.monotonic() < end, f"{pid} still lives"
        time.sleep(0.01)


def number_in(path: Path) -> int:
    """The number that a process writes into a file, once it is there."""
    end = time.monotonic() + WAIT_S_MAX
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < end, f"nothing in {path}"
        time.sleep(0.01)
    return int(path.read_text())


@dataclass
class FixedRun:
    """An execution (RunReader) whose steps have all returned."""

    results: dict[str, Json] = field(default_factory=dict[str, Json])

    def needs(self, step: str) -> tuple[str, ...]:
        return tuple(self.results)

    def state(self, step: str) -> StepState:
        return "completed" if step in self.results else "running"

    def result(self, step: str) -> Json:
        return self.results[step]

    def parallel_results(self, step: str) -> list[Json]:
        return list(self.results[step])

    def errors(self, step: str | None) -> list[Mapping[str, Json]]:
        return [{"step": step or "any", "attempt": 1}]

    def plan(self) -> Mapping[str, Json]:
        return {"steps": [*self.results]}


def context(results: Mapping[str, Json] | None = None, **changed: Any) -> ExecutionContext:
    """Of the first attempt of the step `one`."""
    plain = ExecutionContext(
        workflow_id="flow",
        execution_id="run-1",
        submitter="me",
        step_id="one",
        attempt=1,
        retry_count=0,
        idempotency_key="run-1/one",
        inputs={"name": "Ada"},
        variables={"level": 3},
        run=FixedRun(dict(results or {})),
    )
    return replace(plain, **changed)


class LocalServices:
    """As much of `Services` as steps that start processes and call functions need."""

    def __init__(self, resources: Resources, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._resources = resources
        self._functions = functions

    @property
    def resources(self) -> Resources:
        return self._resources

    def function(self, name: str) -> Callable[..., Any] | None:
        return self._functions.get(name)

    async def run_function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return await value if isawaitable(value) else value


class Bench:
    """One executor, and calls of it."""

    def __init__(self, executor: StepExecutor[Any]) -> None:
        self.executor = executor
        self.lines: list[str] = []
        self.beats: list[str] = []

    async def execute(
        self,
        config: Mapping[str, Json],
        results: Mapping[str, Json] | None = None,
        step: StepSpec | None = None,
        **changed: Any,
    ) -> Any:
        """The result of a step of that configuration."""
        here = context(results, **changed)
        CONTEXT.set(here)
        call = StepCall(
            step=step or StepSpec("one", "any"),
            config=self.executor.config_model.model_validate(config),
            results=dict(results or {}),
            context=here,
            attempt=here.attempt,
            idempotency_key=here.idempotency_key,
            log=self.lines.append,
            progress=self.beats.append,
        )
        return await self.executor.execute(call)


@asynccontextmanager
async def open_bench(
    executor: type[StepExecutor[Any]],
    settings: EngineSettings = SETTINGS,
    functions: Mapping[str, Callable[..., Any]] | None = None,
) -> AsyncGenerator[Bench]:
    """An executor with what it shares, all closed with the context."""
    async with anyio.create_task_group() as tasks:
        services = LocalServices(Resources(tasks, settings), functions or {})
        yield Bench(executor(cast("Services", services)))
        tasks.cancel_scope.cancel()
