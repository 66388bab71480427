"""The document form of a workflow: round trips, stability, and refusals in clear words."""

import copy
import hashlib
import json
import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.engine.model import InputSpec, StepSpec, WorkflowSpec, canonical_json, plan_hash
from coterie.engine.planning.spec_document import spec_from_json, spec_to_bytes, spec_to_json
from coterie.engine.planning.spec_problems import PROBLEMS_MAX, InvalidSpec
from coterie.engine.planning.spec_values import DEPTH_MAX
from coterie.engine.retry import RetryConfig
from coterie_protocols.errors import InvalidWorkflow

HEAD = {"schema": "coterie.workflow/1", "id": "w"}

identifiers = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
seconds = st.none() | st.floats(0, 1e9) | st.integers(0, 10**9)
retries = st.builds(
    RetryConfig,
    max_attempts=st.integers(1, 10),
    base_delay=st.floats(0, 100),
    max_delay=st.integers(0, 100),
    exponential_base=st.floats(1, 10),
    jitter=st.booleans(),
    retryable_errors=st.frozensets(st.sampled_from(["connection", "timeout", "server", "failure"])),
)


def steps_with(compensate: st.SearchStrategy[StepSpec | None]) -> st.SearchStrategy[StepSpec]:
    return st.builds(
        StepSpec,
        id=identifiers,
        type=st.sampled_from(["process", "shell", "x.y-z"]),
        needs=st.lists(identifiers, max_size=3).map(tuple),
        name=texts,
        config=st.dictionaries(texts, json_values, max_size=3),
        merge=st.sampled_from(["none-failed", "all", "any", "first", "ended"]),
        arms=st.dictionaries(identifiers, texts, max_size=2),
        if_=texts,
        retry=retries,
        timeout_s=seconds,
        total_timeout_s=seconds,
        queue_timeout_s=seconds,
        heartbeat_timeout_s=seconds,
        priority=st.floats(0, 1e6) | st.integers(0, 10),
        resources=st.dictionaries(texts, st.floats(0, 1e18) | st.integers(0, 100), max_size=2),
        key=texts,
        tolerated=st.booleans(),
        compensate=compensate,
    )


steps = steps_with(st.none() | steps_with(st.none()))
plain_steps = st.builds(StepSpec, id=identifiers, type=st.just("process"))
workflows = st.builds(
    WorkflowSpec,
    id=identifiers,
    name=texts,
    steps=st.lists(steps | plain_steps, max_size=4).map(tuple),
    inputs=st.lists(
        st.builds(
            InputSpec,
            name=identifiers,
            type=st.sampled_from(["string", "number", "array"]),
            required=st.booleans(),
            default=json_values,
            description=texts,
            options=st.lists(json_values, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    variables=st.dictionaries(texts, json_values, max_size=2),
    outputs=st.dictionaries(texts, texts, max_size=2),
    max_parallel=st.integers(0, 100),
    fail_fast=st.booleans(),
    timeout_s=seconds,
    priority=st.floats(0, 1e6),
)


@settings(max_examples=60, deadline=None)
@given(workflows)
def test_a_workflow_survives_its_document(spec: WorkflowSpec) -> None:
    data = spec_to_bytes(spec)
    read = spec_from_json(json.loads(data))
    assert read == spec
    assert spec_to_bytes(read) == data


@settings(max_examples=80, deadline=None)
@given(json_values | st.dictionaries(st.sampled_from([*HEAD, "steps", "inputs", "priority", "x"]), json_values))
def test_whatever_the_value_it_is_read_or_refused(value: Any) -> None:
    document: Any = {**HEAD, **cast("dict[str, Any]", value)} if isinstance(value, dict) else value
    with suppress(InvalidSpec):
        spec_from_json(document)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["needs", "name", "config", "arms", "retry", "timeout_s", "priority", "compensate", "key"]),
            json_values,
            max_size=3,
        ),
        max_size=3,
    )
)
def test_whatever_a_step_says_it_is_read_or_refused(rows: list[dict[str, Any]]) -> None:
    document = {**HEAD, "steps": [{"id": f"s{n}", "type": "shell", **row} for n, row in enumerate(rows)]}
    with suppress(InvalidSpec):
        read = spec_from_json(document)
        assert spec_from_json(spec_to_json(read)) == read


def test_defaults_are_left_out() -> None:
    spec = WorkflowSpec("w", steps=(StepSpec("a", "shell"), StepSpec("b", "shell", ("a",), if_="x", line=7, column=3)))
    assert spec_to_json(spec) == {
        **HEAD,
        "steps": [{"id": "a", "type": "shell"}, {"id": "b", "type": "shell", "needs": ["a"], "if": "x"}],
    }


