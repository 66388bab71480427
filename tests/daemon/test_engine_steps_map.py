"""Steps that run another step for each item of a list."""

from collections.abc import Mapping
from typing import Any

import pytest

from coterie.engine.failures import ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.planning.spec_document import nested_step
from coterie.engine.steps.executor import Expand
from coterie.engine.steps.factory import StepExecutorFactory
from step_doubles import BACKENDS, on_stage

CHILD: Mapping[str, Json] = {"type": "output", "config": {"values": {"n": "${{ item }}"}}}


def expand(config: Mapping[str, Json], backend: str = "trio", results: Mapping[str, Json] | None = None) -> Any:
    return on_stage(lambda stage: stage.execute("map", {"step": CHILD, **config}), backend, results=results)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_items_are_worked_out_and_the_step_is_left_as_it_is(backend: str) -> None:
    assert expand({"items": [1, {"a": 2}]}, backend) == Expand([1, {"a": 2}])
    assert expand({"items": "${{ steps.list.result }}"}, backend, {"list": []}) == Expand([])


def test_items_are_bounded_and_a_list() -> None:
    with pytest.raises(ValidationFailure, match=r"there are 3 items; the limit is 2 \(items_max\)"):
        expand({"items": [1, 2, 3], "items_max": 2})
    with pytest.raises(ValidationFailure, match="'items' should be a list, not 'abc'"):
        expand({"items": "${{ steps.list.result }}"}, results={"list": "abc"})


def test_the_step_is_a_document() -> None:
    step = nested_step({**CHILD, "retry": {"max_attempts": 3}})
    assert (step.id, step.type, step.retry.max_attempts) == ("child", "output", 3)


def nested(depth: int) -> Json:
    return CHILD if not depth else {"type": "map", "config": {"items": [], "step": nested(depth - 1)}}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"items": 5, "step": CHILD}, "'items' should be a list, not 5"),
        ({"items": []}, "'step' is missing"),
        ({"items": [], "step": {"type": "output"}}, "its step: 'values' is missing"),
        ({"items": [], "step": {"type": "outptu"}}, "its step: the type 'outptu' is unknown"),
        ({"items": [], "step": {}}, "its step: type is missing"),
        ({"items": [], "step": {**CHILD, "needs": ["a"]}}, "its step: 'needs' has no place there"),
        (
            {"items": [], "step": CHILD, "max_parallel": -1},
            "'max_parallel' should be greater than or equal to 0, not -1",
        ),
        ({"items": [], "step": nested(6)}, "maps stand in each other more than 5 deep"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    told = StepExecutorFactory.check_step(StepSpec("it", "map", config=config))
    assert len(told) == 1
    assert told[0].startswith(problem)


def test_maps_may_stand_in_each_other() -> None:
    assert StepExecutorFactory.check_step(StepSpec("it", "map", config={"items": [], "step": nested(2)})) == []
