"""The tasks of a run as they are submitted."""

import pytest

from coterie_protocols.errors import InvalidWorkflow
from coterie_protocols.ops import TaskSpec
from coterie_protocols.workflow.plan import plan_workflow
from coterie_protocols.workflow.task_specs import task_specs

TEXT = """
on: push
jobs:
  a: {runs-on: [linux, big], steps: [{run: a}]}
  b:
    needs: a
    if: always()
    continue-on-error: true
    strategy: {max-parallel: 1, matrix: {v: [1, 2]}}
    runs-on: linux
    steps: [{run: a}]
  c: {needs: b, runs-on: mac, strategy: {fail-fast: false, matrix: {v: [1, 2]}}, steps: [{run: a}]}
"""


def test_a_task_for_every_job() -> None:
    plan = plan_workflow("ci.yml", TEXT, event="push")
    assert task_specs(plan, "job") == (
        TaskSpec("a", "a", (), ("linux", "big")),
        TaskSpec("b (1)", "b", ("a",), ("linux",), True, True, fail_fast=True, max_parallel=1),
        TaskSpec("b (2)", "b", ("a",), ("linux",), True, True, fail_fast=True, max_parallel=1),
        TaskSpec("c (1)", "c", ("b",), ("mac",)),
        TaskSpec("c (2)", "c", ("b",), ("mac",)),
    )


def test_one_task_for_the_whole_run() -> None:
    plan = plan_workflow("ci.yml", TEXT, event="push")
    assert task_specs(plan, "run") == (TaskSpec("run", "run", (), ("linux", "big", "mac")),)


def test_one_peer_cannot_have_any_number_of_labels() -> None:
    jobs = "".join(f"  j{n}: {{runs-on: l{n}, steps: [{{run: a}}]}}\n" for n in range(33))
    plan = plan_workflow("ci.yml", "on: push\njobs:\n" + jobs, event="push")
    assert len(task_specs(plan, "job")) == 33
    with pytest.raises(InvalidWorkflow, match="33 labels"):
        task_specs(plan, "run")
