"""A program that is killed again and again: it executes 200 steps, and says on a ledger what it starts.

`python child.py STORE LEDGER`. Each start goes to the ledger, by one write, before the step does anything; what a step
returns depends on what its needs returned, so that a result that was lost or mixed up shows in the last one.
"""

import os
import random
import sys
from pathlib import Path
from typing import Final

import anyio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import power_cut
from coterie.engine.context import current_context
from coterie.engine.definition import Task, Workflow
from coterie.engine.engine import WorkflowEngine

STEPS: Final = 200
CONCURRENT: Final = 4
STEP_S: Final = 0.002
KEY: Final = "the run"
RECORDED: Final = "POWER_CUT_LOG" in os.environ


def needs_of(number: int) -> list[int]:
    """The same graph each time: up to three of the twelve steps before."""
    chance = random.Random(number)
    earlier = range(max(0, number - 12), number)
    return sorted(chance.sample(earlier, min(len(earlier), chance.randint(0, 3))))


def result_of(number: int, needed: list[int]) -> int:
    """What step `number` returns."""
    return (sum(needed) * 31 + number * 7 + 1) % 1_000_003


def expected() -> list[int]:
    """What every step must have returned in the end."""
    values: list[int] = []
    for number in range(STEPS):
        values.append(result_of(number, [values[need] for need in needs_of(number)]))
    return values


def workflow_on(ledger: int) -> Workflow:
    """The workflow, whose steps write to that descriptor."""
    workflow = Workflow("killed", max_parallel=CONCURRENT)

    async def work(*needed: int) -> int:
        context = current_context()
        os.write(ledger, f"{context.step_id} {context.attempt} {context.idempotency_key}\n".encode())
        if RECORDED:
            power_cut.mark(context.step_id)
        await anyio.sleep(STEP_S)
        return result_of(int(context.step_id[1:]), list(needed))

    for number in range(STEPS):
        workflow.add_task(Task(f"s{number}", work, dependencies=[f"s{need}" for need in needs_of(number)]))
    return workflow


async def main(store: str, ledger: str) -> None:
    """Executes it, from wherever it stands, and says how it ended."""
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    engine = WorkflowEngine(CONCURRENT, store)
    try:
        workflow = engine.add_workflow(workflow_on(descriptor))
        result = await engine.execute_workflow(workflow.id, key=KEY)
        print(result.status, *[result.results[f"s{number}"] for number in range(STEPS)])
    finally:
        engine.close()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], backend="trio" if os.environ.get("BACKEND") == "trio" else "asyncio")
