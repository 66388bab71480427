"""Random workflows: what users might submit, from a source of chance."""

from dataclasses import replace
from random import Random
from typing import Final, cast

from coterie_protocols.encoding import Cid
from coterie_protocols.ops import CARES, Care, Submit, TaskSpec

LABELS: Final = ("linux", "arm", "gpu")
PRIORITIES: Final = (1.0, 2.0, 3.0, 3.0, 3.0, 6.0)
JOBS_MAX: Final = 6
CELLS_MAX: Final = 6


def random_submit(chance: Random, plan: Cid, source: Cid | None) -> Submit:
    """A run of a few jobs with needs, matrices, labels and all the rest."""
    if chance.random() < 0.1:
        return _submit(chance, plan, source, (TaskSpec("workflow", "workflow", (), ("linux",)),), "run")
    tasks: list[TaskSpec] = []
    for number in range(chance.randint(1, JOBS_MAX)):
        tasks += _random_job(chance, f"job{number}", tasks)
    return _submit(chance, plan, source, tuple(tasks), "job")


def _submit(chance: Random, plan: Cid, source: Cid | None, tasks: tuple[TaskSpec, ...], placement: str) -> Submit:
    care = chance.choice(("normal",) * 6 + tuple(sorted(CARES)))
    return Submit(
        workflow=".github/workflows/random.yml",
        event="push",
        plan=plan,
        source=source,
        inputs={"level": str(chance.randint(1, 9))},
        priority=chance.choice(PRIORITIES),
        placement="run" if placement == "run" else "job",
        care=cast(Care, care),
        retries=chance.choice((0, 0, 1, 2)),
        tasks=tasks,
    )


def _random_job(chance: Random, job: str, earlier: list[TaskSpec]) -> list[TaskSpec]:
    jobs = list(dict.fromkeys(task.job for task in earlier))
    needed = set(chance.sample(jobs, min(len(jobs), chance.choice((0, 1, 1, 2)))))
    needs = tuple(task.id for task in earlier if task.job in needed)
    labels = tuple(chance.sample(LABELS, chance.choice((0, 1, 1, 2))))
    cells = chance.choice((1, 1, 1, chance.randint(2, CELLS_MAX)))
    spec = TaskSpec(
        id=job,
        job=job,
        needs=needs,
        labels=labels,
        conditional=chance.random() < 0.2,
        continue_on_error=chance.random() < 0.2,
        fail_fast=cells > 1 and chance.random() < 0.5,
        max_parallel=chance.choice((0, 1, 2)) if cells > 1 else 0,
    )
    return [spec] if cells == 1 else [replace(spec, id=f"{job} ({cell})") for cell in range(cells)]


def independent_submit(plan: Cid, count: int) -> Submit:
    """A run of `count` jobs that depend on nothing."""
    tasks = tuple(TaskSpec(f"job{number}", f"job{number}", (), ()) for number in range(count))
    return Submit("many.yml", "push", plan, None, {}, 3.0, "job", "normal", 0, tasks)
