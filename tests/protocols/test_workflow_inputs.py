"""The typed inputs of workflow_dispatch."""

import pytest

from coterie_protocols.errors import UserError
from coterie_protocols.workflow.inputs import typed_inputs
from coterie_protocols.workflow.model import InputSpec

SPECS = {
    "Name": InputSpec(required=True),
    "debug": InputSpec("boolean", default="false"),
    "count": InputSpec("number"),
    "level": InputSpec("choice", options=("low", "high")),
    "place": InputSpec("environment"),
}


def test_values_get_their_types_and_defaults() -> None:
    given = {"name": "x", "DEBUG": "True", "count": "2.50"}
    assert typed_inputs(SPECS, given) == {"Name": "x", "debug": True, "count": 2.5, "level": "low", "place": ""}


def test_a_plan_can_be_looked_at_without_inputs() -> None:
    assert typed_inputs(SPECS, {}, require=False)["Name"] == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "The input 'Name' is required"),
        ({"name": "x", "other": "1"}, "The workflow has no input 'other'; its inputs are Name, debug"),
        ({"name": "x", "debug": "yes"}, "'debug' must be true or false, not 'yes'"),
        ({"name": "x", "count": "many"}, "'count' must be a number, not 'many'"),
        ({"name": "x", "count": ""}, "'count' must be a number"),
        ({"name": "x", "level": "High"}, "'level' must be one of low, high, not 'High'"),
    ],
)
def test_wrong_inputs_are_told_with_the_way_out(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        typed_inputs(SPECS, given)
    assert "--input" in caught.value.hint
