"""What a file may hold: every complaint with its line and column, all at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.workflow.model import Defaults, Expr, InputSpec
from coterie_protocols.workflow.parser import parse_workflow_untrusted
from coterie_protocols.workflow.workflow_file import JobFile, WorkflowFile

JOB = "jobs: {j: {runs-on: x, steps: [{run: a}]}}"


def parse(text: str) -> WorkflowFile:
    workflow, reading = parse_workflow_untrusted(text)
    assert workflow is not None
    assert not reading.failed, reading.problems
    return workflow


def problems(text: str) -> list[str]:
    _, reading = parse_workflow_untrusted(text)
    return [f"{one.position.line}:{one.position.column} {one.message}" for one in reading.problems]


def job(body: str) -> JobFile:
    return parse(f"on: push\njobs:\n  j:\n    runs-on: x\n{body}").jobs[0]


@pytest.mark.parametrize(
    ("on", "events"),
    [
        ("push", ("push",)),
        ("[push, pull_request, push]", ("push", "pull_request")),
        ("{push: {branches: [main]}, workflow_dispatch: }", ("push", "workflow_dispatch")),
        ("{schedule: [{cron: '0 0 * * *'}]}", ("schedule",)),
    ],
)
def test_on_takes_three_forms(on: str, events: tuple[str, ...]) -> None:
    assert parse(f"on: {on}\n{JOB}").events == events


def test_inputs_of_workflow_dispatch() -> None:
    text = """
on:
  workflow_dispatch:
    inputs:
      plain:
      level: {type: choice, options: [low, 2], default: 2, description: How, required: true}
      flag: {type: boolean, default: true}
"""
    assert parse(text + JOB).inputs == {
        "plain": InputSpec(),
        "level": InputSpec("choice", True, "2", ("low", "2"), "How"),
        "flag": InputSpec("boolean", default="true"),
    }


def test_a_whole_job() -> None:
    read = job(
        """    name: Job ${{ matrix.n }}
    needs: a
    if: ${{ !cancelled() }}
    env: {A: 1.10, B: , C: true, D: 0x10, E: "${{ github.sha }}"}
    defaults: {run: {shell: bash, working-directory: sub}}
    outputs: {o: "${{ steps.s.outputs.o }}"}
    strategy: {fail-fast: false, max-parallel: 2, matrix: {n: [1]}}
    timeout-minutes: ${{ matrix.n }}
    continue-on-error: true
    steps:
      - uses: actions/checkout@v4
        with: {path: src, fetch-depth: 0}
      - run: echo
        id: s
        name: Say
        shell: python
        working-directory: d
        env: {X: y}
        if: success()
        timeout-minutes: 2.5
        continue-on-error: ${{ matrix.n == 1 }}
