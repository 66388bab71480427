"""Steps that run another workflow, and steps that say what a run comes to."""

from collections.abc import Mapping
from typing import Any

import pytest

from coterie.engine.failures import Classifier, StepFailed
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.factory import StepExecutorFactory
from step_doubles import BACKENDS, Stage, on_stage

DOCUMENT: Mapping[str, Json] = {"schema": "coterie.workflow/1", "id": "sub", "steps": [{"x": "${{ item }}"}]}


def run(config: Mapping[str, Json], state: str = "completed", backend: str = "trio") -> tuple[Any, Any]:
    async def play(stage: Stage) -> tuple[Any, Any]:
        stage.services.sub_run = {"id": "ex-2", "state": state, "outputs": {"n": 1}}
        return await stage.execute("workflow", config), stage.services.ran

    return on_stage(play, backend, results={"before": 5})


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_returns_what_the_other_run_came_to(backend: str) -> None:
    result, ran = run({"id": "other", "inputs": {"n": "${{ steps.before.result }}"}}, backend=backend)
    assert result == {"id": "ex-2", "state": "completed", "outputs": {"n": 1}}
    assert ran == [("other", {"n": 5})]


def test_a_document_is_run_as_it_is() -> None:
    assert run({"document": DOCUMENT})[1] == [(DOCUMENT, {})]


def test_it_fails_for_good_when_the_other_run_did() -> None:
    with pytest.raises(StepFailed, match="the run ex-2 of the workflow failed") as caught:
        run({"id": "other"}, "failed")
    assert Classifier().classify(caught.value, 0.0).error_class == "validation"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "exactly one of 'file' and 'id' must be given"),
        ({"id": "a", "file": "b.yml"}, "exactly one of 'file' and 'id' must be given"),
        ({"file": "b.yml"}, "'file' is for workflow files alone"),
        ({"id": "a", "inputs": []}, "'inputs' should be a map, not a list"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    told = StepExecutorFactory.check_step(StepSpec("it", "workflow", config=config))
    assert len(told) == 1
    assert told[0].startswith(problem)


def test_outputs_are_values_as_evaluated() -> None:
    values = {"all": "${{ steps.before.result }}", "text": "n=${{ steps.before.result }}", "fixed": [1]}
    found = on_stage(lambda stage: stage.execute("output", {"values": values}), "asyncio", results={"before": {"n": 5}})
    assert found == {"all": {"n": 5}, "text": 'n={"n": 5}', "fixed": [1]}
