"""Workflows of the engine as runs of a coterie: planned by the planner of runs, with the meaning that they had."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest

from coterie.engine.files.reader import read_workflow_text
from coterie.engine.journal.port import StepRow
from coterie.engine.machine.run_machine import Ready, RunMachine
from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import InputSpec, Merge, StepSpec, WorkflowSpec
from coterie.engine.planning.spec_problems import InvalidSpec
from coterie.engine.spread.conditions import NEEDS_SPELLED_MAX, job_condition
from coterie.engine.spread.document import EVENT, JOB_MINUTES, CannotSpread, Spread, spread, with_outputs
from coterie.engine.spread.one_step import Need, part_of, rows_of
from coterie.engine.spread.payload import read_payload
from coterie.engine.spread.reading import outputs_of, results_of
from coterie.engine.spread.references import steps_read
from coterie.engine.spread.refusals import Placement
from coterie.runner.conditions import decide, needs_functions
from coterie.runner.contexts import needs_context
from coterie_protocols.effects import NeedResult
from coterie_protocols.errors import UserError
from coterie_protocols.ops import TASKS_MAX
from coterie_protocols.workflow.model import Plan, PlannedJob
from coterie_protocols.workflow.plan import plan_workflow
from coterie_protocols.workflow.task_specs import task_specs

ETL = """coterie: 1
name: The "ETL" of ${{ nobody }}
inputs:
  count: {type: integer, default: 3}
