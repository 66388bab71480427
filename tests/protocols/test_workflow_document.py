"""The plan blob and the plan as JSON."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.errors import BadMessage, UserError
from coterie_protocols.workflow.document import (
    SUBMISSION_BYTES_MAX,
    decode_submission_untrusted,
    plan_to_json,
    submission_to_bytes,
)
from coterie_protocols.workflow.model import (
    Defaults,
    Expr,
    InputSpec,
    Json,
    Plan,
    PlannedJob,
    Position,
    Problem,
    Step,
    Strategy,
    Submission,
)
from coterie_protocols.workflow.plan import plan_workflow

TEXT = """
on: {workflow_dispatch: {inputs: {n: {type: number, default: 1}}}}
env: {B: b, A: a}
jobs:
  build: {runs-on: linux, steps: [{run: make, id: m, if: always()}, {uses: actions/checkout@v4}]}
  test:
    needs: build
    if: github.ref == 'x'
    strategy: {matrix: {v: [1, 2.5, {deep: [null]}]}}
    runs-on: x
    timeout-minutes: ${{ needs.build.outputs.t }}
    steps: [{run: "a\\nb", timeout-minutes: 5, continue-on-error: "${{ matrix.v == 1 }}"}]
"""


def submission() -> Submission:
    payload: dict[str, Json] = {"x": [1, {"y": None}]}
    return Submission(plan_workflow("ci.yml", TEXT), "workflow_dispatch", payload, {"n": 1}, {"sha": "s"})


def test_a_planned_submission_comes_back_as_it_was() -> None:
    data = submission_to_bytes(submission())
    back = decode_submission_untrusted(data)
    assert back == submission()
    assert submission_to_bytes(back) == data
    assert list(back.plan.env) == ["B", "A"]


def test_the_cells_of_a_matrix_share_their_steps() -> None:
    script = "x" * 10_000
    strategy = f"strategy: {{matrix: {{v: {list(range(200))}}}}}"
    text = f"on: push\njobs: {{a: {{runs-on: x, {strategy}, steps: [{{run: {script}}}]}}}}"
    data = submission_to_bytes(Submission(plan_workflow("ci.yml", text, event="push"), "push", {}, {}, {}))
    assert len(data) < 60_000
    jobs = decode_submission_untrusted(data).plan.jobs
    assert len({id(job.steps) for job in jobs}) == 1


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.one_of(st.integers(0, 99), st.floats(0, 99))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)
EXPRS = st.builds(Expr, NAMES)
TEXTS = st.dictionaries(NAMES, NAMES, max_size=2)
OPTIONAL = st.one_of(st.none(), NAMES)
POSITIONS = st.builds(Position, st.integers(0, 9), st.integers(0, 9))
DEFAULTS = st.builds(Defaults, OPTIONAL, OPTIONAL)
TIMEOUTS = st.one_of(st.none(), NUMBERS, EXPRS)
FLAGS = st.one_of(st.booleans(), EXPRS)
STEPS = st.builds(
    Step, NAMES, POSITIONS, OPTIONAL, OPTIONAL, OPTIONAL, TEXTS, TEXTS, OPTIONAL, OPTIONAL, OPTIONAL, TIMEOUTS, FLAGS
)
STRATEGIES = st.builds(Strategy, st.booleans(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
JOBS = st.builds(
    PlannedJob,
    id=NAMES,
    job=NAMES,
    name=NAMES,
    position=POSITIONS,
    needs=st.just(()),
    needs_jobs=st.lists(NAMES, max_size=2).map(tuple),
    labels=st.lists(NAMES, max_size=2).map(tuple),
    stage=st.integers(0, 9),
    steps=st.lists(STEPS, max_size=2).map(tuple),
    if_=OPTIONAL,
    env=TEXTS,
    defaults=DEFAULTS,
    outputs=TEXTS,
    matrix=st.dictionaries(NAMES, JSON, max_size=2),
    strategy=STRATEGIES,
    timeout_minutes=TIMEOUTS,
    continue_on_error=FLAGS,
)
INPUTS = st.builds(InputSpec, st.sampled_from(["string", "choice"]), st.booleans(), OPTIONAL, st.just(("a",)), NAMES)
PROBLEMS = st.builds(Problem, NAMES, POSITIONS, st.sampled_from(["error", "warning"]), st.one_of(st.none(), POSITIONS))
PLANS = st.builds(
    Plan,
    NAMES,
    NAMES,
    OPTIONAL,
    st.lists(NAMES, max_size=2).map(tuple),
    st.dictionaries(NAMES, INPUTS, max_size=2),
    TEXTS,
    DEFAULTS,
    st.lists(JOBS, max_size=3, unique_by=lambda job: job.id).map(tuple),
    st.lists(PROBLEMS, max_size=2).map(tuple),
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=2)


@settings(deadline=None)
@given(st.builds(Submission, PLANS, NAMES, OBJECTS, OBJECTS, TEXTS))
def test_any_submission_comes_back_as_it_was(original: Submission) -> None:
    data = submission_to_bytes(original)
    assert decode_submission_untrusted(data) == original


def changed(path: list[Any], value: Any) -> bytes:
    document = json.loads(submission_to_bytes(submission()))
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return json.dumps(document).encode()


BROKEN: list[tuple[list[Any], Any]] = [
    (["format"], "coterie.submission/9"),
    (["plan"], None),
    (["plan", "jobs", 0, "body"], 7),
    (["plan", "jobs", 0, "body"], -1),
    (["plan", "bodies"], []),
    (["plan", "jobs", 1, "id"], "build"),
    (["plan", "bodies", 0, "needs"], ["test (1)"]),
    (["plan", "bodies", 0, "steps", 0, "run"], 1),
    (["plan", "bodies", 0, "steps", 0, "timeout_minutes"], "soon"),
    (["plan", "bodies", 0, "steps", 0, "continue_on_error"], {"expr": 1}),
    (["plan", "bodies", 0, "steps"], [{}] * 1001),
    (["plan", "bodies", 0, "position"], [1]),
    (["plan", "bodies", 0, "position"], [1, True]),
    (["plan", "bodies", 0, "env"], [["a"]]),
    (["plan", "jobs", 0, "strategy"], [1, 2, 3, 4]),
    (["plan", "jobs", 0, "labels"], ["x"] * 33),
    (["plan", "inputs", 0, 1, "type"], "date"),
    (["plan", "warnings"], [["m", [1, 1], "fatal", None]]),
    (["payload"], []),
    (["git"], {"sha": "s"}),
]


@pytest.mark.parametrize(("path", "value"), BROKEN)
def test_a_document_that_breaks_the_rules_is_a_bad_message(path: list[Any], value: Any) -> None:
    with pytest.raises(BadMessage):
        decode_submission_untrusted(changed(path, value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"NaN",
        b'{"format": 1}',
        b"[" * 100_000,
        b"1" * 5000,
        b" " * (SUBMISSION_BYTES_MAX + 1),
    ],
)
def test_bytes_that_are_no_document_are_a_bad_message(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_submission_untrusted(data)


@settings(deadline=None)
@given(st.binary())
def test_garbage_is_a_bad_message(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_submission_untrusted(data)


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": "\ud800"}, {"x": "y" * SUBMISSION_BYTES_MAX}])
def test_what_json_cannot_hold_is_the_users_to_change(payload: Any) -> None:
    with pytest.raises(UserError):
        submission_to_bytes(Submission(submission().plan, "push", payload, {}, {}))


def test_a_plan_as_json_has_stable_keys() -> None:
    report: Any = plan_to_json(submission().plan)
    assert report["schema"] == "coterie.plan/1"
    assert report["stages"] == [["build"], ["test (1)", "test (2.5)", "test"]]
    assert set(report) == {"schema", "file", "name", "events", "inputs", "stages", "jobs", "warnings"}
    job = report["jobs"][1]
    assert (job["id"], job["job"], job["stage"], job["needs"], job["labels"]) == (
        "test (1)",
        "test",
        1,
        ["build"],
        ["x"],
    )
    assert (job["matrix"], job["if"]) == ({"v": 1}, "github.ref == 'x'")
    assert job["timeout_minutes"] == "${{ needs.build.outputs.t }}"
    assert [step["name"] for step in report["jobs"][0]["steps"]] == ["Run make", "actions/checkout@v4"]
    json.dumps(report)
