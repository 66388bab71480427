"""From the text of a workflow to the tasks of a run."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.errors import InvalidWorkflow, UserError
from coterie_protocols.workflow.model import Expr, Plan, PlannedJob, Strategy
from coterie_protocols.workflow.plan import UnplannableWorkflow, plan_workflow

STEPS = "steps: [{run: a}]"


def plan(text: str, **given: str) -> Plan:
    return plan_workflow("ci.yml", "on: workflow_dispatch\n" + text, inputs=given)


def by_id(planned: Plan) -> dict[str, PlannedJob]:
    return {job.id: job for job in planned.jobs}


def told(text: str) -> list[str]:
    with pytest.raises(UnplannableWorkflow) as caught:
        plan_workflow("ci.yml", text, event="push")
    assert len(caught.value.problems) == len(caught.value.message.splitlines())
    return caught.value.message.splitlines()


def test_jobs_come_after_what_they_need_whatever_the_case_and_order_of_the_file() -> None:
    jobs = {"C": "needs: [B, a], ", "b": "needs: A, ", "A": ""}
    planned = plan("jobs:\n" + "".join(f"  {key}: {{{needs}runs-on: x, {STEPS}}}\n" for key, needs in jobs.items()))
    assert [(job.id, job.stage, job.needs_jobs) for job in planned.jobs] == [
        ("A", 0, ()),
        ("b", 1, ("A",)),
        ("C", 2, ("b", "A")),
    ]


MATRIX = f"""
jobs:
  test:
    strategy:
      max-parallel: 2
      matrix:
        py: [3.10, "3.11"]
        os: [linux, mac]
        include: [{{py: "3.11", os: mac, last: true}}]
    runs-on: ["${{{{ matrix.os }}}}", Self-Hosted]
    continue-on-error: ${{{{ matrix.last == true }}}}
    timeout-minutes: ${{{{ strategy.job-index + 1 }}}}
    {STEPS}
  after: {{needs: test, runs-on: x, {STEPS}}}
"""


def test_every_cell_of_a_matrix_is_a_task() -> None:
    jobs = by_id(plan(MATRIX.replace("strategy.job-index + 1", "fromJSON('[5, 6, 7, 8]')[strategy.job-index]")))
    cells = ["test (3.1, linux)", "test (3.1, mac)", "test (3.11, linux)", "test (3.11, mac)"]
    assert list(jobs) == [*cells, "after"]
    assert jobs["after"].needs == tuple(cells)
    assert jobs["after"].needs_jobs == ("test",)
    last = jobs["test (3.11, mac)"]
    assert last.matrix == {"py": "3.11", "os": "mac", "last": True}
    assert last.labels == ("mac", "self-hosted")
    assert last.strategy == Strategy(True, 3, 4, 2)
    assert (last.continue_on_error, last.timeout_minutes) == (True, 8)
    assert jobs[cells[0]].continue_on_error is False


def test_a_matrix_may_be_computed_from_what_is_known() -> None:
    text = """on:
  workflow_dispatch: {inputs: {versions: {default: '["1", "2"]'}, big: {type: boolean}}}
jobs:
  a:
    strategy:
      matrix:
        v: ${{ fromJSON(inputs.versions) }}
        os: [linux, "${{ fromJSON('[7, 8]') }}"]
        "${{ insert }}": {k: ["${{ inputs.big }}"]}
    name: ${{ matrix.v }} on ${{ matrix.os }}
    runs-on: x
    steps: [{run: a}]
"""
    planned = plan_workflow("ci.yml", text, inputs={"versions": "[3]", "big": "true"})
    assert [job.matrix for job in planned.jobs] == [
        {"v": 3, "os": "linux", "k": True},
        {"v": 3, "os": 7, "k": True},
        {"v": 3, "os": 8, "k": True},
    ]
    assert planned.jobs[1].name == "3 on 7"
    assert planned.jobs[1].id == "a (3, 7, true)"


def test_names_have_the_cell_behind_them_and_ids_stay_unique_and_short() -> None:
    include = f"[{{v: 1}}, {{v: 1}}, {{v: {'y' * 200}}}]"
    text = f"jobs: {{a: {{name: Test, runs-on: x, strategy: {{matrix: {{include: {include}}}}}, {STEPS}}}}}"
    planned = plan(text)
    assert [job.name for job in planned.jobs][:2] == ["Test (1)", "Test (1)"]
    assert [job.id for job in planned.jobs][:2] == ["a (1)", "a (1) #2"]
    assert len(planned.jobs[2].id) == 100


@pytest.mark.parametrize(
    ("runs_on", "labels"),
    [
        ("Linux", ("linux",)),
        ("[a, B, A]", ("a", "b")),
        ("{labels: [a, b]}", ("a", "b")),
        ("{labels: a}", ("a",)),
        ("\"${{ github.event_name == 'push' && 'p' || 'd' }}\"", ("d",)),
        ('"${{ fromJSON(\'[\\"q\\", \\"r\\"]\') }}"', ("q", "r")),
    ],
)
def test_labels_are_evaluated(runs_on: str, labels: tuple[str, ...]) -> None:
    assert plan(f"jobs:\n  a:\n    runs-on: {runs_on}\n    {STEPS}").jobs[0].labels == labels


def test_what_depends_on_other_jobs_stays_an_expression() -> None:
    text = """
