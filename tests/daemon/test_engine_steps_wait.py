"""Steps that wait."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coterie.engine.failures import ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.factory import StepExecutorFactory
from step_doubles import BACKENDS, Stage, on_stage


def wait(
    config: Mapping[str, Json], backend: str = "trio", ends: bool = True, **signals: Json
) -> tuple[Any, list[float]]:
    """What the step returns, and how long it asked to wait."""

    async def play(stage: Stage) -> tuple[Any, list[float]]:
        stage.services.signals = signals
        stage.services.waits_end = ends
        stage.services.executions = {"ex-9": {"id": "ex-9", "state": "failed", "outputs": {}}}
        return await stage.execute("wait", config), stage.services.waits

    return on_stage(play, backend)


def test_for_a_time() -> None:
    assert wait({"seconds": 2.5}) == (None, [2.5])
    assert wait({"duration": "1h30m"}) == (None, [5400.0])
    assert wait({"seconds": 0}) == (None, [0.0])


def test_until_a_time() -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    _, waits = wait({"until": soon})
    assert 90 < waits[0] <= 100
    assert wait({"until": "2001-01-01T00:00:00+02:00"}) == (None, [0.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_for_a_signal(backend: str) -> None:
    assert wait({"signal": "go"}, backend, go={"by": "ada"})[0] == {"by": "ada"}
    assert wait({"signal": "go", "deadline": "1m"}, backend, ends=False, go=None) == (None, [60.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_that_does_not_come(backend: str) -> None:
    with pytest.raises(ValidationFailure, match="no signal 'go' came within 60 s"):
        wait({"signal": "go", "deadline": "1m"}, backend)


def test_for_another_run_whatever_it_comes_to() -> None:
    assert wait({"execution": "ex-9"})[0] == {"id": "ex-9", "state": "failed", "outputs": {}}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "exactly one of seconds, duration, until, signal, execution must be"),
        ({"seconds": 1, "signal": "x"}, "'seconds' and 'signal' are given; exactly one of"),
        ({"seconds": -1}, "'seconds' should be greater than or equal to 0, not -1"),
        ({"until": "tomorrow"}, "'until' should be a datetime"),
        ({"until": "2027-01-01T00:00:00"}, "'until' should have timezone info"),
        ({"seconds": 1, "deadline": 5}, "'deadline' is for a signal alone"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    told = StepExecutorFactory.check_step(StepSpec("it", "wait", config=config))
    assert len(told) == 1
    assert told[0].startswith(problem)
