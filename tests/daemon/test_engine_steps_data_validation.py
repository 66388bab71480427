"""Steps that check data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel, Field

from coterie.engine.failures import ConfigurationFailure, ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.settings import EngineSettings
from coterie.engine.steps.data_validation import check_by_model
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.steps.schema_errors import ERRORS_MAX
from step_doubles import BACKENDS, on_stage

ROWS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "mail": {"type": "string", "format": "email"}},
    },
}


class Order(BaseModel):
    id: int
    lines: list[float] = Field(default_factory=list[float])


@dataclasses.dataclass
class Point:
    x: int


def check(config: Mapping[str, Json], data: Json, backend: str = "trio", isolated: bool = False) -> Any:
    settings = EngineSettings(isolate_functions=isolated)
    whole = {"data": "${{ steps.before.result }}", **config}
    return on_stage(lambda stage: stage.execute("data_validation", whole), backend, settings, {"before": data})


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_that_fits_is_handed_on(backend: str) -> None:
    rows = [{"id": 1, "mail": "a@b"}, {"id": 2}]
    assert check({"schema": ROWS}, rows, backend) == rows
    many = [{"id": n} for n in range(2000)]
    assert check({"schema": ROWS}, many, backend) == many, "in a thread"


def test_every_error_is_told_with_its_path() -> None:
    with pytest.raises(ValidationFailure) as caught:
        check({"schema": ROWS}, [{"id": "x"}, {}, {"id": 1, "mail": "nobody"}])
    assert str(caught.value) == (
        "the data does not fit: [0].id: 'x' is not of type 'integer'; [1]: 'id' is a required property;"
        " [2].mail: 'nobody' is not a 'email'"
    )
    assert (caught.value.detail or "").count("\n") == 2


def test_a_report_fails_nothing() -> None:
    report = check({"schema": ROWS, "on_failure": "report"}, [{}])
    assert report == {
        "valid": False,
        "errors": [{"path": "[0]", "message": "'id' is a required property"}],
        "data": [{}],
    }
    assert check({"schema": True, "on_failure": "report"}, 5) == {"valid": True, "errors": [], "data": 5}


def test_what_is_told_is_bounded() -> None:
    with pytest.raises(ValidationFailure, match="and 95 more") as caught:
        check({"schema": ROWS}, [{"id": "x" * 1000}] * 500)
    assert (caught.value.detail or "").count("\n") == ERRORS_MAX - 1
    assert len(caught.value.detail or "") < 100_000


def test_nothing_is_fetched_for_a_schema() -> None:
    with pytest.raises(ConfigurationFailure, match=r"refers to 'http://127\.0\.0\.1:1/schema'"):
        check({"schema": {"$ref": "http://127.0.0.1:1/schema"}}, 5)
    own = {"$defs": {"a": {"type": "integer"}}, "$ref": "#/$defs/a"}
    assert check({"schema": own}, 5) == 5


def test_a_schema_can_come_from_another_step() -> None:
    assert check({"schema": "${{ steps.before.result.schema }}"}, {"schema": {"type": "object"}})
    with pytest.raises(ValidationFailure, match="'schema' is no JSON Schema: type"):
        check({"schema": "${{ steps.before.result }}"}, {"type": 5})


def test_a_model_gives_the_data_its_types_and_defaults() -> None:
    assert check_by_model(f"{__name__}:Order", {"id": "7"}) == ({"id": 7, "lines": []}, [])
    _, errors = check_by_model(f"{__name__}:Order", {"lines": [1, "x"]})
    assert [error["path"] for error in errors] == ["id", "lines[1]"]
    assert check_by_model(f"{__name__}:Point", {"x": 1}) == ({"x": 1}, [])


@pytest.mark.parametrize("model", ["no_such_module:X", "json:NoSuchName", "json:dumps.nothing"])
def test_a_model_that_there_is_not(model: str) -> None:
    with pytest.raises(ConfigurationFailure, match="cannot be used"):
        check_by_model(model, 1)


def test_a_model_is_asked_where_functions_run_here_and_refused_where_they_do_not() -> None:
    assert check({"model": "decimal:Decimal"}, 5) == "5"
    with pytest.raises(ConfigurationFailure, match="use a 'schema'"):
        check({"model": "decimal:Decimal"}, 5, isolated=True)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"data": 1}, "exactly one of 'schema' and 'model' must be given"),
        ({"data": 1, "schema": {}, "model": "a:B"}, "exactly one of 'schema' and 'model' must be given"),
        ({"data": 1, "schema": {"type": "txt"}}, "'schema' is no JSON Schema: type: 'txt' is not valid"),
        ({"data": 1, "model": "a.B"}, "'model' should match"),
        ({"schema": {}}, "'data' is missing"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    told = StepExecutorFactory.check_step(StepSpec("it", "data_validation", config=config))
    assert len(told) == 1
    assert told[0].startswith(problem)