"""
    )
    assert read.name == "Job ${{ matrix.n }}"
    assert [need.job for need in read.needs] == ["a"]
    assert read.if_ == "!cancelled()"
    assert read.env == {"A": "1.1", "B": "", "C": "true", "D": "16", "E": "${{ github.sha }}"}
    assert read.defaults == Defaults("bash", "sub")
    assert read.outputs == {"o": "${{ steps.s.outputs.o }}"}
    assert (read.strategy.fail_fast, read.strategy.max_parallel) == (False, 2)
    assert read.timeout_minutes == Expr("matrix.n")
    assert read.continue_on_error is True
    checkout, say = read.steps
    assert (checkout.id, checkout.with_) == ("__actions_checkout", {"path": "src", "fetch-depth": "0"})
    assert (say.id, say.if_, say.timeout_minutes) == ("s", "success()", 2.5)
    assert say.continue_on_error == Expr("matrix.n == 1")


def test_steps_without_an_id_get_one_each() -> None:
    read = job("    steps: [{run: a}, {run: b}, {uses: actions/checkout@v4}, {run: c, id: run}]\n")
    assert [step.id for step in read.steps] == ["__run", "__run_2", "__actions_checkout", "run"]


HEAD = "on: push\njobs:\n  j:\n    runs-on: x\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("on: push", ["1:1 Required property is missing: jobs"]),
        (JOB, ["1:1 Required property is missing: on"]),
        ("- a", ["1:1 A sequence was not expected"]),
        (f"on: psuh\n{JOB}", ["1:5 Unexpected value 'psuh'; did you mean 'push'?"]),
        (f"on: {{push: {{branch: [a]}}}}\n{JOB}", ["1:13 Unexpected value 'branch'; did you mean 'branches'?"]),
        ("on: push\njobs: {}", ["2:7 The workflow must contain at least one job with no dependencies."]),
        ("on: push\njob: {}\njobs: {a: {runs-on: x, steps: []}}", ["2:1 Unexpected value 'job'; did you mean 'jobs'?"]),
        ("on: push\njobs:\n  a: {steps: []}", ["3:6 Required property is missing: runs-on"]),
        ("on: push\njobs:\n  a: 1", ["3:6 Unexpected value '1'"]),
        (HEAD + "    steps: [{rum: a}]", ["5:13 There's not enough info", "5:14 Unexpected value 'rum'; did you mean"]),
        (HEAD + "    steps: [{shell: a}]", ["5:13 Required property is missing: run"]),
        (HEAD + "    steps: [{with: {}}]", ["5:13 Required property is missing: uses"]),
        (HEAD + "    steps: [null]", ["5:13 Unexpected value ''"]),
        (HEAD + "    steps: [{run: a, uses: b/c@d}]", ["5:22 Unexpected value 'uses'", "5:28 The action 'b/c@d'"]),
        (HEAD + "    steps: [{uses: broken}]", ["5:20 Expected format {org}/{repo}[/path]@ref. Actual 'broken'"]),
        (HEAD + "    steps: [{run: a, id: s}, {run: b, id: S}]", ["5:43 The identifier 'S' may not be used"]),
        (HEAD + "    steps: [{run: a, id: __s}]", ["5:26 The identifier '__s' is invalid. IDs starting with '__'"]),
        (HEAD + "    steps: [{run: a, timeout-minutes: soon}]", ["5:39 Unexpected value 'soon'"]),
        (HEAD + "    steps: [{run: [a]}]", ["5:19 A sequence was not expected"]),
        (HEAD + "    steps: [{run: '${{ a.b }}'}]", ["5:24 Unrecognized named-value: 'a'."]),
        (HEAD + "    steps: [{run: '${{ nope() }}'}]", ["5:24 Unrecognized function: 'nope'."]),
        (HEAD + "    steps: [{run: '${{ success() }}'}]", ["5:24 Unrecognized function: 'success'."]),
        (HEAD + "    if: env.A", ["5:9 Unrecognized named-value: 'env'."]),
        (HEAD + "    if: hashFiles('a')", ["5:9 Unrecognized function: 'hashFiles'."]),
        (HEAD + "    env: {A: '${{ env.B }}'}", ["5:19 Unrecognized named-value: 'env'."]),
        (HEAD + "    Env: {}", ["5:5 Unexpected value 'Env'; did you mean 'env'?"]),
        (HEAD + "    needs: {}", ["5:12 A mapping was not expected"]),
        (HEAD + "    strategy: {max-parallel: 0}", ["5:30 'max-parallel' must be a whole number of at least 1"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_and_column(text: str, told: list[str]) -> None:
    got = [one for one in problems(text) if "has no steps" not in one]
    assert len(got) == len(told), got
    assert all(one.startswith(beginning) for one, beginning in zip(got, sorted(told), strict=True)), got


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{type: date}", "Unexpected value 'date'"),
        ("{type: choice}", "The input 'i' is a choice without options"),
        ("{type: choice, options: [a], default: b}", "The input 'i' must be one of a, not 'b'"),
        ("{type: choice, options: a}", "Unexpected value 'a'"),
        ("{type: boolean, default: maybe}", "The input 'i' must be true or false, not 'maybe'"),
        ("{default: [a]}", "A sequence was not expected"),
        ("{requird: true}", "Unexpected value 'requird'; did you mean 'required'?"),
        ("{required: 1}", "Unexpected value '1'"),
    ],
)
def test_wrong_declarations_of_inputs_are_told(spec: str, told: str) -> None:
    got = problems(f"on: {{workflow_dispatch: {{inputs: {{i: {spec}}}}}}}\n{JOB}")
    assert any(told in one for one in got)


def test_a_choice_may_be_empty() -> None:
    read = parse(f"on: {{workflow_dispatch: {{inputs: {{i: {{type: choice, options: ['', a]}}}}}}}}\n{JOB}")
    assert read.inputs["i"].options == ("", "a")


@pytest.mark.parametrize("on", ["[]", "{}", "{schedule: daily}", "{schedule: [{cro: '* * * * *'}]}", "{nope: }", "1"])
def test_on_must_name_events(on: str) -> None:
    workflow, reading = parse_workflow_untrusted(f"on: {on}\n{JOB}")
    assert reading.failed or (workflow is not None and not workflow.events)


def test_problems_beyond_what_a_person_reads_are_counted() -> None:
    told = problems("on: push\njobs:\n" + "".join(f"  j{n}: {{steps: []}}\n" for n in range(130)))
    assert len(told) == 101
    assert told[-1].endswith("… and 30 more problems")


@pytest.mark.parametrize(
    ("body", "feature"),
    [
        ("    container: node:20", "'container'"),
        ("    services: {db: {image: x}}", "'services'"),
        ("    concurrency: one", "'concurrency'"),
        ("    environment: production", "'environment'"),
        ("    uses: ./.github/workflows/x.yml", "A reusable workflow"),
        ("    env: {A: '${{ secrets.TOKEN }}'}", "The secrets context"),
        ("    steps: [{uses: docker://alpine}]", "The container action 'docker://alpine'"),
        ("    steps: [{uses: ./here}]", "The local action './here'"),
        ("    steps: [{uses: actions/cache@v4}]", "The action 'actions/cache@v4'"),
        ("    steps: [{uses: actions/checkout@v4, with: {repository: a/b}}]", "The input 'repository'"),
        ("    steps: [{uses: actions/checkout@v4, with: {submodules: true}}]", "The input 'submodules'"),
        ("    steps: [{run: a, background: true}]", "'background'"),
        ("    env: {'${{ insert }}': 1}", "'${{ insert }}'"),
        ("    env: '${{ fromJSON(github.x) }}'", "A whole map given by an expression"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(body: str, feature: str) -> None:
    refused = [one for one in problems(HEAD + body) if "is not supported yet" in one]
    assert len(refused) == 1
    assert refused[0].split(" ", 1)[1].startswith(feature)


def test_what_is_harmless_is_only_warned_of() -> None:
    _, reading = parse_workflow_untrusted(
        HEAD
        + "    permissions: {contents: read}\n    if: ${{ github.ref }} == 'x'\n"
        + "    steps: [{run: '${{ vars.A }} ${{ vars.B }}'}, {uses: actions/checkout@v4, with: {new: 1}}]"
    )
    assert not reading.failed
    assert [one.severity for one in reading.problems] == ["warning"] * 4


def test_a_problem_inside_a_script_is_placed_in_its_line() -> None:
    text = HEAD + "    steps:\n      - run: |\n          echo\n          echo ${{ github.sha }} ${{ nope }}\n"
    _, reading = parse_workflow_untrusted(text)
    (problem,) = [one for one in reading.problems if one.severity == "error"]
    assert (problem.position.line, problem.position.column) == (8, 38)
    assert problem.holder is not None
    assert (problem.holder.line, problem.holder.column) == (6, 14)


def test_all_problems_come_at_once_and_in_order() -> None:
    told = problems("on: nope\nbad: 1\njobs:\n  0: {runs-on: x, steps: []}\n  a: {steps: [{}]}\n")
    assert [one.split(" ")[0] for one in told] == ["1:5", "2:1", "4:3", "5:6", "5:15"][: len(told)]
    assert len(told) >= 4


def test_ten_thousand_jobs_are_one_problem() -> None:
    text = "on: push\njobs:\n" + "".join(f"  j{n}: {{runs-on: x}}\n" for n in range(10_000))
    assert problems(text) == ["3:3 There are 10000 jobs; a run can have 512. Split the workflow."]


KEYS = ["on", "jobs", "push", "j", "runs-on", "steps", "run", "uses", "needs", "if", "env", "strategy", "matrix"]
VALUES = [
    "include",
    "with",
    "timeout-minutes",
    "x",
    "outputs",
    "defaults",
    "shell",
    "*a",
    "&a",
    "${{",
    "${{github.sha}}",
]
WORDS = st.sampled_from(KEYS + VALUES)
LINES = st.tuples(st.integers(0, 6), st.sampled_from(["{}: {}", "{}:", "- {}: {}", "- {}", "{}"]), WORDS, WORDS)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(LINES, max_size=25)))
def test_garbage_raises_nothing(source: str | list[tuple[int, str, str, str]]) -> None:
    if not isinstance(source, str):
        source = "\n".join("  " * depth + form.format(one, other) for depth, form, one, other in source)
    workflow, reading = parse_workflow_untrusted(source)
    assert workflow is not None or reading.failed
