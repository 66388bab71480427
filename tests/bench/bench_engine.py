"""What the engine costs a task, beside what a bare trio program with the same fsyncs costs in the same run.

The floors do what nobody can leave out: a task per node, and SQLite commits with WAL and FULL. Rounds alternate between
engine and floor; told is the median.
"""

import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main, percentile
from coterie.engine.definition import Task, Workflow
from coterie.engine.engine import WorkflowEngine
from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.planning.plan import make_plan
from coterie.engine.planning.spec_document import spec_from_json, spec_to_json
from coterie.engine.retry import RetryConfig

ROUNDS = {Effort.QUICK: 3, Effort.NORMAL: 9, Effort.LONG: 25}
CHAIN = 100
FAN = 1000
CONCURRENT = 10
MICRO = 1e6


async def give(*values: object) -> object:
    """The body of every task."""
    return values[0] if values else 1


def chain(length: int) -> Workflow:
    """Each task needs the one before."""
    workflow = Workflow("chain")
    for number in range(length):
        workflow.add_task(Task(f"t{number}", give, dependencies=[f"t{number - 1}"] if number else []))
    return workflow


def fan(width: int) -> Workflow:
    """All tasks need one."""
    workflow = Workflow("fan")
    workflow.add_task(Task("root", give))
    for number in range(width):
        workflow.add_task(Task(f"t{number}", give, dependencies=["root"]))
    return workflow


def engine_s(workflow: Workflow, store: Path | None, durability: str = "strict", backend: str = "trio") -> float:
    """Seconds from submission to result."""

    async def execute() -> float:
        engine = WorkflowEngine(CONCURRENT, store, durability=durability)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        async with engine:
            engine.add_workflow(workflow)
            engine.plan(workflow.id)
            start = time.perf_counter()
            result = await engine.execute_workflow(workflow.id)
            took_s = time.perf_counter() - start
            result.raise_for_status()
        return took_s

    return anyio.run(execute, backend=backend)


def floor_s(tasks: int, store: Path, together: int) -> float:
    """Seconds for as many bare trio tasks, `together` of them to one fsynced commit."""
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE steps (id INTEGER PRIMARY KEY, state TEXT, result BLOB)")

    async def run() -> float:
        start = time.perf_counter()
        for first in range(0, tasks, together):
            rows: list[tuple[int, str, bytes]] = []

            async def one(number: int, rows: list[tuple[int, str, bytes]] = rows) -> None:
                await give()
                rows.append((number, "completed", b"1"))

            async with trio.open_nursery() as nursery:
                for number in range(first, min(tasks, first + together)):
                    nursery.start_soon(one, number)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO steps VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
        return time.perf_counter() - start

    try:
        return trio.run(run)
    finally:
        connection.close()


def per_task(effort: Effort) -> Iterator[Figure]:
    """Chain and fan-out."""
    for name, workflow, tasks, together, goal in (
        ("chain of 100, strict", chain(CHAIN), CHAIN, 1, 350.0),
        ("fan-out of 1,000, strict", fan(FAN), FAN + 1, CONCURRENT, 80.0),
    ):
        ours: dict[str, list[float]] = {"strict": [], "relaxed": [], "nothing stored": [], "asyncio": []}
        floors: list[float] = []
        for _ in range(ROUNDS[effort]):
            with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
                where = Path(folder)
                floors.append(floor_s(tasks, where / "floor.db", together))
                ours["strict"].append(engine_s(workflow, where / "strict.db"))
                ours["relaxed"].append(engine_s(workflow, where / "relaxed.db", "relaxed"))
                ours["nothing stored"].append(engine_s(workflow, None))
                ours["asyncio"].append(engine_s(workflow, where / "asyncio.db", backend="asyncio"))
        floor = statistics.median(floors) / tasks * MICRO
        told = f"bare trio, {together} to a commit"
        strict = statistics.median(ours["strict"]) / tasks * MICRO
        yield Figure(what=name, value=strict, unit="us/task", goal=goal, floor=floor, floor_is=told)
        for variant in ("relaxed", "nothing stored", "asyncio"):
            value = statistics.median(ours[variant]) / tasks * MICRO
            yield Figure(what=f"{name.removesuffix(', strict')}, {variant}", value=value, unit="us/task")


def retries(effort: Effort) -> Iterator[Figure]:
    """What an attempt that fails costs besides its wait."""
    attempts = 50

    async def fail() -> None:
        raise ConnectionError("refused")

    workflow = Workflow("flaky")
    retry = RetryConfig(max_attempts=attempts, base_delay=0.0)
    workflow.add_task(Task("flaky", fail, retry=retry))

    async def execute(store: Path) -> float:
        async with WorkflowEngine(CONCURRENT, store) as engine:
            engine.add_workflow(workflow)
            start = time.perf_counter()
            await engine.execute_workflow("flaky")
            return time.perf_counter() - start

    times: list[float] = []
    for _ in range(ROUNDS[effort]):
        with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
            times.append(anyio.run(execute, Path(folder) / "engine.db", backend="trio"))
    value = statistics.median(times) / attempts * MICRO
    yield Figure(what="retry, an attempt besides its wait", value=value, unit="us", goal=1000.0)


