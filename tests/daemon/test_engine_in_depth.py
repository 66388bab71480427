"""What executions do in rarer weather: sub-workflows, branches, maps that were interrupted, undoing that fails."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from coterie.engine.context import current_context
from coterie.engine.definition import Result, Task, Workflow
from coterie.engine.engine import WorkflowEngine
from coterie.engine.inputs import BadInputs
from coterie.engine.model import InputSpec, StepSpec
from coterie.engine.retry import RetryConfig
from coterie_protocols.errors import NotFound, UserError

LIMIT_S = 20.0
Main = Callable[[], Awaitable[None]]
Run = Callable[[Main], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an async function under either loop, with a limit."""

    async def limited(main: Main) -> None:
        with anyio.fail_after(LIMIT_S):
            await main()

    return lambda main: anyio.run(limited, main, backend=request.param)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await anyio.lowlevel.checkpoint()


def one(*_: Any) -> int:
    return 1


def one_over(item: int) -> float:
    return 1 / item


def add_index(number: int) -> int:
    return number + (current_context().index or 0)


# --- what a step may know ---


def test_the_context_of_a_step(run: Run) -> None:
    seen: dict[str, Any] = {}

    def flaky() -> int:
        if current_context().retry_count == 0:
            raise ConnectionError("refused")
        return 5

    def look() -> None:
        context = current_context()
        seen.update(
            workflow=context.workflow_id,
            submitter=context.submitter,
            needs=context.dependencies(),
            first=context.dependencies("double"),
            ready=[context.is_ready(step) for step in ("flaky", "double", "look", "later")],
            data=context.step_data("flaky"),
            missing=context.step_data("later"),
            parallel=context.parallel_results("double"),
            errors=[(error["step"], error["class"]) for error in context.error_history()],
            none=context.error_history("double"),
            plan=context.plan["schema"],
            inputs=dict(context.inputs),
            variables=dict(context.variables),
            key=context.idempotency_key.removeprefix(context.execution_id),
            environment=sorted(context.environment()),
        )

    async def main() -> None:
        seen.clear()
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w", variables={"v": 1}, inputs=[InputSpec("i", "integer", default=2)])
        engine.register_function("add", add_index)
        workflow.add_task(Task("flaky", flaky, retry=RetryConfig(base_delay=0.0)))
        step = {"type": "process", "config": {"function": "add"}}
        workflow.add_task(Task("double", type="map", config={"items": [10, 20], "step": step}, dependencies=["flaky"]))
        workflow.add_task(Task("look", look, dependencies=["flaky", "double"], args=[]))
        workflow.add_task(Task("later", one, dependencies=["look"], args=[]))
        result = await engine.execute_workflow("w", submitter="me")
        assert result.errors == {}
        assert seen == {
            "workflow": "w",
            "submitter": "me",
            "needs": ("flaky", "double"),
            "first": ("flaky",),
            "ready": [True, True, True, False],
            "data": 5,
            "missing": None,
            "parallel": [10, 21],
            "errors": [("flaky", "connection")],
            "none": [],
            "plan": "coterie.execution-plan/1",
            "inputs": {"i": 2},
            "variables": {"v": 1},
            "key": "/look",
            "environment": [
                "COTERIE_ATTEMPT",
                "COTERIE_EXECUTION_ID",
                "COTERIE_RETRY_COUNT",
                "COTERIE_STEP_ID",
                "COTERIE_SUBMITTER",
                "COTERIE_WORKFLOW_ID",
                "STEP_KEY",
            ],
        }

    run(main)


