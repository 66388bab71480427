"""What executions took, and what determined their end."""

from pathlib import Path

import pytest

from coterie.executions import measuring
from coterie.executions.service import Executions, Submission
from coterie.executions.views import MetricsView
from coterie_protocols.errors import NotFound
from executions_house import document, done, ended, executions_in, shell, step, until


async def metrics(executions: Executions, id_: str, start: int = 0, limit: int = 100) -> MetricsView:
    return await executions.measuring.metrics(id_, start, limit)


async def test_two_at_a_time_are_twice_as_fast(tmp_path: Path) -> None:
    executions = executions_in(tmp_path, steps=4)
    async with executions.opened():
        over = await done(
            executions, shell("short", "sleep 0.05"), shell("long", "sleep 0.4"), shell("beside", "sleep 0.4"),
            step("last", "short", "long"),
        )  # fmt: skip
        seen = await metrics(executions, over.id)
        assert (seen.steps, seen.retries, seen.lost) == (4, 0, 0)
        assert seen.work_s == pytest.approx(0.85, abs=0.3)
        assert seen.parallel_efficiency is not None
        assert seen.parallel_efficiency > 1.3
        assert [each.step for each in seen.critical_path] in (["long", "last"], ["beside"])
        assert seen.critical_path_s == pytest.approx(0.4, abs=0.25)
        assert [each.step for each in seen.by_step] == ["short", "long", "beside", "last"]
        assert seen.by_step[1].duration_max_s == pytest.approx(0.4, abs=0.25)
        page = await metrics(executions, over.id, 1, 2)
        assert ([each.step for each in page.by_step], page.next) == (["long", "beside"], 3)


async def test_maps_are_told_by_their_children(tmp_path: Path) -> None:
    executions = executions_in(tmp_path, steps=1)
    child = {"type": "shell", "config": {"run": "sleep 0.0${{ item }}"}}
    async with executions.opened():
        over = await done(executions, step("m", type="map", config={"items": [1, 5, 9], "step": child}))
        seen = await metrics(executions, over.id)
    only = seen.by_step[0]
    assert (only.step, only.items, seen.steps) == ("m", 3, 4)
    assert only.duration_p50_s is not None
    assert only.duration_max_s is not None
    assert only.duration_p50_s < only.duration_max_s
    assert seen.work_s == pytest.approx(0.15, abs=0.1)
    assert only.queue_wait_max_s is not None
    assert only.queue_wait_max_s > 0.01


async def test_who_waits_does_no_work_and_tries_count(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    retry = {"max_attempts": 3, "base_delay": 0.001}
    async with executions.opened():
        over = await done(
            executions, step("w", type="wait", config={"seconds": 0.3}),
            shell("a", 'sleep 0.1; test "$COTERIE_ATTEMPT" = 3 || exit 75', retry=retry),
        )  # fmt: skip
        seen = await metrics(executions, over.id)
    assert over.status == "completed"
    assert (seen.retries, seen.by_step[1].retries) == (2, 2)
    assert seen.work_s == pytest.approx(0.3, abs=0.15)


async def test_one_under_way_is_measured_again_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        begun = await executions.submit(
            Submission(document(step("a"), step("w", "a", type="wait", config={"signal": "go"})))
        )
        await until(executions, begun.id, lambda view: view.running == ("w",))
        seen = await metrics(executions, begun.id)
        assert (seen.status, seen.by_step[1].duration_max_s) == ("running", None)
        assert seen.critical_path[-1].step == "a"
        await executions.signal(begun.id, "go", None)
        await ended(executions, begun.id)
        last = await metrics(executions, begun.id)
        assert last.critical_path[-1].step == "w"
        assert await metrics(executions, begun.id) == last
        monkeypatch.setattr(measuring, "FRESH_MS", 0)
        assert await metrics(executions, begun.id) == last
        with pytest.raises(NotFound):
            await metrics(executions, "ex-nothing")


async def test_nothing_has_been_done_yet(tmp_path: Path) -> None:
    executions = executions_in(tmp_path, steps=1)
    async with executions.opened():
        await executions.submit(Submission(document(shell("a", "sleep 30"))))
        waiting = await executions.submit(Submission(document(step("b"), id="other")))
        seen = await metrics(executions, waiting.id)
    assert (seen.wall_s, seen.parallel_efficiency, seen.critical_path) == (0.0, None, ())
