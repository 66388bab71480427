"""Steps that choose a branch."""

from collections.abc import Mapping
from typing import Any

import pytest

from coterie.engine.failures import ConfigurationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.executor import Chosen
from coterie.engine.steps.factory import StepExecutorFactory
from step_doubles import BACKENDS, on_stage


def choose(branches: list[Json], backend: str = "trio", **context: Any) -> Any:
    config = {"branches": branches}
    return on_stage(
        lambda stage: stage.execute("conditional", config, **context), backend, results={"count": 5, "none": None}
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_branch_that_holds_is_chosen(backend: str) -> None:
    branches: list[Json] = [
        {"name": "many", "if": "${{ steps.count.result > 10 }}", "then": ["a"]},
        {"name": "some", "if": "steps.count.result > 1"},
        {"name": "also", "if": True},
    ]
    assert choose(branches, backend) == Chosen("some", "some")


def test_the_last_branch_may_be_the_default() -> None:
    assert choose([{"name": "a", "if": "needs.none.result"}, {"name": "b"}]) == Chosen("b", "b")
    assert choose([{"name": "a", "if": False}]) == Chosen("", "")
    assert choose([{"name": "a", "if": "item == 3"}], item=3) == Chosen("a", "a")


def test_an_expression_may_fail_when_it_is_evaluated() -> None:
    with pytest.raises(ConfigurationFailure, match="the branch 'a': Error parsing JSON"):
        choose([{"name": "a", "if": "fromJSON('{')"}])


@pytest.mark.parametrize(
    ("branches", "problem"),
    [
        ([], "'branches': List should have at least 1 item"),
        ([{"name": "a"}, {"name": "b", "if": "true"}], "the branch 'a' has no 'if': only the last may be the default"),
        ([{"name": "a", "if": "true"}, {"name": "a"}], "two branches are named 'a'"),
        ([{"name": "a", "if": "github.ref"}], "'branches[0].if': Unrecognized named-value: 'github'"),
        ([{"name": "a", "if": "${{ steps.* }}"}], "'branches[0].if': 'steps.*' does not say which step it means"),
        ([{"name": ""}], "'branches[0].name': String should have at least 1 character"),
        ([{"name": "a", "than": 5}], "'branches[0].than' is not known here"),
    ],
)
def test_mistakes_are_told_before_it_runs(branches: list[Json], problem: str) -> None:
    config: Mapping[str, Json] = {"branches": branches}
    told = StepExecutorFactory.check_step(StepSpec("it", "conditional", config=config))
    assert len(told) == 1
    assert told[0].startswith(problem)