def test_inputs_that_do_not_fit(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        inputs = [
            InputSpec("count", "integer", required=True),
            InputSpec("mode", options=("fast", "slow"), default="fast"),
            InputSpec("more", "boolean"),
        ]
        engine.create_workflow("w", inputs=inputs).add_task(Task("a", one))
        with pytest.raises(BadInputs) as raised:
            await engine.execute_workflow("w", {"mode": "medium", "more": 1, "els": 2})
        for told in ("'els' is no input", "'count' is required", "one of fast, slow", "must be a boolean"):
            assert told in raised.value.message
        with pytest.raises(BadInputs, match="must be a integer"):
            await engine.execute_workflow("w", {"count": True})

    run(main)


# --- branches and outputs ---


def test_conditions_branches_joins_and_outputs(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow(
            "w", outputs={"said": "${{ steps.join.result }}", "not": "${{ steps.x.result }}"}
        )
        workflow.add_task(Task("number", lambda: 7))
        config = {"branches": [{"name": "big", "if": "steps.number.result > 5", "then": ["yes"]}, {"name": "small"}]}
        workflow.add_task(Task("size", type="conditional", dependencies=["number"], config=config))
        workflow.add_step(StepSpec("yes", "process", ("size",), config={"expression": "'big'"}, arms={"size": "big"}))
        workflow.add_step(
            StepSpec("no", "process", ("size",), config={"expression": "'small'"}, arms={"size": "small"})
        )
        workflow.add_task(Task("join", lambda *taken: list(taken), dependencies=["yes", "no"]))
        workflow.add_task(Task("x", one, condition="steps.number.result < 5", dependencies=["number"]))
        workflow.add_task(
            Task("y", one, condition="fromJSON('{') == 1", dependencies=["number"], continue_on_error=True)
        )
        workflow.add_task(Task("out", type="output", dependencies=["join"], config={"values": {"n": "${{ 1 }}"}}))
        result = await engine.execute_workflow("w")
        assert result.status == "completed"
        assert result.results["join"] == ["big"]
        assert dict(result.outputs) == {"said": ["big"], "not": None, "n": 1}
        told = {each.step: each.why for each in engine.explain("w")}
        assert "its condition is false" in told["x"]
        assert "arm 'small' of size was not chosen" in told["no"]
        assert told["y"].startswith("failed")

    run(main)


# --- sub-workflows ---


def nested(engine: WorkflowEngine, inner: Callable[..., Any]) -> None:
    engine.create_workflow("inner", inputs=[InputSpec("n", "integer")]).add_task(Task("work", inner))
    engine.spec("inner")
    outer = engine.create_workflow("outer")
    outer.add_task(Task("sub", type="workflow", config={"id": "inner", "inputs": {"n": 3}}))


def test_a_workflow_in_a_workflow(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        engine = WorkflowEngine(max_concurrent_tasks=1, store=tmp_path / "engine.db")
        nested(engine, lambda: current_context().inputs["n"])
        result = await engine.execute_workflow("outer")
        assert result.errors == {}
        below = result.results["sub"]
        assert below["state"] == "completed"
        assert engine.result(below["id"]).results["work"] == 3
        engine.close()

    run(main)


def test_a_workflow_in_a_workflow_is_cancelled_with_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        started = anyio.Event()

        async def hang() -> None:
            started.set()
            await anyio.sleep_forever()

        nested(engine, hang)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "outer")
            await started.wait()
            await engine.cancel_workflow("outer")
        assert engine.get_workflow_status("inner").status == "cancelled"
        assert engine.core.journal.unfinished() == []
        engine.close()

    run(main)


def test_both_go_on_after_a_restart_and_the_inner_one_runs_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        starts: list[int] = []
        for interrupted in (True, False):
            engine = WorkflowEngine(store=tmp_path / "engine.db")

            async def work() -> int:
                starts.append(current_context().attempt)
                if interrupted:  # noqa: B023 - called in this round
                    await anyio.sleep_forever()
                return 9

            nested(engine, work)
            if interrupted:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(engine.execute_workflow, "outer")
                    await until(lambda: bool(starts))
                    tasks.cancel_scope.cancel()
            else:
                results = await engine.resume()
                assert [result.status for result in results] == ["completed", "completed"]
                assert len(engine.core.journal.executions(10)) == 2
            engine.close()
        assert starts == [1, 2]

    run(main)


def test_waiting_for_another_execution(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        engine.create_workflow("first").add_task(Task("a", one))
        first = await engine.execute_workflow("first")
        second = engine.create_workflow("second")
        second.add_task(Task("wait", type="wait", config={"execution": first.execution_id}))
        second.add_task(Task("none", type="wait", config={"execution": "ex-nothing"}))
        result = await engine.execute_workflow("second")
        assert result.results["wait"]["state"] == "completed"
        assert "none" in result.errors

    run(main)


# --- maps ---


def test_a_map_that_was_interrupted_keeps_what_its_children_did(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ran: list[int] = []
        for interrupted in (True, False):
            engine = WorkflowEngine(max_concurrent_tasks=1, store=tmp_path / "engine.db")

            async def work(item: int) -> int:
                ran.append(item)
                if interrupted and item == 3:  # noqa: B023 - called in this round
                    await anyio.sleep_forever()
                return item * 10

            engine.register_function("work", work)
            workflow = engine.create_workflow("w")
            step = {"type": "process", "config": {"function": "work"}}
            workflow.add_task(Task("each", type="map", config={"items": [1, 2, 3, 4], "step": step}))
            if interrupted:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: engine.execute_workflow("w", key="k"))  # noqa: B023
                    await until(lambda: 3 in ran)
                    tasks.cancel_scope.cancel()
            else:
                result = await engine.execute_workflow("w", key="k")
                assert result.results["each"] == [10, 20, 30, 40]
                assert [each.step for each in engine.explain("w", "each[2]")] == ["each[2]"]
                with pytest.raises(NotFound):
                    engine.explain("w", "each[4]")
            engine.close()
        assert sorted(ran) == [1, 2, 3, 3, 4]

    run(main)


def test_a_map_with_a_failure_names_it(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        engine.register_function("half", one_over)
        step = {"type": "process", "config": {"function": "half"}}
        workflow.add_task(Task("each", type="map", config={"items": [1, 0, 2], "step": step}))
        result = await engine.execute_workflow("w")
        assert result.errors == {"each": "1 of 3 did not complete: each[1]"}
        assert result.reason == "each[1]: ZeroDivisionError: division by zero"

    run(main)


# --- undoing, and ends by limits ---


def test_undoing_is_tried_again_and_may_fail(run: Run) -> None:
    undone: list[str] = []

    def undo(take: int) -> None:
        undone.append("tried")
        if len(undone) < 2:
            raise ConnectionError("refused")

    def cannot(take_more: int) -> None:
        raise PermissionError("not yours")

    async def main() -> None:
        undone.clear()
        engine = WorkflowEngine()
        workflow = Workflow("w")
        compensate = StepSpec(
            "take-undo", "process", ("take",), config={"function": "undo"}, retry=RetryConfig(base_delay=0.0)
        )
        engine.register_function("undo", undo)
        engine.register_function("one", one)
        workflow.add_step(StepSpec("take", "process", config={"function": "one"}, compensate=compensate))
        workflow.add_task(Task("take-more", "one", dependencies=["take"], compensate=cannot))
        workflow.add_task(Task("fails", lambda: 1 // 0, dependencies=["take-more"], args=[]))
        engine.add_workflow(workflow)
        result = await engine.execute_workflow("w")
        assert result.status == "failed"
        assert undone == ["tried", "tried"]
        rows = {row.position: row.compensation for row in engine.core.journal.rows(result.execution_id)}
        assert rows == {0: "done", 1: "failed", 2: ""}
        with pytest.raises(UserError, match="undone"):
            await engine.retry_workflow(result.execution_id)

    run(main)


def test_a_run_has_a_time_limit(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w", timeout=0.1)
        workflow.add_task(Task("slow", anyio.sleep_forever))
        workflow.add_task(Task("after", one, dependencies=["slow"], args=[]))
        result = await engine.execute_workflow("w")
        assert (result.status, result.reason) == ("cancelled", "the run took more than its 0.1 s")
        assert result.counts["cancelled"] == 2

    run(main)


def test_fail_fast_stops_what_runs(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w", fail_fast=True)
        workflow.add_task(Task("hangs", anyio.sleep_forever))
        workflow.add_task(Task("fails", lambda: 1 // 0))
        result = await engine.execute_workflow("w")
        assert result.status == "failed"
        assert result.counts["cancelled"] == 1

    run(main)


def test_what_asks_for_more_than_there_is_fails_at_once(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine(resources={"cpu": 2})
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("large", one, resources={"cpu": 3}))
        workflow.add_task(Task("fits", one, resources={"cpu": 2}))
        result = await engine.execute_workflow("w")
        assert "cpu" in result.errors["large"]
        assert result.results["fits"] == 1

    run(main)


def test_what_waits_for_room_is_explained(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine(max_concurrent_tasks=1)
        gate, started = anyio.Event(), anyio.Event()

        async def first() -> None:
            current_context().heartbeat("half way")
            started.set()
            await gate.wait()

        workflow = engine.create_workflow("w")
        workflow.add_task(Task("first", first))
        workflow.add_task(Task("second", one))
        workflow.add_task(Task("asks", type="input", config={"fields": [{"name": "x"}], "deadline": "1h"}))
        workflow.add_task(Task("waits", type="wait", config={"signal": "go"}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await started.wait()
            execution = engine.execution("w").id
            await until(lambda: any(note.kind == "asked" for _, note in engine.core.journal.notes(execution)))
            told = {each.step: each.why for each in engine.explain("w")}
            assert "half way" in told["first"]
            assert "1 of 1" in told["second"]
            assert told["asks"].startswith("asks for an answer")
            assert "go" in told["waits"]
            gate.set()
            await engine.cancel_workflow("w")
        with pytest.raises(UserError):
            await engine.answer("w", "asks", {"x": "y"})

    run(main)


def test_steps_that_wait_take_no_room(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine(max_concurrent_tasks=1)
        workflow = engine.create_workflow("w")
        for number in range(3):
            workflow.add_task(Task(f"wait{number}", type="wait", config={"signal": f"s{number}"}))
        workflow.add_task(Task("work", one))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await until(lambda: bool(engine.core.live))
            await until(lambda: engine.get_workflow_status("w").counts["completed"] == 1)
            for number in range(3):
                await engine.signal("w", f"s{number}")
        assert engine.get_workflow_status("w").status == "completed"

    run(main)


def test_arguments_that_stand_for_results(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        workflow = engine.create_workflow("w")
        workflow.add_task(Task("a", lambda: {"x": 1}))
        arguments = [{"deep": [Result("a")], "$odd": 1}, (Result("a"), 2)]
        workflow.add_task(Task("b", lambda *both: list(both), dependencies=["a"], args=arguments))
        result = await engine.execute_workflow("w")
        assert result.results["b"][1] == [{"x": 1}, 2]

    run(main)


def test_a_time_to_wait_counts_across_restarts(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        for interrupted in (True, False):
            engine = WorkflowEngine(store=tmp_path / "engine.db")
            engine.create_workflow("w").add_task(Task("w", type="wait", config={"duration": 0.4}))
            if interrupted:
                with anyio.move_on_after(0.15):
                    await engine.execute_workflow("w", key="k")
            else:
                result = await engine.execute_workflow("w", key="k")
                assert result.ok
                notes = [note for _, note in engine.core.journal.notes(result.execution_id)]
                assert [note.kind for note in notes] == ["waiting", "lost"]
                ended_ms = next(iter(engine.core.journal.rows(result.execution_id))).ended_ms or 0
                assert 0 <= ended_ms - notes[0].body["until_ms"] < 350  # not 0.4 s after the restart
            engine.close()

    run(main)


def test_answers_that_do_not_fit_are_refused_and_asked_for_again(run: Run) -> None:
    async def main() -> None:
        engine = WorkflowEngine()
        fields = [{"name": "count", "type": "integer", "required": True}]
        engine.create_workflow("w").add_task(Task("ask", type="input", config={"fields": fields}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.execute_workflow, "w")
            await until(lambda: bool(engine.core.live))
            execution = engine.execution("w").id
            await until(lambda: any(note.kind == "asked" for _, note in engine.core.journal.notes(execution)))
            with pytest.raises(UserError, match="does not fit"):
                await engine.answer("w", "ask", {"count": "three"})
            await engine.answer("w", "ask", {"count": 3})
        assert engine.result(engine.execution("w").id).results["ask"] == {"count": 3}

    run(main)


def test_what_kills_the_engine_each_time_is_not_started_for_ever(tmp_path: Path) -> None:
    starts: list[int] = []

    async def dies() -> None:
        starts.append(current_context().attempt)
        raise KeyboardInterrupt

    async def main() -> None:
        engine = WorkflowEngine(store=tmp_path / "engine.db")
        engine.create_workflow("w").add_task(Task("dies", dies))
        try:
            result = await engine.execute_workflow("w", key="k")
            assert result.errors == {"dies": "the engine died 10 times while it ran: see what it does to the machine"}
        finally:
            engine.close()

    for _ in range(10):
        with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
            anyio.run(main, backend="trio")
    anyio.run(main, backend="trio")
    assert starts == list(range(1, 11))


def test_what_a_step_makes_of_an_interruption_is_not_how_it_ended(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        for interrupted in (True, False):
            engine = WorkflowEngine(store=tmp_path / "engine.db")
            started = anyio.Event()

            async def stubborn() -> str:
                started.set()  # noqa: B023 - called in this round
                if not interrupted:  # noqa: B023
                    return f"try {current_context().attempt}"
                try:
                    await anyio.sleep_forever()
                except BaseException as error:
                    raise RuntimeError("the lights went out") from error
                return "never"

            engine.create_workflow("w").add_task(Task("stubborn", stubborn))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: engine.execute_workflow("w", key="k"))  # noqa: B023
                await started.wait()
                if interrupted:
                    tasks.cancel_scope.cancel()
            status = engine.get_workflow_status("w").status
            assert status == ("running" if interrupted else "completed")
            if not interrupted:
                assert engine.result(engine.execution("w").id).results["stubborn"] == "try 2"
            engine.close()

    run(main)