jobs:
  a: {runs-on: x, steps: []}
  b:
    needs: a
    runs-on: x
    name: B ${{ needs.a.result }}
    timeout-minutes: ${{ needs.a.outputs.t }}
    continue-on-error: ${{ needs.a.outputs.c }}
    steps: []
"""
    job = by_id(plan(text))["b"]
    assert job.timeout_minutes == Expr("needs.a.outputs.t")
    assert job.continue_on_error == Expr("needs.a.outputs.c")
    assert job.name == "b"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("needs: b", "ci.yml:3:14: Job 'a' depends on unknown job 'b'."),
        ("needs: a", "ci.yml:3:14: Job 'a' depends on job 'a' which creates a cycle in the dependency graph. (a -> a)"),
        ("strategy: {matrix: {v: []}}", "ci.yml:3:30: Matrix vector 'v' does not contain any values"),
        ("strategy: {matrix: {v: [1], exclude: [{v: 1}]}}", "ci.yml:3:26: The matrix excludes all of its combinations"),
        ("strategy: {matrix: '${{ needs.x.outputs.m }}'}", "ci.yml:3:26: 'needs' here"),
        ("strategy: {matrix: '${{ secrets.m }}'}", "ci.yml:3:26: Unrecognized named-value: 'secrets'."),
        ("strategy: {matrix: {v: ['${{ fromJSON(1, 2) }}']}}", "ci.yml:3:31: Too many parameters supplied"),
        ("strategy: {fail-fast: '${{ 1 }}'}", "ci.yml:3:7: 'fail-fast' must be true or false"),
        ("timeout-minutes: '${{ github.nothing_such }}x'", "ci.yml:3:24: Unexpected value"),
        ("timeout-minutes: '${{ matrix }}'", "ci.yml:3:3: 'timeout-minutes' must be a number greater than 0"),
        ("continue-on-error: '${{ 1 }}'", "ci.yml:3:3: 'continue-on-error' must be true or false"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_told_with_its_place(body: str, message: str) -> None:
    lines = told(f"on: push\njobs:\n  a: {{{body}, runs-on: x, {STEPS}}}")
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize("runs_on", ["''", "[]", "[a, {b: c}]", "'${{ matrix.none }}'", "{}", "{group: g}"])
def test_a_job_needs_labels(runs_on: str) -> None:
    assert len(told(f"on: push\njobs:\n  a: {{runs-on: {runs_on}, {STEPS}}}")) == 1


def test_a_cycle_names_its_jobs_in_order() -> None:
    needs = {"a": "b", "b": "c", "c": "a"}
    jobs = [f"  {job}: {{runs-on: x, needs: [{need}], {STEPS}}}\n" for job, need in needs.items()]
    lines = told("on: push\njobs:\n" + "".join(jobs))
    assert [line for line in lines if line.endswith("(a -> b -> c -> a)")] == [
        f"ci.yml:{line}:27: Job '{job}' depends on job '{need}' which creates a cycle in the dependency graph. "
        "(a -> b -> c -> a)"
        for line, (job, need) in enumerate(needs.items(), start=3)
    ]


def test_too_many_tasks_are_one_clear_problem() -> None:
    cells = f"runs-on: x, strategy: {{matrix: {{n: {list(range(200))}}}}}, {STEPS}"
    (line,) = told("on: push\njobs:\n" + "".join(f"  j{n}: {{{cells}}}\n" for n in range(3)))
    assert "The run has 600 jobs with all matrices; a run can have 512" in line


def test_the_event_must_be_one_that_the_workflow_listens_to() -> None:
    text = f"on: [pull_request, push]\njobs: {{a: {{runs-on: x, {STEPS}}}}}"
    with pytest.raises(UserError, match="not listen to workflow_dispatch; it listens to pull_request, push") as caught:
        plan_workflow("ci.yml", text)
    assert "--event pull_request" in caught.value.hint
    assert plan_workflow("ci.yml", text, event=None).events == ("pull_request", "push")
    with pytest.raises(UserError, match="takes no inputs"):
        plan_workflow("ci.yml", text, event="push", inputs={"a": "b"})


def test_wrong_inputs_stop_the_plan_but_not_before_the_file_is_told() -> None:
    text = f"on: {{workflow_dispatch: {{inputs: {{a: {{required: true}}}}}}}}\njobs: {{a: {{runs-on: x, {STEPS}}}}}"
    with pytest.raises(UserError, match="'a' is required"):
        plan_workflow("ci.yml", text)
    assert plan_workflow("ci.yml", text, require_inputs=False).inputs["a"].required
    with pytest.raises(UnplannableWorkflow, match="Unexpected value 'tep'"):
        plan_workflow("ci.yml", text.replace("steps", "tep"))


@pytest.mark.parametrize(
    "body",
    [
        "strategy: {matrix: {'${{ insert }}': [1]}}",
        "strategy: {matrix: {v: ['a ${{ nope }}']}}",
        "strategy: {matrix: {v: ['a ${{']}}",
        "strategy: {max-parallel: '${{ true }}', matrix: {v: [1]}}",
        "strategy: {matrix: }",
        "name: '${{ fromJSON(1.2.3) }}'",
        "timeout-minutes: .inf",
        "timeout-minutes: 0",
    ],
)
def test_other_values_that_cannot_be_known_are_problems_too(body: str) -> None:
    assert told(f"on: push\njobs:\n  a: {{{body}, runs-on: x, {STEPS}}}")


def test_there_is_a_bound_to_labels() -> None:
    (line,) = told(f"on: push\njobs: {{a: {{runs-on: {[f'l{n}' for n in range(33)]}, {STEPS}}}}}")
    assert "32 labels" in line


def test_a_name_of_text_and_values_is_evaluated() -> None:
    planned = plan(f"jobs: {{a: {{runs-on: x, name: 'On ${{{{ github.event_name }}}} ${{{{ 1.50 }}}}', {STEPS}}}}}")
    assert planned.jobs[0].name == "On workflow_dispatch 1.5"


def test_a_problem_stays_on_its_line_and_commands_no_terminal() -> None:
    (line,) = told(f'on: push\n"a\\n\\e[2J": 1\njobs: {{a: {{runs-on: x, {STEPS}}}}}')
    assert line == "ci.yml:2:1: Unexpected value 'a\\n\\x1b[2J'"


def test_a_matrix_cannot_keep_the_planner_busy() -> None:
    items = ", ".join(["{a: 0}"] * 20_000)
    vectors = ", ".join(f"{name}: {list(range(16))}" for name in "abcd")
    strategy = f"strategy: {{matrix: {{{vectors}, exclude: [{items}]}}}}"
    (line,) = told(f"on: push\njobs: {{j: {{runs-on: x, {strategy}, {STEPS}}}}}")
    assert "65536 combinations before 'exclude'" in line


def test_warnings_are_kept_and_do_not_stop_the_plan() -> None:
    planned = plan(f"permissions: read-all\njobs: {{a: {{runs-on: x, {STEPS}}}}}")
    assert [one.message for one in planned.warnings] == ["There are no tokens here: 'permissions' changes nothing"]


@pytest.mark.parametrize("source", ["", b"\x00\x01\x02", "a: [", "- x", "on: push\njobs: 1", "42"])
def test_a_file_that_is_none_is_an_invalid_workflow(source: str | bytes) -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        plan_workflow("dir/ci.yml", source)
    assert caught.value.message.startswith("dir/ci.yml:")
    assert caught.value.exit_code == 65


def test_five_hundred_jobs_are_planned_at_once() -> None:
    text = "on: push\njobs:\n" + "".join(
        f"  j{n}: {{runs-on: x, needs: [{f'j{n - 1}' if n else ''}], steps: [{{run: 'echo ${{{{ github.sha }}}}'}}]}}\n"
        for n in range(500)
    )
    begin = time.perf_counter()
    planned = plan_workflow("ci.yml", text, event="push")
    assert time.perf_counter() - begin < 2.0  # about 0.05 s; the bound only catches a change of complexity
    assert planned.jobs[-1].stage == 499


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.lists(st.sampled_from("abcdefx"), max_size=3), st.sampled_from(["", "[1, 2]", "'${{ 1 }}'", "1"])),
        min_size=1,
    )
)
def test_any_graph_is_planned_in_order_or_refused(jobs: dict[str, tuple[list[str], str]]) -> None:
    text = "on: push\njobs:\n"
    for key, (needs, vector) in jobs.items():
        matrix = f"strategy: {{matrix: {{v: {vector}}}}}, " if vector else ""
        text += f"  {key}: {{needs: [{', '.join(needs)}], {matrix}runs-on: x, {STEPS}}}\n"
    try:
        planned = plan_workflow("ci.yml", text, event="push")
    except UnplannableWorkflow as unplannable:
        assert unplannable.problems  # noqa: PT017
        return
    earlier: set[str] = set()
    for job in planned.jobs:
        assert earlier.issuperset(job.needs)
        assert job.id not in earlier
        earlier.add(job.id)
