"""Steps that ask a person."""

from collections.abc import Mapping
from typing import Any

import pytest

from coterie.engine.failures import Classifier, ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.steps.schema_errors import schema_errors
from step_doubles import BACKENDS, Stage, on_stage

FIELDS: list[Json] = [
    {"name": "who", "label": "Your name", "required": True, "min": 1, "max": 20},
    {"name": "why", "type": "text"},
    {"name": "how_many", "type": "integer", "default": 3, "min": 1, "max": 9},
    {"name": "ratio", "type": "number"},
    {"name": "sure", "type": "boolean", "default": False},
    {"name": "env", "type": "choice", "options": ["test", "live"], "default": "test"},
]


def ask(config: Mapping[str, Json], *answers: Json | Exception, backend: str = "trio") -> tuple[Any, Any]:
    """What the step returns, and the last form and deadline that it asked with."""

    async def play(stage: Stage) -> tuple[Any, Any]:
        stage.services.answers = list(answers)
        result = await stage.execute("input", {"fields": FIELDS, **config})
        return result, stage.services.forms[-1]

    return on_stage(play, backend, results={"fetch": {"names": ["a", "b"]}})


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_answer_comes_with_the_defaults_of_what_was_left_out(backend: str) -> None:
    result, _ = ask({}, {"who": "Ada", "env": "live"}, backend=backend)
    assert result == {"who": "Ada", "why": None, "how_many": 3, "ratio": None, "sure": False, "env": "live"}


def test_the_form_is_a_json_schema() -> None:
    _, (form, deadline_s) = ask({"prompt": "Release?", "deadline": "1d"}, {"who": "Ada"})
    assert deadline_s == 86_400
    assert form["title"] == "Release?"
    assert form["required"] == ["who"]
    assert form["properties"]["who"] == {"title": "Your name", "type": "string", "minLength": 1, "maxLength": 20}
    assert form["properties"]["why"] == {"title": "why", "type": "string", "format": "multiline"}
    assert form["properties"]["env"] == {"title": "env", "default": "test", "enum": ["test", "live"]}
    assert schema_errors(form, {"who": "Ada", "how_many": 9, "ratio": 0.5, "sure": True}) == []
    paths = {error["path"] for error in schema_errors(form, {"who": "", "how_many": 10, "env": "x"})}
    assert paths == {"who", "how_many", "env"}
    assert schema_errors(form, {"who": "Ada", "more": 1})


def test_options_can_come_from_other_steps() -> None:
    field = {"name": "which", "type": "choice", "options": "${{ steps.fetch.result.names }}"}
    _, (form, _) = ask({"fields": [field]}, {})
    assert form["properties"]["which"]["enum"] == ["a", "b"]


def test_at_the_deadline_the_defaults_are_taken_or_the_step_fails() -> None:
    fields = FIELDS[1:]
    result, _ = ask({"fields": fields, "deadline": 1, "on_deadline": "default"}, TimeoutError())
    assert result["how_many"] == 3
    with pytest.raises(ValidationFailure, match="nobody answered within 60 s") as caught:
        ask({"deadline": "1m"}, TimeoutError())
    assert Classifier().classify(caught.value, 0.0).error_class == "validation"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"fields": []}, "'fields': List should have at least 1 item"),
        ({"on_deadline": "default"}, "'on_deadline' says what happens at a deadline, but there is no 'deadline'"),
        ({"on_deadline": "default", "deadline": 1}, "the field 'who' is required and has no default for 'on_deadline'"),
        ({"fields": [FIELDS[0], FIELDS[0]]}, "two fields are named 'who'"),
        ({"fields": [{"name": "a", "type": "choice"}]}, "'fields[0]': 'options' are missing"),
        ({"fields": [{"name": "a", "options": [1]}]}, "'fields[0]': 'options' are for a choice alone"),
        ({"fields": [{"name": "a", "min": 2, "max": 1}]}, "'fields[0]': 'min' is greater than 'max'"),
        ({"fields": [{"name": "a", "type": "integer", "default": "x"}]}, "'fields[0]': 'default' does not fit: "),
        ({"fields": [{"name": "a b"}]}, "'fields[0].name' should match"),
        ({"fields": [{"name": "a", "type": "date"}]}, "'fields[0].type' should be 'string', 'text', 'number'"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    told = StepExecutorFactory.check_step(StepSpec("it", "input", config={"fields": FIELDS, **config}))
    assert len(told) == 1
    assert told[0].startswith(problem)
