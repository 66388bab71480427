"""What executions took, and what determined their end. The times are made up, so that they are the same each time."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from coterie.engine.journal.port import ExecutionRecord, Note, StepRow
from coterie.engine.planning.spec_document import spec_from_json
from coterie.executions import measuring
from coterie.executions.service import Executions, Submission
from coterie.executions.views import CriticalStep, MetricsView
from coterie_protocols.errors import NotFound
from executions_house import document, ended, executions_in, shell, step, until

T0 = 1_700_000_000_000


def row(position: int, ready: int, started: int, over: int, attempt: int = 1, lost: int = 0) -> StepRow:
    """A completed step with these times, in milliseconds after the start."""
    return StepRow(position, "completed", attempt, lost, T0 + ready, T0 + started, T0 + over)


def keep(executions: Executions, flow: dict[str, Any], rows: Iterable[StepRow], over: int, *notes: Note) -> str:
    """An execution that ended after so many milliseconds."""
    planned = executions.engine.submissions.plan(spec_from_json(flow))
    kept = list(rows)
    record = ExecutionRecord(
        id="ex-1",
        workflow="flow",
        name="flow",
        document=planned.document,
        plan_hash=planned.hash,
        created_ms=T0,
        state="completed",
        started_ms=T0,
        ended_ms=T0 + over,
        counts={"completed": len(kept)},
    )
    executions.journal.create(record, kept)
    executions.journal.commit(record.id, (), notes)
    return record.id


async def metrics(executions: Executions, id_: str, start: int = 0, limit: int = 100) -> MetricsView:
    return await executions.measuring.metrics(id_, start, limit)


async def test_what_ran_together_and_what_determined_the_end(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    flow = document(shell("short", "x"), shell("long", "x"), shell("beside", "x"), step("last", "short", "long"))
    rows = [row(0, 0, 0, 100), row(1, 0, 0, 400), row(2, 0, 50, 450), row(3, 400, 420, 500)]
    id_ = keep(executions, flow, rows, 500)
    seen = await metrics(executions, id_)
    assert (seen.steps, seen.retries, seen.lost) == (4, 0, 0)
    assert (seen.work_s, seen.wall_s, seen.parallel_efficiency) == (0.98, 0.5, 1.96)
    assert (seen.queue_wait_s, seen.queue_wait_max_s) == (0.07, 0.05)
    assert seen.critical_path == (CriticalStep("long", 0.0, 0.4), CriticalStep("last", 0.02, 0.08))
    assert seen.critical_path_s == 0.48
    assert [(each.step, each.duration_max_s) for each in seen.by_step] == [
        ("short", 0.1),
        ("long", 0.4),
        ("beside", 0.4),
        ("last", 0.08),
    ]
    page = await metrics(executions, id_, 1, 2)
    assert ([each.step for each in page.by_step], page.next) == (["long", "beside"], 3)
    executions.close()


async def test_maps_are_told_by_their_children(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    child = {"type": "shell", "config": {"run": "x"}}
    flow = document(step("m", type="map", config={"items": [1, 2, 3], "step": child}))
    rows = [row(0, 0, 0, 170), row(1, 1, 1, 11), row(2, 1, 11, 61), row(3, 1, 61, 161)]
    expanded = Note(T0, "expanded", 0, {"first": 1, "items": [1, 2, 3]})
    seen = await metrics(executions, keep(executions, flow, rows, 170, expanded))
    only = seen.by_step[0]
    assert (only.step, only.items, seen.steps) == ("m", 3, 4)
    assert (only.duration_p50_s, only.duration_max_s) == (0.05, 0.1)
    assert (only.queue_wait_p50_s, only.queue_wait_max_s) == (0.01, 0.06)
    assert seen.work_s == 0.16
    executions.close()


async def test_who_waits_does_no_work_and_tries_count(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    flow = document(step("w", type="wait", config={"seconds": 1}), shell("a", "x"))
    rows = [row(0, 0, 0, 1000), row(1, 500, 500, 700, attempt=3, lost=1)]
    tried = {"started_ms": T0, "ended_ms": T0 + 150}
    notes = (
        Note(T0 + 150, "failed", 1, {"attempt": 1, **tried}),
        Note(T0 + 400, "lost", 1, {"attempt": 2, "started_ms": T0 + 300}),
    )
    seen = await metrics(executions, keep(executions, flow, rows, 1000, *notes))
    assert (seen.retries, seen.lost, seen.by_step[1].retries) == (1, 1, 2)
    assert seen.work_s == 0.45
    executions.close()


async def test_steps_that_never_were_leave_gaps(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    flow = document(step("a"), step("b"), step("c", "a"), step("d", "b"))
    seen = await metrics(executions, keep(executions, flow, [row(1, 0, 0, 20)], 20))
    assert [each.duration_p50_s for each in seen.by_step] == [None, 0.02, None, None]
    assert [each.step for each in seen.critical_path] == ["b"]
    executions.close()


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
