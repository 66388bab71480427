"""GitHub's own cases for expressions, and those of `act` that do not contradict them."""

import math
from typing import Any

import pytest

from conformance.adapter import evaluate
from conformance.shared_data import load_json, names, needs_shared_data
from coterie_protocols.workflow.expressions import ExpressionError
from coterie_protocols.workflow.model import Json

pytestmark = needs_shared_data

CASES_OF_GITHUB = 1015
MARKS = {"NaN#": math.nan, "Infinity#": math.inf, "-Infinity#": -math.inf}


def kind(value: object) -> str:
    kinds = {
        "NoneType": "Null",
        "bool": "Boolean",
        "int": "Number",
        "float": "Number",
        "str": "String",
        "dict": "Object",
    }
    return kinds.get(type(value).__name__, "Array")


def as_json_stringify(value: Json) -> Json:
    """What JavaScript's JSON.stringify makes of a value: NaN and infinities become null, -0 becomes 0."""
    if isinstance(value, float):
        return value + 0 if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: as_json_stringify(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json_stringify(item) for item in value]
    return value


def complaint(case: dict[str, Any]) -> str | None:
    """Why our answer to a case is not GitHub's; None where it is."""
    wanted = case.get("err")
    try:
        got = evaluate(case["expr"], case.get("contexts") or {})
    except ExpressionError as error:
        if wanted is None:
            return f"raised {error}"
        text = wanted["value"].split(". Located")[0]
        return None if error.kind == wanted["kind"] and text in str(error) else f"raised {error.kind}: {error}"
    if wanted is not None:
        return f"gave {got!r} and no error"
    same = kind(got) == case["result"]["kind"]
    return None if same and as_json_stringify(got) == as_json_stringify(case["result"]["value"]) else f"gave {got!r}"


def cases_of(name: str) -> list[dict[str, Any]]:
    groups: Any = load_json(name)
    return [case for group in groups.values() for case in group if not case.get("options", {}).get("skip")]


@pytest.mark.parametrize("name", names("expressions/*.json"))
def test_every_case_of_github_gives_its_value_or_its_error(name: str) -> None:
    failures = {case["expr"]: complaint(case) for case in cases_of(name)}
    assert {expr: text for expr, text in failures.items() if text} == {}


def test_no_case_of_github_is_left_out() -> None:
    assert sum(len(cases_of(name)) for name in names("expressions/*.json")) == CASES_OF_GITHUB


def test_the_cases_of_act_hold_unless_github_contradicts_them() -> None:
    data: Any = load_json("act_exprparser.json")
    cases = [case for case in data["cases"] if "hashFiles(" not in case["expr"]]
    failures = [case["expr"] for case in cases if not agrees(case)]
    # .NET and not JavaScript is what GitHub's runner formats numbers with
    assert failures == ["format('{0} {1} {2} {3}', 1.0, 1.1, 1234567890.0, 12345678901234567890.0)"]


def agrees(case: dict[str, Any]) -> bool:
    answer = {"value": case["expected"], **({"error": case["error"]} if case["error"] else {})}
    if not case["agrees_with_github"]:
        answer = case["github"]
    try:
        got = evaluate(case["expr"], case["contexts"] or {})
    except ExpressionError:
        return "error" in answer
    value = answer.get("value")
    wanted = MARKS.get(value, value) if isinstance(value, str) else value
    return "error" not in answer and as_json_stringify(got) == as_json_stringify(wanted)
