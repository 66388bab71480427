"""Carries out a step of the engine, or a whole workflow, as a step of a job: `python -m coterie.engine.remote_step`.

What is to be done comes in the event of the run, what the needs came to in a file, and the rest in variables that the
runner sets: see `spread/work.py`. What it came to is told by outputs. Exit codes: 0 where it completed or was skipped,
1 where it failed, 143 where it was stopped, and that of a UserError where there was nothing to be done.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

import anyio

from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.performing.submission import Planned
from coterie.engine.settings import EngineSettings
from coterie.engine.spread.ending import Ended, whole_result
from coterie.engine.spread.one_step import NULL, rows_of
from coterie.engine.spread.telling import Telling, command
from coterie.engine.spread.work import Work, read_work
from coterie_protocols.errors import UserError

FAILED: Final = 1
TERMINATED: Final = 128 + signal.SIGTERM


def main() -> int:
    """Carries it out; returns the exit code."""
    # The engine's lines are UTF-8 whatever the peer's locale is, and its runner reads each as it comes.
    cast("Any", sys.stdout).reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    try:
        work = read_work(os.environ, Path.cwd())
        engine, record = _accepted(work)
    except UserError as error:
        _say(command("error", f"{error.message}; {error.hint}" if error.hint else error.message))
        return error.exit_code
    ended = anyio.run(_carry_out, engine, record, work)
    ended.write(work.output)
    if ended.state == "cancelled":
        return TERMINATED
    return 0 if ended.ok else FAILED


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


async def _carry_out(engine: WorkflowEngine, record: ExecutionRecord, work: Work) -> Ended:
    ended = Ended("cancelled")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
        async with engine:
            await engine.perform(record)
            ended = _ended_step(engine, work) if work.step else _ended_whole(engine, work)
        tasks.cancel_scope.cancel()
    if ended.error:
        _say(command("error", ended.error))
    return ended


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    """The runner asks before it kills: steps are stopped in their own way first."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def _accepted(work: Work) -> tuple[WorkflowEngine, ExecutionRecord]:
    """An engine that knows what has ended already, and what it is to perform. Raises UserError."""
    journal = SqliteJournal(None, durability="none")
    telling = Telling(_say, work.step)
    engine = WorkflowEngine(settings=_settings(work), journal=journal, output=telling, observers=[telling])
    engine.submissions.folders = work
    part = work.part()
    rows = rows_of(part, work.step, work.needs, work.attempt) if work.step else []
    record = _record(work, engine.submissions.plan(part))
    journal.create(record, rows)
    return engine, record


def _settings(work: Work) -> EngineSettings:
    processors = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return EngineSettings(
        max_concurrent_tasks=max(2, processors),
        resources={"cpu": float(processors), "memory": float(memory)},
        isolate_functions=True,
        env=work.env,
    )


def _record(work: Work, planned: Planned) -> ExecutionRecord:
    """Its id is the run's, so that idempotency keys are the same on whichever peer."""
    return ExecutionRecord(
        id=work.run,
        workflow=planned.spec.id,
        name=planned.spec.name or planned.spec.id,
        document=planned.document,
        plan_hash=planned.hash,
        created_ms=time.time_ns() // 1_000_000,
        inputs=work.inputs,
        submitter=work.submitter,
        priority=planned.spec.priority,
    )


def _ended_step(engine: WorkflowEngine, work: Work) -> Ended:
    position = [step.id for step in work.part().steps].index(work.step)
    row = engine.core.journal.row(work.run, position)
    assert row is not None, "the execution has ended"
    match row.state:
        case "completed":
            data = engine.core.journal.result(work.run, position)
            result = NULL if data is None else data.decode()
            return Ended("completed", row.arm or "", result).fitting(f"step '{work.step}'")
        case "skipped":
            _say(engine.explain(work.run, work.step)[0].why)
            return Ended("skipped")
        case _:
            return Ended("failed", error=_reason(engine, work, position) or row.reason)


def _reason(engine: WorkflowEngine, work: Work, position: int) -> str:
    """How its last attempt failed; empty where it was something else that kept the step from completing."""
    notes = [note for _, note in engine.core.journal.notes(work.run, position) if note.kind == "failed"]
    return f"{notes[-1].body['class']}: {notes[-1].body['message']}" if notes else ""


def _ended_whole(engine: WorkflowEngine, work: Work) -> Ended:
    result = engine.result(work.run)
    if not result.ok:
        return Ended("failed", error=result.reason)
    return Ended("completed", result=whole_result(result.outputs)).fitting(f"workflow {work.spec.id}")


if __name__ == "__main__":
    sys.exit(main())
