"""The engine as a library: executions from beginning to end, under asyncio and trio."""

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from coterie.engine.context import current_context, heartbeat
from coterie.engine.definition import Result, Task
from coterie.engine.engine import WorkflowEngine
from coterie.engine.failures import StepFailed
from coterie.engine.outcome import WorkflowFailed
from coterie.engine.performing.submission import QueueFull
from coterie.engine.retry import RetryConfig
from coterie_protocols.errors import InvalidWorkflow, NotFound, UserError

SOON = RetryConfig(max_attempts=3, base_delay=0.0)
LIMIT_S = 20.0

Main = Callable[[], Awaitable[None]]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs an async function under either loop, with a limit."""

    async def limited(main: Main) -> None:
        with anyio.fail_after(LIMIT_S):
            await main()

    return lambda main: anyio.run(limited, main, backend=request.param)


Run = Callable[[Main], None]


def test_the_long_form(run: Run) -> None:
    async def fetch() -> list[int]:
        return [3, 1, 2]

    def process(fetch: list[int]) -> int:
        return sum(fetch)

    async def main() -> None:
        engine = WorkflowEngine(max_concurrent_tasks=10)
        engine.register_function("fetch", fetch)
        engine.register_function("process", process)
        workflow = engine.create_workflow("etl", name="ETL pipeline")
        workflow.add_task(Task("fetch", function="fetch", timeout=60.0))
        workflow.add_task(Task("process", function="process", dependencies=["fetch"], max_retries=3))
        result = await engine.execute_workflow("etl")
        assert result.status == "completed"
        assert dict(result.results) == {"fetch": [3, 1, 2], "process": 6}
        assert result.counts["completed"] == 2
        assert result.execution_time >= 0
        assert engine.get_workflow_status("etl").status == "completed"
        assert engine.get_workflow_status(result.execution_id).workflow_id == "etl"
        engine.close()

    run(main)


def test_a_failure_is_told_and_keeps_others_from_running(run: Run) -> None:
    def bad() -> None:
        raise StepFailed("the file is not there", "configuration")

    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("bad", bad, max_retries=5))
        workflow.add_task(Task("after", lambda_free, dependencies=["bad"]))
        workflow.add_task(Task("beside", lambda_free))
        result = await engine.execute_workflow("w")
        assert result.status == "failed"
        assert result.errors == {"bad": "the file is not there"}
        assert dict(result.results) == {"beside": 1}
        with pytest.raises(WorkflowFailed, match="the file is not there"):
            result.raise_for_status()
        told = {each.step: each for each in engine.explain("w")}
        assert told["after"].state == "skipped"
        assert "bad" in told["after"].why
        assert told["bad"].attempt == 1  # configuration errors are not tried again
        assert told["bad"].history[0]["message"] == "the file is not there"

    run(main)


def lambda_free(*_: Any) -> int:
    return 1


def test_retries_until_it_works(run: Run) -> None:
    calls: list[int] = []

    async def flaky() -> str:
        calls.append(current_context().retry_count)
        if len(calls) < 3:
            raise ConnectionError("refused")
        return "there"

    async def main() -> None:
        engine = WorkflowEngine()
        engine.create_workflow("w").add_task(Task("flaky", flaky, retry=SOON))
        result = await engine.execute_workflow("w")
        assert result.results["flaky"] == "there"
        assert calls == [0, 1, 2]
        history = engine.explain("w", "flaky")[0].history
        assert [entry["class"] for entry in history] == ["connection", "connection"]

    run(main)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": 0.05}, "took more than its 0.05 s"),
        ({"total_timeout": 0.05}, "all tries together took more than 0.05 s"),
        ({"heartbeat_timeout": 0.05}, "gave no sign of life for 0.05 s"),
    ],
)
def test_time_limits(run: Run, options: dict[str, Any], told: str) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        engine.create_workflow("w").add_task(Task("slow", anyio.sleep_forever, **options))
        result = await engine.execute_workflow("w")
        assert result.errors["slow"] == told

    run(main)


def test_the_wait_for_room_has_a_limit(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine(max_concurrent_tasks=1)
        workflow = engine.create_workflow("w")

        async def long() -> None:
            await anyio.sleep(0.2)

        workflow.add_task(Task("long", long))
        workflow.add_task(Task("waits", lambda_free, queue_timeout=0.05))
        result = await engine.execute_workflow("w")
        assert result.errors["waits"] == "waited for room for more than its 0.05 s"

    run(main)


def test_branches_run_side_by_side(run: Run) -> None:
    together = anyio.Event
    inside: list[str] = []
    barrier = threading.Barrier(2, timeout=LIMIT_S)

    async def main() -> None:
        both = together()

        async def one() -> None:
            inside.append(current_context().step_id)
            if len(inside) == 2:
                both.set()
            await both.wait()

        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("a", one))
        workflow.add_task(Task("b", one))
        workflow.add_task(Task("c", barrier.wait))
        workflow.add_task(Task("d", barrier.wait))
        assert (await engine.execute_workflow("w")).ok

    run(main)


def test_cancelling(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        started = anyio.Event()
        cleaned: list[bool] = []

        async def hangs() -> None:
            started.set()
            try:
                await anyio.sleep_forever()
            finally:
                cleaned.append(True)

        workflow = engine.create_workflow("w")
        workflow.add_task(Task("hangs", hangs))
        workflow.add_task(Task("after", lambda_free, dependencies=["hangs"]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await started.wait()
            await engine.cancel_workflow("w", "enough")
        status = engine.get_workflow_status("w")
        assert status.status == "cancelled"
        assert status.reason == "enough"
        assert cleaned == [True]
        assert status.counts["cancelled"] == 2

    run(main)


def test_pausing_and_going_on(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        gate, started = anyio.Event(), anyio.Event()

        async def first() -> None:
            started.set()
            await gate.wait()

        workflow = engine.create_workflow("w")
        workflow.add_task(Task("first", first))
        workflow.add_task(Task("second", lambda_free, dependencies=["first"]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await started.wait()
            assert (await engine.pause_workflow("w")).status == "paused"
            gate.set()
            while engine.get_workflow_status("w").counts["completed"] != 1:
                await anyio.lowlevel.checkpoint()
            assert engine.get_workflow_status("w").counts["pending"] == 1
            await engine.resume_workflow("w")
        assert engine.get_workflow_status("w").status == "completed"

    run(main)


def test_skipping_what_hangs(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        started = anyio.Event()

        async def hangs() -> None:
            started.set()
            await anyio.sleep_forever()

        workflow = engine.create_workflow("w")
        workflow.add_task(Task("hangs", hangs))
        workflow.add_task(Task("after", lambda_free, dependencies=["hangs"]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await started.wait()
            await engine.skip_step("w", "hangs", "not needed today")
        result = engine.result(engine.execution("w").id)
        assert result.ok
        assert result.counts["skipped"] == 1
        assert dict(result.results) == {"after": 1}

    run(main)


def test_trying_a_failed_execution_again(run: Run, tmp_path: Path) -> None:
    broken = [True]
    ran: list[str] = []

    def good() -> int:
        ran.append("good")
        return 7

    def repaired(good: int) -> int:
        ran.append("repaired")
        if broken[0]:
            raise ValueError("broken")
        return good + 1

    async def main() -> None:
        broken[0] = True
        ran.clear()
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("good", good))
        workflow.add_task(Task("repaired", repaired, dependencies=["good"]))
        workflow.add_task(Task("last", lambda_free, dependencies=["repaired"]))
        failed = await engine.execute_workflow("w")
        assert failed.counts["failed"] == 1
        assert failed.counts["skipped"] == 1
        broken[0] = False
        result = await engine.retry_workflow(failed.execution_id)
        assert result.ok
        assert result.execution_id == failed.execution_id
        assert dict(result.results) == {"good": 7, "repaired": 8, "last": 1}
        assert ran == ["good", "repaired", "repaired"]
        engine.close()

    run(main)


def test_trying_again_by_hand_has_all_its_retries(run: Run) -> None:
    calls: list[int] = []

    def bad() -> None:
        calls.append(current_context().attempt)
        raise ConnectionError("refused")

    async def main() -> None:
        calls.clear()
        engine = WorkflowEngine()
        engine.create_workflow("w").add_task(Task("bad", bad, retry=SOON))
        failed = await engine.execute_workflow("w")
        assert calls == [1, 2, 3]
        await engine.retry_workflow(failed.execution_id, "bad")
        assert calls == [1, 2, 3, 4, 5, 6]

    run(main)


def test_rerunning_takes_over_what_had_completed(run: Run, tmp_path: Path) -> None:
    ran: list[str] = []

    def note() -> str:
        ran.append(current_context().step_id)
        return current_context().execution_id

    async def main() -> None:
        ran.clear()
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("a", note))
        workflow.add_task(Task("b", note, dependencies=["a"], args=[]))
        workflow.add_task(Task("c", note, dependencies=["b"], args=[]))
        first = await engine.execute_workflow("w")
        ran.clear()
        again = await engine.rerun_workflow(first.execution_id, step="b")
        assert again.ok
        assert again.execution_id != first.execution_id
        assert ran == ["b", "c"]
        assert again.results["a"] == first.execution_id
        assert engine.execution(again.execution_id).origin == first.execution_id
        ran.clear()
        await engine.rerun_workflow(first.execution_id)
        assert ran == ["a", "b", "c"]
        engine.close()

    run(main)


def test_an_interrupted_execution_goes_on(run: Run, tmp_path: Path) -> None:
    ran: list[tuple[str, int, str]] = []

    async def main() -> None:
        ran.clear()
        for interrupted in (True, False):
            engine = WorkflowEngine(store=tmp_path / "engine.db")
            reached = anyio.Event()

            async def note() -> int:
                context = current_context()
                ran.append((context.step_id, context.attempt, context.idempotency_key))
                return len(ran)

            async def hang() -> None:
                await note()
                reached.set()  # noqa: B023 - called in this round
                if interrupted:  # noqa: B023
                    await anyio.sleep_forever()

            workflow = engine.create_workflow("w")
            workflow.add_task(Task("a", note))
            workflow.add_task(Task("b", hang, dependencies=["a"], args=[]))
            workflow.add_task(Task("c", note, dependencies=["b"], args=[]))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: engine.execute_workflow("w", key="once"))  # noqa: B023
                await reached.wait()
                if interrupted:
                    tasks.cancel_scope.cancel()
            engine.close()
        execution = ran[0][2].removesuffix("/a")
        assert ran == [
            ("a", 1, f"{execution}/a"),
            ("b", 1, f"{execution}/b"),
            ("b", 2, f"{execution}/b"),
            ("c", 1, f"{execution}/c"),
        ]

    run(main)


def test_resume_takes_up_all_that_had_not_ended(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("a", "work"))
        engine.register_function("work", anyio.sleep_forever)
        with anyio.move_on_after(0.1):
            await engine.execute_workflow("w")
        engine.close()

        engine = WorkflowEngine(store=tmp_path / "engine.db")
        engine.register_function("work", lambda_free)
        results = await engine.resume()
        assert [result.status for result in results] == ["completed"]
        kinds = [note.kind for _, note in engine.core.journal.notes(results[0].execution_id)]
        assert kinds == ["lost", "code-changed"]
        engine.close()

    run(main)


def test_a_key_makes_it_once(run: Run, tmp_path: Path) -> None:
    ran: list[int] = []

    async def main() -> None:
        ran.clear()
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        engine.create_workflow("w").add_task(Task("a", lambda: ran.append(1)))
        first = await engine.execute_workflow("w", key="2026-11-21")
        second = await engine.execute_workflow("w", key="2026-11-21")
        assert first.execution_id == second.execution_id
        assert ran == [1]
        engine.close()

    run(main)


def test_a_full_queue_answers(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine(queue_max=1)
        engine.create_workflow("w").add_task(Task("a", anyio.sleep_forever))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            while not engine.core.live:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(QueueFull):
                await engine.execute_workflow("w")
            await engine.cancel_workflow("w")

    run(main)


def test_all_problems_at_once(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("a", lambda_free, dependencies=["c"]))
        workflow.add_task(Task("b", lambda_free, dependencies=["a", "nowhere"]))
        workflow.add_task(Task("c", lambda_free, dependencies=["b"]))
        workflow.add_task(Task("d", type="htpp"))
        with pytest.raises(InvalidWorkflow) as raised:
            await engine.execute_workflow("w")
        told = raised.value.message
        assert "nowhere" in told
        assert "htpp" in told
        assert "http" in told
        assert "a -> c -> b -> a" in told or "a -> b -> c -> a" in told
        with pytest.raises(NotFound):
            await engine.execute_workflow("v")

    run(main)


def test_what_is_undone_when_the_run_fails(run: Run, tmp_path: Path) -> None:
    undone: list[tuple[str, Any]] = []

    def reserve() -> dict[str, int]:
        return {"seat": 12}

    def release(reserve: dict[str, int]) -> None:
        undone.append(("reserve", reserve))

    def pay() -> str:
        return "paid"

    def refund(pay: str) -> None:
        undone.append(("pay", pay))

    def ship() -> None:
        raise PermissionError("not there")

    async def main() -> None:
        undone.clear()
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        workflow = engine.create_workflow("saga")
        workflow.add_task(Task("reserve", reserve, compensate=release))
        workflow.add_task(Task("pay", pay, dependencies=["reserve"], args=[], compensate=refund))
        workflow.add_task(Task("ship", ship, dependencies=["pay"], args=[]))
        result = await engine.execute_workflow("saga")
        assert result.status == "failed"
        assert undone == [("pay", "paid"), ("reserve", {"seat": 12})]
        rows = list(engine.core.journal.rows(result.execution_id))
        assert [row.compensation for row in rows] == ["done", "done", ""]
        engine.close()

    run(main)


def test_a_map_over_what_a_step_returned(run: Run, tmp_path: Path) -> None:
    running = [0, 0]

    def numbers() -> list[int]:
        return [1, 2, 3, 4, 5]

    async def square(number: int) -> int:
        running[0] += 1
        running[1] = max(running)
        await anyio.sleep(0.01)
        running[0] -= 1
        return number * number

    async def main() -> None:
        running[:] = [0, 0]
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        engine.register_function("square", square)
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("numbers", numbers))
        step = {"type": "process", "config": {"function": "square"}}
        config = {"items": "${{ steps.numbers.result }}", "step": step, "max_parallel": 2}
        workflow.add_task(Task("squares", type="map", dependencies=["numbers"], config=config))
        workflow.add_task(Task("total", sum, dependencies=["squares"], args=[Result("squares")]))
        result = await engine.execute_workflow("w")
        assert result.errors == {}
        assert result.results["squares"] == [1, 4, 9, 16, 25]
        assert result.results["total"] == 55
        assert running[1] == 2
        engine.close()

    run(main)


def test_a_signal_and_an_answer(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        workflow = engine.create_workflow("w")
        fields = [{"name": "ok", "type": "boolean"}]
        workflow.add_task(Task("ask", type="input", config={"fields": fields}))
        workflow.add_task(Task("wait", type="wait", dependencies=["ask"], config={"signal": "go"}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            while not engine.core.live:
                await anyio.lowlevel.checkpoint()
            await engine.signal("w", "go", {"n": 1})
            while not any(note.kind == "asked" for _, note in engine.core.journal.notes(engine.execution("w").id)):
                await anyio.lowlevel.checkpoint()
            await engine.answer("w", "ask", {"ok": True})
        result = engine.result(engine.execution("w").id)
        assert result.ok
        assert result.results["ask"] == {"ok": True}
        assert result.results["wait"] == {"n": 1}
        engine.close()

    run(main)


def test_objects_pass_where_nothing_is_stored_and_json_where_it_is(run: Run, tmp_path: Path) -> None:
    class Thing:
        pass

    thing = Thing()
    seen: list[object] = []

    async def main() -> None:
        for store in (None, tmp_path / "engine.db"):
            seen.clear()
            engine = WorkflowEngine(store=store)
            workflow = engine.create_workflow("w")
            workflow.add_task(Task("make", lambda: thing))
            workflow.add_task(Task("take", seen.append, dependencies=["make"], args=[Result("make")]))
            result = await engine.execute_workflow("w")
            if store is None:
                assert seen == [thing]
                assert result.results["make"] is thing
            else:
                assert "Thing" in result.errors["make"]
            engine.close()

    run(main)


def test_executions_share_the_limits_of_the_engine(run: Run) -> None:
    running = [0, 0]

    async def work() -> None:
        running[0] += 1
        running[1] = max(running)
        await anyio.sleep(0.01)
        running[0] -= 1

    async def main() -> None:
        running[:] = [0, 0]
        engine = WorkflowEngine(max_concurrent_tasks=3)
        workflow = engine.create_workflow("w")
        for number in range(6):
            workflow.add_task(Task(f"s{number}", work))
        async with engine, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(engine.execute_workflow, "w")
        assert running == [0, 3]

    run(main)


def test_one_key_runs_one_at_a_time(run: Run) -> None:
    running = [0, 0]

    async def work() -> None:
        running[0] += 1
        running[1] = max(running)
        await anyio.sleep(0.005)
        running[0] -= 1

    async def main() -> None:
        running[:] = [0, 0]
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        for number in range(4):
            workflow.add_task(Task(f"s{number}", work, key="the database"))
        assert (await engine.execute_workflow("w")).ok
        assert running[1] == 1

    run(main)


def test_sync_functions_do_not_hold_up_the_loop(run: Run) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            for _ in range(5):
                await anyio.sleep(0.01)
                ticks += 1

        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("blocks", time.sleep, args=[0.1]))
        workflow.add_task(Task("ticks", tick))
        workflow.add_task(Task("counted", lambda: ticks, dependencies=["ticks"], args=[]))
        result = await engine.execute_workflow("w")
        assert result.results["counted"] == 5

    run(main)


def test_what_cannot_be_done_is_told_to_who_asked(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        engine.create_workflow("w").add_task(Task("a", lambda_free))
        result = await engine.execute_workflow("w")
        with pytest.raises(UserError, match="nothing in"):
            await engine.retry_workflow(result.execution_id)
        with pytest.raises(UserError, match="completed"):
            await engine.retry_workflow(result.execution_id, "a")
        with pytest.raises(NotFound, match="no step 'b'"):
            await engine.retry_workflow(result.execution_id, "b")
        with pytest.raises(UserError, match="has completed"):
            await engine.pause_workflow(result.execution_id)
        with pytest.raises(NotFound):
            await engine.rerun_workflow(result.execution_id, step="b")

    run(main)


def test_a_command_that_is_refused_leaves_the_execution_as_it_is(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        gate, started = anyio.Event(), anyio.Event()

        async def first() -> None:
            started.set()
            await gate.wait()

        workflow = engine.create_workflow("w")
        workflow.add_task(Task("first", first))
        workflow.add_task(Task("done", lambda_free))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await started.wait()
            while engine.get_workflow_status("w").counts["completed"] != 1:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(UserError):
                await engine.skip_step("w", "done")
            with pytest.raises(UserError):
                await engine.retry_workflow("w", "first")
            gate.set()
        assert engine.get_workflow_status("w").status == "completed"

    run(main)


def test_a_step_does_not_see_the_context_variables_of_another(run: Run) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    async def sets() -> str:
        variable.set("set")
        return variable.get()

    async def reads() -> str:
        return variable.get()

    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("sets", sets))
        workflow.add_task(Task("reads", reads, dependencies=["sets"], args=[]))
        result = await engine.execute_workflow("w")
        assert dict(result.results) == {"sets": "set", "reads": "unset"}

    run(main)


def test_a_sign_of_life_in_time_keeps_a_step_going(run: Run) -> None:
    async def lives() -> str:
        for _ in range(6):
            await anyio.sleep(0.05)
            heartbeat("on it")
        return "done"

    def lives_in_a_thread() -> str:
        for _ in range(6):
            time.sleep(0.05)
            current_context().heartbeat()
        return "done"

    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("async", lives, heartbeat_timeout=0.2))
        workflow.add_task(Task("sync", lives_in_a_thread, heartbeat_timeout=0.2))
        result = await engine.execute_workflow("w")
        assert dict(result.results) == {"async": "done", "sync": "done"}

    run(main)


def test_more_ready_steps_than_the_admission_is_told_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.engine.performing.execution.OFFERED_MAX", 3)
    order: list[str] = []

    async def note() -> None:
        order.append(current_context().step_id)

    async def main() -> None:
        order.clear()
        engine = WorkflowEngine(max_concurrent_tasks=1)
        workflow = engine.create_workflow("w")
        for number in range(20):
            workflow.add_task(Task(f"s{number}", note))
        workflow.add_task(Task("urgent", note, priority=1.0))
        assert (await engine.execute_workflow("w")).ok
        assert order[:2] == ["urgent", "s0"]
        assert order[1:] == [f"s{number}" for number in range(20)]

    run(main)


def test_a_command_that_comes_with_the_end_is_answered(run: Run) -> None:
    async def main() -> None:
        for turns in range(12):  # of the loop, until the command is given
            engine = WorkflowEngine()
            engine.create_workflow("w").add_task(Task("a", anyio.lowlevel.checkpoint))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.execute_workflow, "w")
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                with suppress(UserError):
                    await engine.pause_workflow("w")
                    await engine.resume_workflow("w")
            assert engine.get_workflow_status("w").status == "completed"

    run(main)


def test_why_there_is_no_further_try_is_told(run: Run) -> None:
    def bad() -> None:
        raise StepFailed("no such table", "configuration")

    async def main() -> None:
        engine = WorkflowEngine()
        engine.create_workflow("w").add_task(Task("bad", bad, retry=SOON))
        await engine.execute_workflow("w")
        (told,) = engine.explain("w", "bad")[0].history
        assert told["no_retry"] == "errors of the class 'configuration' are not tried again"

    run(main)
