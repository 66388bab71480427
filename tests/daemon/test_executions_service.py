"""The daemon's executions: they begin at once, survive restarts and full disks, and take commands."""

import os
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from coterie.disk import DiskFailed
from coterie.engine.journal.port import ExecutionChange, Note, StepRow
from coterie.engine.performing.submission import QueueFull
from coterie.executions import performing
from coterie.executions.service import Executions, Submission
from coterie_protocols.errors import InvalidWorkflow, NotFound, TryLater, UserError
from executions_house import document, done, ended, executions_in, shell, step, until


async def test_a_workflow_is_executed_to_its_end(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        begun = await executions.submit(
            Submission(
                document(step("a"), step("b", "a", type="output", config={"values": {"x": "${{ inputs.n }}"}}),
                         inputs=[{"name": "n", "type": "integer"}]),
                {"n": 7},
                submitter="0:root",
            )
        )  # fmt: skip
        assert (begun.status, begun.submitter, begun.workflow) == ("running", "0:root", "flow")
        assert begun.started_at is not None
        over = await ended(executions, begun.id)
        assert (over.status, over.counts, over.outputs) == ("completed", {"completed": 2}, {"x": 7})
        assert executions.reading.view("@last").id == begun.id == executions.reading.view("flow").id


async def test_the_same_key_is_the_same_execution(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        submission = Submission(document(step("a")), key="once")
        first = await executions.submit(submission)
        await ended(executions, first.id)
        again = await executions.submit(submission)
        assert (again.id, again.status) == (first.id, "completed")


async def test_what_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    executions = executions_in(tmp_path, queue_max=1)
    async with executions.opened():
        with pytest.raises(InvalidWorkflow, match="schema"):
            await executions.submit(Submission({}))
        with pytest.raises(InvalidWorkflow):
            await executions.submit(Submission("nonsense"))
        with pytest.raises(InvalidWorkflow, match="nothing"):
            await executions.submit(Submission(document(step("a", "nothing"))))
        declared = document(step("a"), inputs=[{"name": "n"}])
        with pytest.raises(UserError, match="surprise"):
            await executions.submit(Submission(declared, {"surprise": 1}))
        await executions.submit(Submission(document(step("w", type="wait", config={"signal": "go"}))))
        with pytest.raises(QueueFull):
            await executions.submit(Submission(document(step("a"))))


async def test_what_a_daemon_left_goes_on_by_itself_with_the_next(tmp_path: Path) -> None:
    first = executions_in(tmp_path)
    async with first.opened():
        left = await first.submit(
            Submission(document(shell("a", "echo one"), shell("b", 'test "$COTERIE_ATTEMPT" -gt 1 || sleep 60', "a")))
        )
        await until(first, left.id, lambda view: view.running == ("b",) and view.counts.get("completed") == 1)
    again = executions_in(tmp_path)
    async with again.opened():
        assert again.performer.of(left.id) is not None
        over = await ended(again, left.id)
        steps = (await again.reading.steps(left.id, 0, 10)).steps
    assert over.status == "completed"
    assert [(each.id, each.attempt) for each in steps] == [("a", 1), ("b", 2)]


async def test_what_belongs_to_a_step_goes_on_with_that_step(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    script = f'echo "$COTERIE_ATTEMPT" >> {marks}; echo; test "$COTERIE_ATTEMPT" = 2 || sleep 60'
    below = document(shell("c", script), id="below")
    first = executions_in(tmp_path)
    async with first.opened():
        flow = document(step("p", type="workflow", config={"document": below}))
        left = await first.submit(Submission(flow))
        with trio.fail_after(10):
            while not first.reading.views(1, "below").executions:
                await trio.lowlevel.checkpoint()
            async with aclosing(first.following.log("below", "c", None, 0, follow=True)) as chunks:
                while not marks.exists():
                    await anext(chunks)
    again = executions_in(tmp_path)
    async with again.opened():
        assert (await ended(again, left.id)).status == "completed"
        assert again.reading.view("below").status == "completed"
    assert marks.read_text().split() == ["1", "2"]


async def test_what_was_left_goes_on_within_half_a_second(tmp_path: Path) -> None:
    first = executions_in(tmp_path)
    async with first.opened():
        left = await first.submit(Submission(document(*(shell(f"s{each}", "sleep 60") for each in range(4)))))
    began = time.monotonic()
    again = executions_in(tmp_path)
    async with again.opened():
        await until(again, left.id, lambda view: len(view.running) == 2)
        assert time.monotonic() - began < 0.5


async def test_a_stopped_daemon_leaves_no_process(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    pid_file = tmp_path / "pid"
    async with executions.opened():
        left = await executions.submit(Submission(document(shell("a", f"echo $$ > {pid_file}; echo up; sleep 60"))))
        async with aclosing(executions.following.log(left.id, "a", None, 0, follow=True)) as chunks:
            await anext(chunks)
        pid = int(pid_file.read_text())
        await executions.stop()
        assert not _lives(pid)
        assert executions.journal.execution(left.id).state == "running"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_commands(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        held = await executions.submit(
            Submission(document(step("w", type="wait", config={"signal": "go"}), step("b", "w"), step("c", "b")))
        )
        assert (await executions.pause(held.id)).status == "paused"
        assert (await executions.resume(held.id)).status == "running"
        await executions.skip(held.id, "c", "not today")
        await executions.signal(held.id, "go", {"by": "me"})
        over = await ended(executions, held.id)
        assert (over.status, over.counts) == ("completed", {"completed": 2, "skipped": 1})
        assert b'"by":"me"' in await executions.reading.result(held.id, "w")
        with pytest.raises(UserError, match="has completed"):
            await executions.pause(held.id)
        with pytest.raises(NotFound):
            await executions.cancel("ex-nothing", "")


async def test_a_command_at_the_very_end_is_not_lost(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        for _ in range(20):
            begun = await executions.submit(Submission(document(step("a"))))
            while executions.journal.execution(begun.id).state != "completed":
                await trio.lowlevel.checkpoint()
            with trio.fail_after(5), pytest.raises(UserError, match="has completed"):
                await executions.pause(begun.id)


async def test_cancel_means_now(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        begun = await executions.submit(Submission(document(shell("a", "sleep 60"), step("b", "a"))))
        with trio.fail_after(10):
            over = await executions.cancel(begun.id, "no need")
        assert (over.status, over.reason) == ("cancelled", "no need")


async def test_a_question_is_shown_until_it_is_answered(tmp_path: Path) -> None:
    fields = [{"name": "ok", "type": "boolean"}]
    executions = executions_in(tmp_path)
    async with executions.opened():
        begun = await executions.submit(
            Submission(document(step("q", type="input", config={"fields": fields, "deadline": "1h"})))
        )
        asking = await until(executions, begun.id, lambda view: bool(view.asks))
        assert asking.asks[0].step == "q"
        assert asking.asks[0].deadline_at is not None
        with pytest.raises(UserError, match="does not fit"):
            await executions.answer(begun.id, "q", {"ok": 1})
        await executions.answer(begun.id, "q", {"ok": True})
        over = await ended(executions, begun.id)
        assert (over.status, over.asks) == ("completed", ())


async def test_retry_goes_on_and_rerun_begins_anew(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    executions = executions_in(tmp_path)
    async with executions.opened():
        failed = await done(executions, step("a"), shell("b", f"test -e {flag}", "a"))
        assert (failed.status, failed.counts) == ("failed", {"completed": 1, "failed": 1})
        again = await executions.rerun(failed.id, failed=True, step=None)
        assert again.origin == failed.id
        assert (await ended(executions, again.id)).status == "failed"
        flag.touch()
        tried = await executions.retry(failed.id, None)
        assert tried.id == failed.id
        over = await ended(executions, failed.id)
        assert (over.status, over.counts, over.reason) == ("completed", {"completed": 2}, "")
        with pytest.raises(UserError, match="nothing in"):
            await executions.retry(failed.id, None)


class FullDisk:
    """A journal that refuses commits for a while."""

    def __init__(self, executions: Executions) -> None:
        self._commit = executions.journal.commit
        self.failures = 0
        executions.journal.commit = self.commit  # type: ignore[method-assign]

    def commit(self, execution: str, rows: Any = (), notes: Any = (), change: ExecutionChange | None = None) -> None:
        if self.failures and any(isinstance(row, StepRow) and row.state == "completed" for row in rows):
            self.failures -= 1
            raise DiskFailed("no room is left")
        listed: list[Note] = list(notes)
        self._commit(execution, rows, listed, change)


async def test_a_full_disk_interrupts_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "PAUSE_FIRST_S", 0.01)
    executions = executions_in(tmp_path)
    with capture_logs() as logged:
        async with executions.opened():
            disk = FullDisk(executions)
            disk.failures = 2
            begun = await executions.submit(Submission(document(step("a"), step("b", "a"))))
            over = await ended(executions, begun.id)
    assert over.status == "completed"
    assert over.started_at == begun.started_at  # when it first began, not when the disk had room again
    assert [entry["event"] for entry in logged].count("execution interrupted: it goes on when the disk does") == 2


async def test_an_interrupted_execution_takes_no_commands(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    with capture_logs():
        async with executions.opened():
            FullDisk(executions).failures = 1
            begun = await executions.submit(Submission(document(step("a"))))
            await until(executions, begun.id, lambda _: not executions.reading.is_live(begun.id))
            with pytest.raises(TryLater, match="waits for the disk"):
                await executions.cancel(begun.id, "")
            assert executions.reading.view(begun.id).counts == {"pending": 1}


async def test_our_own_bug_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executions = executions_in(tmp_path)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug, on purpose")

    async def live() -> None:
        async with executions.opened():
            monkeypatch.setattr(executions.journal, "commit", broken)
            await executions.submit(Submission(document(step("a"))))
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert caught.group_contains(RuntimeError, match="on purpose")


async def test_a_large_workflow_is_planned_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.executions.service.LARGE_DOCUMENT_STEPS", 2)
    executions = executions_in(tmp_path)
    async with executions.opened():
        assert (await done(executions, step("a"), step("b"), step("c", "a"))).status == "completed"