def test_equal_numbers_make_the_same_document() -> None:
    whole = WorkflowSpec("w", steps=(StepSpec("a", "shell", timeout_s=30, resources={"cpu": 2}),), timeout_s=60)
    float_ = WorkflowSpec("w", steps=(StepSpec("a", "shell", timeout_s=30.0, resources={"cpu": 2.0}),), timeout_s=60.0)
    assert spec_to_bytes(whole) == spec_to_bytes(float_)
    assert b"30.0" not in spec_to_bytes(float_)


def test_the_bytes_are_the_canonical_json_that_the_hash_is_of() -> None:
    spec = WorkflowSpec("w", steps=(StepSpec("a", "shell", config={"b": "é", "a": 1}),))
    assert spec_to_bytes(spec) == canonical_json(spec_to_json(spec))
    assert plan_hash(spec_to_json(spec)) == hashlib.sha256(spec_to_bytes(spec)).hexdigest()


def test_a_retry_says_only_what_is_unusual() -> None:
    spec = WorkflowSpec("w", steps=(StepSpec("a", "shell", retry=RetryConfig(max_attempts=4, base_delay=2.0)),))
    assert spec_to_json(spec)["steps"][0]["retry"] == {"max_attempts": 4, "base_delay": 2}
    assert read_step(retry={}).retry == RetryConfig()


def refusals(document: object) -> list[str]:
    with pytest.raises(InvalidWorkflow) as caught:
        spec_from_json(document)
    assert caught.value.exit_code == 65
    return caught.value.message.splitlines()


@pytest.mark.parametrize("document", [None, 3, [], "x"])
def test_what_is_no_object_is_refused(document: object) -> None:
    assert refusals(document) == ["a workflow must be an object"]


BAD_HEADS: list[tuple[dict[str, Any], str]] = [
    ({"schema": "coterie.workflow/2"}, "schema must be coterie.workflow/1"),
    ({"id": "1a"}, "id must be letters, digits, '_' and '-', not beginning with a digit or '-', at most 100"),
    ({"stepz": []}, "'stepz' is no key of a workflow; did you mean 'steps'?"),
    ({"steps": {}}, "steps must be a list of at most 1000000 steps"),
    ({"steps": [3]}, "steps[0] must be an object"),
    ({"inputs": 3}, "inputs must be a list of at most 1000 inputs"),
    ({"inputs": [3]}, "inputs[0] must be an object"),
    ({"inputs": [{}]}, "inputs[0]: name is missing"),
    ({"inputs": [{"name": "a", "type": "date"}]}, "inputs[0]: type must be one of string, number, integer"),
    ({"inputs": [{"name": "a", "options": 1}]}, "inputs[0]: options must be a list of at most 10000 values"),
    ({"max_parallel": -1}, "max_parallel must be a whole number from 0 to 1000000"),
    ({"fail_fast": 1}, "fail_fast must be true or false"),
    ({"timeout_s": True}, "timeout_s must be a number from 0 to 1e+09"),
    ({"outputs": {"a": 1}}, "outputs must be an object in which 'a' is a text of at most 1048576 characters"),
    ({"variables": {"a": float("nan")}}, "variables must be JSON, which has neither NaN nor infinities"),
    ({"variables": {"a": "\ud800"}}, "variables must be text that can be written as UTF-8"),
    ({"variables": {"\ud800": 1}}, "variables must be an object whose keys are text"),
    ({"variables": {"a": {1}}}, "variables must be JSON: null, true, false"),
]


@pytest.mark.parametrize(("change", "line"), BAD_HEADS)
def test_a_malformed_head_is_refused_with_its_reason(change: Mapping[str, object], line: str) -> None:
    assert any(told.startswith(line) for told in refusals({**HEAD, **change}))


