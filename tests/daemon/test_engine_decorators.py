"""The short form: tasks and workflows as functions."""

from pathlib import Path

import anyio
import pytest

from coterie.engine.context import current_context
from coterie.engine.decorators import step, task, workflow
from coterie.engine.engine import WorkflowEngine
from coterie.engine.outcome import WorkflowFailed
from coterie_protocols.errors import UserError


@task
def fetch(count: int) -> list[int]:
    """So many numbers."""
    return list(range(count))


@task(max_retries=2, timeout=10)
async def double(number: int, by: int = 2) -> int:
    return number * by


@task(name="add-up")
def total(numbers: list[int], start: int = 0) -> int:
    return sum(numbers, start)


@workflow
def etl(count: int) -> dict[str, int]:
    numbers = fetch(count)
    doubled = double.map(numbers, max_parallel=2, by=3)
    return {"total": total(doubled, start=total(numbers))}


def test_a_task_is_a_plain_function_outside_of_a_workflow() -> None:
    assert fetch(3) == [0, 1, 2]
    assert fetch.fn is not fetch
    assert fetch.__doc__ == "So many numbers."
    assert total.map([[1], [2]]) == [1, 2]


def test_calling_a_workflow_executes_it() -> None:
    assert etl(4) == {"total": 18 + 6}


def test_inside_of_a_loop() -> None:
    async def main() -> None:
        assert await etl.execute(2) == {"total": 4}

    anyio.run(main, backend="trio")


def test_the_plan_is_known_before_anything_runs() -> None:
    plan = etl.plan(3)
    assert plan.batches == (("fetch",), ("double", "add-up"), ("add-up-2",))
    built = etl.build(3).spec()
    assert {step.id: step.needs for step in built.steps} == {
        "fetch": (),
        "double": ("fetch",),
        "add-up": ("fetch",),
        "add-up-2": ("double", "add-up"),
    }


def test_on_an_engine_of_your_own(tmp_path: Path) -> None:
    async def main() -> None:
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        assert await etl.execute_on(engine, 3) == {"total": 12}
        assert engine.get_workflow_status("etl").counts["completed"] == 7
        engine.close()

    anyio.run(main)


def test_order_without_results_and_options_for_one_call() -> None:
    order: list[str] = []

    @task
    def note() -> None:
        order.append(current_context().step_id)

    @workflow(id="in-order", max_parallel=1)
    def in_order() -> None:
        last = note()
        first = note.options(priority=1.0)()
        last.after(first)  # type: ignore[attr-defined]  # pyright: ignore

    in_order()
    assert order == ["note-2", "note"]


def test_steps_of_other_types() -> None:
    @workflow
    def shells() -> str:
        told: str = step("shell", "greet", config={"run": "echo hello $WHO", "env": {"WHO": "you"}})
        again: str = step("shell", config={"run": "cat", "stdin": told})
        return again

    assert shells() == "hello you"


def test_a_failure_is_raised() -> None:
    @task
    def bad() -> None:
        raise ValueError("not like this")

    @workflow
    def fails() -> None:
        bad()

    with pytest.raises(WorkflowFailed, match="not like this"):
        fails()


def test_what_a_step_returns_is_not_known_while_the_workflow_is_built() -> None:
    @workflow
    def loops() -> None:
        for _ in fetch(3):
            pass

    @workflow
    def branches() -> None:
        if fetch(3):
            pass

    with pytest.raises(TypeError, match=r"task\.map"):
        loops.build()
    with pytest.raises(TypeError, match="branch inside a task"):
        branches.build()
    with pytest.raises(UserError, match="workflow functions"):
        step("shell", config={"run": "true"})
    with pytest.raises(UserError, match="no option"):
        task(tiemout=3)  # type: ignore[call-overload]  # pyright: ignore