def parallel(_: Effort) -> Iterator[Figure]:
    """Independent branches of one second each, async and in threads."""

    async def second() -> None:
        await anyio.sleep(1.0)

    def second_in_a_thread() -> None:
        time.sleep(1.0)

    for function, how in ((second, "async"), (second_in_a_thread, "threads")):
        for branches in (2, 4):
            workflow = Workflow("branches")
            for number in range(branches):
                workflow.add_task(Task(f"branch{number}", function))
            took_s = engine_s(workflow, None)
            yield Figure(what=f"{branches} branches of 1 s, {how}", value=took_s, unit="s", goal=1.1)


def plans(_: Effort) -> Iterator[Figure]:
    """Validating and planning from a document, with about 1.5 needs a step."""
    for count, goal in ((100, 2.0), (10_000, 15.0), (100_000, 400.0)):
        document = spec_to_json(layered(count))
        plan_ms = statistics.median(_timed(partial(_plan, document)) for _ in range(5))
        floor_ms = statistics.median(_timed(partial(kahn, document["steps"])) for _ in range(5))
        what = f"plan and validate {count:,} steps"
        yield Figure(what=what, value=plan_ms, unit="ms", goal=goal, floor=floor_ms, floor_is="plain Kahn")


def _plan(document: dict[str, Any]) -> None:
    make_plan(spec_from_json(document))


def layered(count: int) -> WorkflowSpec:
    """Steps that need one or two of those shortly before them."""
    chance = random.Random(1)
    steps = [StepSpec("s0", "process", config={"function": "work"})]
    for number in range(1, count):
        needs = {f"s{chance.randrange(max(0, number - 50), number)}" for _ in range(1 + number % 2)}
        steps.append(StepSpec(f"s{number}", "process", needs=tuple(sorted(needs)), config={"function": "work"}))
    return WorkflowSpec("layered", steps=tuple(steps))


def kahn(steps: list[dict[str, Any]]) -> int:
    """As little as anybody can do: an order of the steps."""
    index = {step["id"]: place for place, step in enumerate(steps)}
    missing = [0] * len(steps)
    dependents: list[list[int]] = [[] for _ in steps]
    for place, step in enumerate(steps):
        for need in step.get("needs", ()):
            dependents[index[need]].append(place)
            missing[place] += 1
    ready = [place for place, count in enumerate(missing) if not count]
    for place in ready:
        for dependent in dependents[place]:
            missing[dependent] -= 1
            if not missing[dependent]:
                ready.append(dependent)
    return len(ready)


def _timed(measured: Callable[[], object]) -> float:
    start = time.perf_counter()
    measured()
    return (time.perf_counter() - start) * 1e3


def shells(effort: Effort) -> Iterator[Figure]:
    """`sh -c true` with its output captured and its end on disk, two at a time, beside make doing the same."""
    count = {Effort.QUICK: 100, Effort.NORMAL: 500, Effort.LONG: 1000}[effort]
    workflow = Workflow("shells", max_parallel=2)
    for number in range(count):
        workflow.add_task(Task(f"s{number}", type="shell", config={"run": "true"}))
    ours: list[float] = []
    makes: list[float] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
            makefile = Path(folder) / "Makefile"
            rules = "\n".join(f"t{number}:\n\t@true;" for number in range(count))
            makefile.write_text(f"all: {' '.join(f't{number}' for number in range(count))}\n{rules}\n")
            makes.append(_timed(lambda: subprocess.run(["make", "-s", "-j2", "-C", folder], check=True)))
            ours.append(engine_s(workflow, Path(folder) / "engine.db") * 1e3)
    value, floor = (statistics.median(times) * 1e3 / count for times in (ours, makes))
    yield Figure(
        what="shell step, captured, durable", value=value, unit="us", goal=700.0, floor=floor, floor_is="make -j2"
    )


def large(_: Effort) -> Iterator[Figure]:
    """A run of 100,000 steps: memory after planning, and status calls while it runs."""
    count = 100_000
    workflow = Workflow("large")
    for number in range(count):
        workflow.add_task(Task(f"s{number}", give, dependencies=[f"s{number // 10}"] if number else []))
    process = psutil.Process()

    async def execute(store: Path) -> tuple[list[float], list[float]]:
        calls: list[float] = []
        memory: list[float] = []
        async with WorkflowEngine(CONCURRENT, store) as engine, anyio.create_task_group() as tasks:
            engine.add_workflow(workflow)
            engine.plan("large")

            async def look() -> None:
                while True:
                    await anyio.sleep(0.05)
                    if engine.core.live:
                        calls.append(_timed(lambda: engine.get_workflow_status("large")))
                        memory.append(process.memory_info().rss / 1e6)

            tasks.start_soon(look)
            (await engine.execute_workflow("large")).raise_for_status()
            tasks.cancel_scope.cancel()
        return calls, memory

    with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
        start = time.perf_counter()
        calls, memory = anyio.run(execute, Path(folder) / "engine.db", backend="trio")
        took_s = time.perf_counter() - start
    yield Figure(what="100,000 steps, strict", value=took_s / count * MICRO, unit="us/task")
    yield Figure(what="status call meanwhile, p99", value=percentile(calls, 99), unit="ms", goal=20.0)
    grown = percentile(memory[-10:], 50) - percentile(memory[:10], 50)
    yield Figure(what="memory from its first to its last second", value=grown, unit="MB", goal=20.0)


def measure(effort: Effort) -> Iterator[Figure]:
    """All of it."""
    yield from per_task(effort)
    yield from retries(effort)
    yield from parallel(effort)
    yield from plans(effort)
    yield from shells(effort)
    if effort is not Effort.QUICK:
        yield from large(effort)


if __name__ == "__main__":
    main(measure)
