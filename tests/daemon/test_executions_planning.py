"""Plans and timelines of executions, and what is wrong with documents."""

from functools import partial
from pathlib import Path

import pytest

from control_double import job, run
from coterie.engine.planning.spec_document import spec_from_json
from coterie.executions import timeline
from coterie.executions.planning import plan_of_run, validate
from coterie_protocols.errors import NotFound
from executions_house import document, done, executions_in, shell, step


async def test_the_plan_of_a_workflow_is_estimated_from_its_executions(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        await done(executions, shell("a", "sleep 0.1"), step("b", "a"), step("c", "a"))
        plan = await executions.planning.execution_plan("flow")
        with pytest.raises(NotFound):
            await executions.planning.execution_plan("nothing")
    assert plan["schema"] == "coterie.execution-plan/1"
    assert (plan["batches"], plan["critical_path"][0]) == ([["a"], ["b", "c"]], "a")
    assert plan["estimate"]["sequential_s"] >= 0.1


async def test_a_document_is_told_all_that_is_wrong_with_it() -> None:
    circle = document(step("a", "c"), step("b", "a"), step("c", "b"), step("d", "nothing"))
    seen = await validate(partial(spec_from_json, circle))
    assert not seen.valid
    assert seen.cycles == (("a", "c", "b", "a"),)
    assert any("nothing" in problem.message for problem in seen.problems)
    formless = await validate(partial(spec_from_json, {"steps": 7}))
    assert (formless.valid, formless.cycles) == (False, ())
    sound = await validate(partial(spec_from_json, document(step("a"), step("b", "a"))))
    assert (sound.valid, sound.batches, sound.critical_path) == (True, (("a",), ("b",)), ("a", "b"))


def test_a_run_of_github_actions_has_a_plan_too() -> None:
    jobs = (job("build"), job("test (a)", job="test", needs=("build",)), job("test (b)", job="test", needs=("build",)))
    plan = plan_of_run(run(jobs=(*jobs, job("ship", needs=("test",)))))
    assert plan["batches"] == [["build"], ["test (a)", "test (b)"], ["ship"]]
    assert plan["needs"]["ship"] == ["test (a)", "test (b)"]


async def test_every_attempt_is_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executions = executions_in(tmp_path)
    retry = {"max_attempts": 2, "base_delay": 0.001}
    async with executions.opened():
        over = await done(executions, step("a"), shell("b", "exit 75", "a", retry=retry), step("c", "b"))
        seen = await executions.timelines.timeline(over.id, 0)
        assert [(bar.step, bar.attempt, bar.state) for bar in seen.bars] == [
            ("a", 1, "completed"),
            ("b", 1, "failed"),
            ("b", 2, "failed"),
        ]
        assert all(bar.ready_at and bar.started_at and bar.ended_at for bar in seen.bars)
        assert "b" in await executions.timelines.picture(over.id, "text", 80)
        assert (await executions.timelines.picture(over.id, "svg", 80)).startswith("<svg")
        monkeypatch.setattr(timeline, "BARS_MAX", 1)
        first = await executions.timelines.timeline(over.id, 0)
        assert ([bar.step for bar in first.bars], first.next) == (["a"], 1)
        rest = await executions.timelines.timeline(over.id, 1)
        assert ([bar.step for bar in rest.bars], rest.next) == (["b", "b"], None)