variables: {odd: "quote ' and ${{ this"}
steps:
  fetch:
    type: process
    function: etl:fetch
    kwargs: {count: "${{ inputs.count }}"}
    retry: {max_attempts: 3, base_delay: 100ms}
    timeout: 30s
  size:
    type: conditional
    needs: fetch
    branches:
      - {name: it's many, if: "steps.fetch.result[1]", then: [square]}
      - {name: few, then: [nothing]}
  square: {type: map, needs: fetch, items: "${{ steps.fetch.result }}", step: {type: process, function: "etl:square"}}
  nothing: {type: shell, run: "echo '${{ vars.odd }}' $HOME"}
  report:
    type: process
    function: etl:report
    needs: [square, nothing]
    args: [{$result: fetch}]
outputs: {total: "${{ steps.report.result }}"}
"""


def etl() -> WorkflowSpec:
    return read_workflow_text(ETL, "etl.yml")


def planned(sheet: Spread) -> Plan:
    """As a daemon plans what is submitted to it."""
    plan = plan_workflow("etl.yml", sheet.text, event=EVENT)
    assert plan.warnings == ()
    return plan


def jobs_of(spec: WorkflowSpec, placement: Placement = "job", *, source: bool = False) -> dict[str, PlannedJob]:
    return {job.id: job for job in planned(spread(spec, {}, placement=placement, source=source)).jobs}


def flow(*steps: StepSpec, **changed: Any) -> WorkflowSpec:
    return WorkflowSpec("flow", steps=steps, **changed)


def value(id_: str, *needs: str, **changed: Any) -> StepSpec:
    return StepSpec(id_, "process", needs, config={"expression": "1"}, **changed)


# --- each step a job ---


def test_each_step_is_a_job_that_waits_for_what_it_reads() -> None:
    jobs = jobs_of(etl(), source=True)
    assert {id_: job.needs for id_, job in jobs.items()} == {
        "fetch": (),
        "size": ("fetch",),
        "square": ("fetch", "size"),
        "nothing": ("size",),
        "report": ("square", "nothing", "fetch"),
        "outputs": ("report",),
    }
    for id_, job in jobs.items():
        checkout, step = job.steps
        assert checkout.uses == "actions/checkout@v4"
        assert step.env == {"COTERIE_STEP": id_}
        assert set(job.outputs) == {"state", "arm", "result", "error"}
        assert (job.labels, job.timeout_minutes) == (("self-hosted",), JOB_MINUTES)
    assert len({job.steps[1].run for job in jobs.values()}) == 1


def test_nothing_of_the_users_is_read_by_a_shell_or_as_an_expression() -> None:
    spec = etl()
    sheet = spread(spec, {"count": 7}, placement="job", source=False)
    for text in ("quote '", "$HOME", "${{ nobody", "etl:fetch", "$result"):
        assert text not in sheet.text
    assert planned(sheet).name == 'The "ETL" of $ {{ nobody }}'
    handed, inputs = read_payload(json.loads(json.dumps(sheet.payload)))
    assert replace(handed, steps=handed.steps[:-1], outputs=spec.outputs) == replace(
        spec, steps=tuple(replace(step, line=0, column=0) for step in spec.steps)
    )
    assert inputs == {"count": 7}


def test_a_name_may_be_anything() -> None:
    spec = flow(value("a", name="a: \"b\"\n\t# \x7f\x85 ☂ 😀 ${{ github.sha }} {x} 'y'"), name="- [x]\u2028& *y !!z %")
    job = jobs_of(spec)["a"]
    assert job.name == "a: \"b\"  #    ☂ 😀 $ {{ github.sha }} {x} 'y'"


def test_options_of_a_job() -> None:
    spec = flow(value("a", tolerated=True), value("b", "a"), timeout_s=90.0)
    jobs = jobs_of(spec)
    assert [job.continue_on_error for job in jobs.values()] == [True, False]
    assert {job.timeout_minutes for job in jobs.values()} == {1.5}
    assert task_specs(planned(spread(spec, {}, placement="job", source=False)), "job")[1].conditional


def test_the_outputs_of_the_workflow_are_its_last_step() -> None:
    spec = flow(value("a"), value("Outputs", "a"), outputs={"x": "${{ steps.a.result }}"})
    last = with_outputs(spec).steps[-1]
    assert (last.id, last.needs, last.merge, dict(last.config)) == (
        "outputs-2",
        ("a",),
        "ended",
        {"values": spec.outputs},
    )
    assert with_outputs(flow(value("a"))) == flow(value("a"))


def test_steps_read_in_every_way() -> None:
    nested = {
        "type": "map",
        "config": {"items": [1], "step": {"type": "process", "config": {"expression": "steps.m.result"}}},
    }
    steps = {
        "template": StepSpec("s", "shell", ("n",), config={"run": "${{ steps.m.result }}"}),
        "if": value("s", "n", if_="steps.m.state == 'completed'"),
        "expression": StepSpec("s", "process", ("n",), config={"expression": "steps.m.result"}),
        "branch": StepSpec("s", "conditional", ("n",), config={"branches": [{"name": "x", "if": "steps.m.result"}]}),
        "argument": StepSpec("s", "process", ("n",), config={"function": "a:b", "kwargs": {"x": [{"$result": "m"}]}}),
        "map": StepSpec("s", "map", ("n",), config={"items": [1], "step": nested}),
    }
    for how, step in steps.items():
        spec = flow(value("m"), value("n", "m"), step)
        assert (how, steps_read(step, spec)) == (how, ("n", "m"))


# --- one peer for all of it ---


def test_placement_run_is_one_job() -> None:
    spec = replace(etl(), max_parallel=3, fail_fast=True, timeout_s=60.0)
    sheet = spread(spec, {}, placement="run", source=True)
    (job,) = planned(sheet).jobs
    assert (job.id, job.needs, job.steps[1].env, sheet.notes) == ("workflow", (), {}, ())
    handed, _ = read_payload(sheet.payload)
    assert (handed.outputs, handed.max_parallel, handed.timeout_s) == (spec.outputs, 3, 60.0)


# --- what it came to ---


def test_a_run_tells_what_the_workflow_came_to() -> None:
    out = StepSpec("out", "output", ("a",), config={"values": {"x": 1}})
    spec = flow(value("a"), out, value("b"), outputs={"y": "${{ steps.a.result }}"})
    jobs: list[dict[str, Any]] = [
        {"id": "a", "outputs": {"state": "completed", "result": "[1]"}},
        {"id": "out", "outputs": {"state": "completed", "result": '{"x":1}'}},
        {"id": "b", "outputs": {"state": "failed", "result": "null"}},
        {"id": "c", "outputs": {}},
        {"id": "outputs", "outputs": {"state": "completed", "result": '{"y":[1]}'}},
    ]
    assert results_of({"jobs": jobs}) == {"a": [1], "out": {"x": 1}, "outputs": {"y": [1]}}
    assert outputs_of({"jobs": jobs}, spec, "job") == {"x": 1, "y": [1]}
    assert outputs_of({"jobs": jobs[:1]}, spec, "job") == {}
    whole = {"id": "workflow", "outputs": {"state": "completed", "result": '{"y":[1]}'}}
    assert outputs_of({"jobs": [whole]}, spec, "run") == {"y": [1]}
    assert outputs_of({"jobs": [{"id": "workflow", "outputs": {"state": "failed"}}]}, spec, "run") == {}


# --- merge rules ---

CAME_TO: Mapping[str, tuple[Need, StepRow]] = {
    "completed": (Need("success", {"state": "completed", "result": "1"}), StepRow(0, "completed", result=b"1")),
    "tolerated": (Need("success", {"state": "failed"}), StepRow(0, "failed", tolerated=True)),
    "lost": (Need("success", {}), StepRow(0, "failed", tolerated=True)),
    "skipped itself": (Need("success", {"state": "skipped"}), StepRow(0, "skipped")),
    "skipped": (Need("skipped", {}), StepRow(0, "skipped")),
    "failed": (Need("failure", {"state": "failed"}), StepRow(0, "failed")),
    "cancelled": (Need("cancelled", {}), StepRow(0, "cancelled")),
}


def starts(condition: str, needs: Mapping[str, Need]) -> bool:
    """Does a peer start a job with that `if`?"""
    results = {id_: NeedResult(need.result, need.outputs) for id_, need in needs.items()}
    functions = needs_functions({id_: need.result for id_, need in needs.items()})
    return decide(condition, {"needs": needs_context(results)}, functions).holds


def runs(spec: WorkflowSpec, rows: list[StepRow]) -> bool:
    """Does the engine run the last step, where the others ended so?"""
    machine = RunMachine.restore(StepGraph.of_spec(spec), rows, 0)
    machine.begin(0)
    return Ready(len(spec.steps) - 1) in machine.take_effects()


@pytest.mark.parametrize("merge", [merge for merge in get_args(Merge) if merge != "first"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("if_", ["", "true"])
def test_a_job_starts_where_the_engine_would_run_the_step(merge: Merge, count: int, if_: str) -> None:
    ids = [f"n-{number}" for number in range(count)]
    last = value("last", *ids, merge=merge)
    spec = flow(*(value(id_, if_=if_) for id_ in ids), last)
    possible = [end for end in CAME_TO if if_ or end != "skipped itself"]
    for ends in product(possible, repeat=count):
        needs = {id_: CAME_TO[end][0] for id_, end in zip(ids, ends, strict=True)}
        rows = [replace(CAME_TO[end][1], position=position, ended_ms=1) for position, end in enumerate(ends)]
        expected = runs(spec, rows)
        assert (ends, starts(job_condition(last, spec), needs)) == (ends, expected)
        part = part_of(spec, last)
        assert (ends, runs(part, rows_of(part, "last", needs, 1))) == (ends, expected)


@pytest.mark.parametrize(("arm", "expected"), [("it's", True), ("other", False), ("", False), (None, False)])
def test_an_arm_must_have_been_chosen(arm: str | None, expected: bool) -> None:
    step = value("step", "chooser", arms={"chooser": "it's"})
    outputs = {"state": "completed"} if arm is None else {"state": "completed", "arm": arm}
    assert starts(job_condition(step, flow(value("chooser"), step)), {"chooser": Need("success", outputs)}) is expected


def test_a_rule_that_no_expression_can_hold_is_left_to_the_job() -> None:
    ids = [f"{'x' * 90}-{number}" for number in range(400)]
    few = value("few", *ids[:NEEDS_SPELLED_MAX])
    spec = flow(*(value(id_, if_="true") for id_ in ids), value("last", *ids), few, value("after", "last"))
    jobs = jobs_of(spec)
    assert jobs["last"].if_ == "always()"
    assert jobs["few"].if_ is not None
    assert len(jobs["few"].if_) > 10_000
    assert jobs["after"].if_ == "always() && (needs.last.result == 'success' && needs.last.outputs.state != 'skipped')"
    part = part_of(spec, spec.steps[-3])
    needs = dict.fromkeys(ids, Need("success", {"state": "completed"}))
    assert runs(part, rows_of(part, "last", needs, 1))
    assert not runs(part, rows_of(part, "last", {**needs, ids[7]: Need("failure", {})}, 1))


def test_an_ordinary_condition_can_be_read() -> None:
    spec = flow(
        value("a"), value("b", "a"), StepSpec("c", "process", config={"function": "x:y", "args": [{"$result": "a"}]})
    )
    assert {id_: job.if_ for id_, job in jobs_of(spec).items()} == {
        "a": None,
        "b": "always() && needs.a.result == 'success'",
        "c": "always()",
    }


# --- one step by itself ---


def test_a_part_has_the_step_and_what_it_reads() -> None:
    spec = etl()
    part = part_of(spec, spec.steps[-1])
    assert [step.id for step in part.steps] == ["fetch", "square", "nothing", "report"]
    assert [step.type for step in part.steps] == ["process"] * 4
    assert part.steps[1].needs == ("fetch",)
    assert (part.outputs, part.variables) == ({}, spec.variables)


def test_earlier_attempts_of_other_peers_count_as_lost() -> None:
    part = flow(value("a"))
    assert rows_of(part, "a", {}, 1) == []
    (row,) = rows_of(part, "a", {}, 3)
    assert (row.state, row.attempt, row.lost) == ("running", 2, 1)
    machine = RunMachine.restore(StepGraph.of_spec(part), [row], 0)
    machine.begin(0)
    machine.wake(0)
    machine.started(0, 0)
    assert (machine.row(0).attempt, machine.row(0).lost) == (3, 2)
    (row,) = rows_of(part, "a", {}, 900)
    assert row.attempt < 10


def test_a_need_of_which_nothing_is_known_is_told() -> None:
    with pytest.raises(UserError, match="does not tell"):
        rows_of(flow(value("a"), value("b", "a")), "b", {}, 1)


# --- what cannot be ---

REFUSED: list[tuple[StepSpec, str]] = [
    (StepSpec("s", "input", config={"fields": [{"name": "ok"}]}), "asks a person"),
    (StepSpec("s", "wait", config={"signal": "go"}), "waits for a signal"),
    (StepSpec("s", "wait", config={"execution": "ex-1"}), "waits for an execution"),
    (StepSpec("s", "workflow", config={"id": "other"}), "runs another workflow"),
    (StepSpec("s", "map", config={"items": [1], "step": {"type": "wait", "config": {"signal": "go"}}}), "for a signal"),
    (StepSpec("s", "map", config={"items": [1], "step": {"type": "shell", "config": {"run": "x"}, "key": "k"}}), "'k'"),
    (value("s", "a", "b", merge="first"), "merge: first"),
    (value("s", compensate=StepSpec("s-undo", "shell", ("s",), config={"run": "x"})), "compensation"),
    (value("s", key="database"), "'database'"),
    (value("s", resources={"cpu": 1.0, "licence": 1.0}), "takes licence"),
    (value("__s"), "cannot be that of a job"),
    (value("A"), "differ by case"),
    (
        StepSpec("s", "conditional", config={"branches": [{"name": "x", "if": "true"}, {"name": "X"}]}),
        "x and X apart by case",
    ),
]


@pytest.mark.parametrize(("step", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_peers_cannot_do_together_is_refused(step: StepSpec, told: str) -> None:
    with pytest.raises(CannotSpread) as caught:
        spread(flow(value("a"), value("b"), step), {}, placement="job", source=False)
    assert told in caught.value.message
    assert "placement local" in caught.value.hint


def test_one_peer_alone_can_do_more() -> None:
    able = [step for step, told in REFUSED if told.split()[0] not in ("asks", "waits", "for", "runs", "takes")]
    for step in able:
        spread(flow(value("a"), value("b"), step), {}, placement="run", source=False)
    inner: dict[str, Any] = {"schema": "coterie.workflow/1", "id": "inner", "steps": []}
    below = StepSpec("s", "workflow", config={"document": inner})
    spread(flow(below), {}, placement="run", source=False)
    for step, told in REFUSED[:3]:
        with pytest.raises(CannotSpread, match=told):
            spread(flow(step), {}, placement="run", source=False)
    with pytest.raises(CannotSpread, match="give its document"):
        spread(flow(REFUSED[3][0]), {}, placement="run", source=False)


@pytest.mark.parametrize("placement", get_args(Placement))
def test_a_workflow_without_steps_is_refused(placement: Placement) -> None:
    with pytest.raises(CannotSpread, match="no steps"):
        spread(flow(), {}, placement=placement, source=False)


def test_more_steps_than_jobs_are_refused() -> None:
    steps = [value(f"s{number}") for number in range(TASKS_MAX)]
    spread(flow(*steps), {}, placement="job", source=False)
    with pytest.raises(CannotSpread, match=f"{TASKS_MAX} jobs"):
        spread(flow(*steps, outputs={"x": "1"}), {}, placement="job", source=False)


def test_all_reasons_are_told_at_once() -> None:
    with pytest.raises(CannotSpread) as caught:
        spread(
            flow(value("a", key="k"), StepSpec("b", "wait", config={"signal": "x"})), {}, placement="job", source=False
        )
    assert "step 'a'" in caught.value.message
    assert "step 'b'" in caught.value.message


def test_what_is_done_differently_is_told() -> None:
    many = [value(f"s{number}", priority=1.0) for number in range(7)]
    queued = value("q", queue_timeout_s=1.0, resources={"cpu": 1.0})
    spec = flow(*many, queued, max_parallel=2, fail_fast=True, timeout_s=60.0)
    sheet = spread(spec, {}, placement="job", source=False)
    told = " ".join(sheet.notes)
    for text in ("max_parallel", "fail_fast", "60 s", "(of s0, s1, s2, s3, s4, …)", "queue_timeout", "resources"):
        assert text in told
    assert spread(spec, {}, placement="run", source=False).notes == ()
    assert spread(flow(value("a")), {}, placement="job", source=False).notes == ()


def test_what_is_wrong_is_told_before_it_is_submitted() -> None:
    with pytest.raises(InvalidSpec, match="type 'unheard'"):
        spread(flow(StepSpec("a", "unheard")), {}, placement="job", source=False)
    with pytest.raises(InvalidSpec, match="does not wait for it"):
        spread(flow(value("a"), value("b", if_="steps.a.result")), {}, placement="job", source=False)
    with pytest.raises(UserError, match="'n' is required"):
        spread(flow(value("a"), inputs=(InputSpec("n", required=True),)), {}, placement="job", source=False)


@pytest.mark.parametrize(
    ("event", "told"),
    [([], "no workflow"), ({}, "no workflow"), ({"coterie": {"schema": "coterie.spread/9"}}, "one version")],
)
def test_events_of_others_are_refused(event: object, told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_payload(event)
    assert told in f"{caught.value.message} {caught.value.hint}"
