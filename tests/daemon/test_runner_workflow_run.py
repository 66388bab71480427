"""A whole run as one task."""

from pathlib import Path

import pytest

from coterie.engine.machine.step_graph import Group
from coterie.runner.workflow_run import graph_of
from coterie_protocols.workflow.plan import plan_workflow
from runner_tasks import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def statuses(bench: Bench, workflow: str) -> tuple[str, dict[str, str], str]:
    result = await bench.run(bench.task(workflow, placement="run"))
    assert all(report.started_ms <= report.ended_ms for report in result.jobs)
    assert list(bench.work.iterdir()) == []
    return result.status, {report.id: report.status for report in result.jobs}, result.reason


async def test_outputs_flow_and_jobs_start_by_their_own_needs(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  a:
    runs-on: any
    outputs: {x: "${{ steps.s.outputs.x }}"}
    steps: [{id: s, run: echo x=from-a >>$GITHUB_OUTPUT}]
  b:
    needs: a
    runs-on: any
    steps: [{run: "echo b has ${{ needs.a.outputs.x }}"}]
  c: {runs-on: any, needs: [a, b], steps: [{run: "echo c after ${{ needs.b.result }}"}]}
"""
    assert await statuses(bench, workflow) == ("success", {"a": "success", "b": "success", "c": "success"}, "")
    assert "b | b has from-a" in bench.log.lines
    assert "c | c after success" in bench.log.lines
    assert bench.reported == ["a", "b", "c"]


async def test_failures_skip_and_conditions_decide(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  a: {runs-on: any, steps: [{run: exit 3}]}
  b: {needs: a, runs-on: any, steps: [{run: "true"}]}
  c: {needs: b, runs-on: any, steps: [{run: "true"}]}
  d: {needs: b, runs-on: any, if: failure(), steps: [{run: "true"}]}
  e: {needs: [c], runs-on: any, if: always(), steps: [{run: "true"}]}
  f: {needs: e, runs-on: any, steps: [{run: "true"}]}
"""
    status, jobs, reason = await statuses(bench, workflow)
    assert status == "failure"
    assert jobs == {"a": "failure", "b": "skipped", "c": "skipped", "d": "success", "e": "success", "f": "skipped"}
    assert reason == "a: step 'Run exit 3': Process completed with exit code 3."


async def test_a_job_that_may_fail(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  a: {runs-on: any, continue-on-error: true, steps: [{run: exit 1}]}
  b: {needs: a, runs-on: any, steps: [{run: "test ${{ needs.a.result }} = success"}]}
"""
    assert await statuses(bench, workflow) == ("success", {"a": "failure", "b": "success"}, "")


async def test_a_matrix_fails_fast(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  m:
    runs-on: any
    strategy: {matrix: {n: [1, 2, 3]}}
    steps: [{run: "[ ${{ matrix.n }} = 2 ] && exit 1; sleep 1000"}]
  after: {needs: m, runs-on: any, if: always(), steps: [{run: "echo ${{ needs.m.result }}"}]}
"""
    status, jobs, _ = await statuses(bench, workflow)
    assert (status, jobs) == (
        "failure",
        {"m (1)": "cancelled", "m (2)": "failure", "m (3)": "cancelled", "after": "success"},
    )
    assert "after | failure" in bench.log.lines


async def test_a_matrix_that_does_not_fail_fast_and_its_outputs(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  m:
    runs-on: any
    strategy: {fail-fast: false, max-parallel: 1, matrix: {n: [1, 2, 3]}}
    outputs: {last: "${{ steps.s.outputs.last }}", one: "${{ steps.s.outputs.one }}"}
    steps:
      - id: s
        run: |
          echo last=${{ matrix.n }} >>$GITHUB_OUTPUT
          [ ${{ matrix.n }} != 1 ] || echo one=yes >>$GITHUB_OUTPUT
          [ ${{ matrix.n }} != 2 ]
  after:
    needs: m
    runs-on: any
    if: always()
    steps: [{run: "echo ${{ needs.m.outputs.last }} ${{ needs.m.outputs.one }}"}]
"""
    status, jobs, _ = await statuses(bench, workflow)
    assert (status, jobs["m (1)"], jobs["m (2)"], jobs["m (3)"]) == ("failure", "success", "failure", "success")
    assert "after | 3 yes" in bench.log.lines


def test_the_graph_of_a_plan() -> None:
    plan = plan_workflow(
        "t.yml",
        "on: push\njobs: {m: {runs-on: any, strategy: {max-parallel: 2, matrix: {n: [1, 2]}}, steps: [{run: x}]}}",
        event="push",
    )
    graph = graph_of(plan)
    assert graph.ids == ["m (1)", "m (2)"]
    assert graph.groups == (Group(max_concurrent=2, fail_fast=True),)
    assert list(graph.group_of or ()) == [0, 0]