BAD_STEPS: list[tuple[dict[str, Any], str]] = [
    ({"id": "a b"}, "steps[1]: id must be letters, digits"),
    ({"id": None}, "steps[1]: id must be letters, digits"),
    ({"id": "x" * 101}, "steps[1]: id must be letters, digits"),
    ({"type": ""}, "step 'b': type must be the name of a step type"),
    ({"nedds": ["a"]}, "step 'b': 'nedds' is no key of a step; did you mean 'needs'?"),
    ({"needs": "a"}, "step 'b': needs must be a list of at most 1000000 texts"),
    ({"needs": [1]}, "step 'b': needs must be a text of at most"),
    ({"config": []}, "step 'b': config must be an object"),
    ({"config": {"a": float("inf")}}, "step 'b': config must be JSON, which has neither NaN nor infinities"),
    ({"merge": "some"}, "step 'b': merge must be one of none-failed, all, any, first, ended"),
    ({"arms": {"a": 1}}, "step 'b': arms must be an object in which 'a' is a text"),
    ({"retry": 3}, "step 'b': retry must be an object"),
    ({"retry": {"max_atempts": 3}}, "step 'b': retry must be an object without 'max_atempts'; did you mean"),
    ({"retry": {"max_attempts": 0}}, "step 'b': retry must be sound: max_attempts"),
    ({"retry": {"retryable_errors": "timeout"}}, "step 'b': retry must be a list of at most"),
    ({"timeout_s": -1}, "step 'b': timeout_s must be a number from 0 to 1e+09"),
    ({"queue_timeout_s": "5"}, "step 'b': queue_timeout_s must be a number from 0 to 1e+09"),
    ({"priority": None}, "step 'b': priority must be a number from 0 to 1e+06"),
    ({"resources": {"cpu": -1}}, "step 'b': resources must be an object in which 'cpu' is a number from 0"),
    ({"tolerated": 0}, "step 'b': tolerated must be true or false"),
    ({"name": "x" * 1001}, "step 'b': name must be a text of at most 1000 characters"),
    ({"compensate": []}, "step 'b': compensate must be a step"),
    ({"compensate": {"id": "u"}}, "step 'u': type is missing"),
    (
        {"compensate": {"id": "u", "type": "x", "compensate": {"id": "v", "type": "x"}}},
        "step 'u': compensate must be a step (which has no compensation of its own)",
    ),
]


@pytest.mark.parametrize(("change", "line"), BAD_STEPS)
def test_a_malformed_step_is_refused_with_its_reason(change: Mapping[str, object], line: str) -> None:
    rows = [{"id": "a", "type": "shell"}, {"id": "b", "type": "shell", **change}]
    assert any(told.startswith(line) for told in refusals({**HEAD, "steps": rows}))


def test_all_problems_are_told_at_once_and_more_than_a_hundred_are_counted() -> None:
    rows: list[dict[str, object]] = [{"id": f"s{number}", "type": "x", "timeout_s": -1} for number in range(150)]
    told = refusals({"id": 1, "steps": rows})
    assert told[:2] == ["schema must be coterie.workflow/1", told[1]]
    assert told[1].startswith("id must be")
    assert len(told) == PROBLEMS_MAX + 1
    assert told[-1] == "… and 52 more problems"


def test_what_is_missing_is_named() -> None:
    assert refusals({"schema": HEAD["schema"], "steps": [{"type": "x"}, {"id": "b"}]}) == [
        "id is missing",
        "steps[0]: id is missing",
        "step 'b': type is missing",
    ]


def test_values_too_deep_are_refused() -> None:
    value: object = 1
    for _ in range(DEPTH_MAX):
        value = [value]
    (told,) = refusals({**HEAD, "variables": {"a": value}})
    assert told == f"variables must be lists and objects at most {DEPTH_MAX} deep in each other"


def test_a_config_that_is_no_json_is_told_with_its_step() -> None:
    spec = WorkflowSpec("w", steps=(StepSpec("ok", "x"), StepSpec("bad", "x", config={"a": object()}, line=4)))
    with pytest.raises(InvalidSpec) as caught:
        spec_to_bytes(spec)
    assert caught.value.message.startswith("4:0: step 'bad': what it is configured with must be JSON")
    with pytest.raises(InvalidSpec, match="variables, inputs and outputs must be JSON"):
        spec_to_bytes(WorkflowSpec("w", variables={"a": float("nan")}))


def read_step(**said: object) -> StepSpec:
    return spec_from_json({**HEAD, "steps": [{"id": "a", "type": "shell", **said}]}).steps[0]


def test_a_step_that_was_read_is_like_any_other() -> None:
    made = StepSpec("a", "shell", name="A")
    assert made == read_step(name="A")
    assert read_step(name="A") == made
    assert read_step(name="A") == read_step(name="A")
    assert read_step(name="A") != read_step()
    assert repr(read_step(name="A")) == repr(made)
    assert pickle.loads(pickle.dumps(read_step(name="A"))) == made
    assert copy.deepcopy(read_step(name="A")) == made
    read = read_step(name="A")
    assert isinstance(read, StepSpec)
    assert (read.name, read.retry, read.priority, type(read)) == ("A", made.retry, 3.0, StepSpec)
    assert not hasattr(read_step(), "no_such_field")
