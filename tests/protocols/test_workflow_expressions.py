"""Expressions: values, laziness, limits and what may not happen. GitHub's own cases are in tests/conformance."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.workflow.expressions import (
    ExpressionError,
    Function,
    condition,
    contexts_used,
    evaluate,
    functions_used,
    has_status_function,
    parse_expression,
    to_text,
)
from coterie_protocols.workflow.expressions.values import fold

CONTEXTS: dict[str, Any] = {
    "github": {"ref": "refs/heads/main", "event": {"labels": [{"name": "bug"}, {"name": "Idea"}, {"id": 3}]}},
    "matrix": {"list": [10, 20], "nested": {"Key": "value"}},
    "env": {"Name": "upper", "name": "lower"},
    "needs": {"build": {"outputs": {"x": "1"}}},
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("", None),
        ("github.ref == 'REFS/HEADS/MAIN'", True),
        ("GitHub.REF", "refs/heads/main"),
        ("github.event.labels.*.name", ["bug", "Idea"]),
        ("contains(github.event.labels.*.name, 'idea')", True),
        ("matrix.list[1]", 20),
        ("matrix.list['1']", 20),
        ("matrix.list[1.9]", 20),
        ("matrix.list[-1]", None),
        ("matrix['NESTED'].key", "value"),
        ("env.Name", "upper"),
        ("env.NAME", None),
        ("vars.anything", None),
        ("needs.build.outputs.x == 1", True),
        ("null && 1 || 'b'", "b"),
        ("'it''s ''quoted'''", "it's 'quoted'"),
        ("3 < 2 < 1", True),
        ("format('{0} {{{1}}}', 1.50, null)", "1.5 {}"),
        ("join(matrix.list, '-')", "10-20"),
        ('toJSON(fromJSON(\'{"a": [1, 2.5, "é"]}\'))', '{\n  "a": [\n    1,\n    2.5,\n    "é"\n  ]\n}'),
        ('fromJSON(\'{"a": 1, "A": 2}\').a', 1),
        ("case(false, fromJSON('broken'), true, 2, 3)", 2),
        ("false && fromJSON('broken')", False),
        ("1e400", float("inf")),
        ("0xFFFFFFFFFF", 0xFFFFFFFFFF),
    ],
)
def test_values(source: str, value: object) -> None:
    assert evaluate(source, CONTEXTS) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e15, "1E+15"),
        (123456789012345, "123456789012345"),
        (1587106672383762434, "1.58710667238376E+18"),
        (0.1 + 0.2, "0.3"),
        (1e-5, "1E-05"),
        (-0.0, "0"),
        (10**400, "Infinity"),
        (float("nan"), "NaN"),
        (True, "true"),
        (None, ""),
        ([1], "Array"),
        ({}, "Object"),
    ],
)
def test_text_of_values_is_that_of_dotnet(value: Any, text: str) -> None:
    assert to_text(value) == text


def test_folding_is_one_character_for_one() -> None:
    assert fold("straße ıſ É é") == "STRAßE ıſ É É"


@pytest.mark.parametrize(
    ("source", "kind", "offset"),
    [
        ("github.ref = 'x'", "lexing", 11),
        ("'open", "lexing", 0),
        ("nobody.here", "parsing", 0),
        ("1 && nofunction()", "parsing", 5),
        ("contains('a',)", "parsing", 13),
        ("contains('a', 'b'", "parsing", 14),
        ("'text'.length", "lexing", 6),
        ("github.ref github.sha", "parsing", 11),
        ("(" * 60 + "1" + ")" * 60, "parsing", 50),
    ],
)
def test_errors_tell_phase_and_place(source: str, kind: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, CONTEXTS)
    assert (caught.value.kind, caught.value.offset) == (kind, offset)


@pytest.mark.parametrize(
    "source",
    [
        "success()",
        "hashFiles('x')",
        "fromJSON('')",
        "fromJSON('{')",
        "fromJSON('NaN')",
        "format('{0}')",
        "format('{0:x}', 1)",
        "format('{1000}', 1)",
        "case(1, 2, 3)",
        "fromJSON('" + "[" * 20_000 + "')",
    ],
)
def test_evaluation_errors_are_our_own(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, CONTEXTS)
    assert caught.value.kind == "evaluation"


def test_a_text_cannot_grow_without_bound() -> None:
    source = "'0123456789'"
    for _ in range(40):
        source = f"format('{{0}}{{0}}', {source})"
    with pytest.raises(ExpressionError, match="more than"):
        evaluate(source, {})


def test_a_long_chain_needs_no_stack() -> None:
    assert evaluate("1" + "==1" * 6_000, {}) is True
    assert evaluate("1" + "||1" * 6_000, {}) == 1


def test_json_is_read_to_a_bounded_depth() -> None:
    assert evaluate("fromJSON('" + "[" * 100 + "]" * 100 + "')[0][0]", {}) is not None
    with pytest.raises(ExpressionError, match="nested more than 100 deep"):
        evaluate("fromJSON('" + "[" * 101 + "]" * 101 + "')", {})


def test_a_long_source_is_refused() -> None:
    with pytest.raises(ExpressionError, match="Exceeded max expression length 21000"):
        parse_expression("1" * 21_001)


def test_a_tree_tells_what_it_uses() -> None:
    expression = parse_expression("contains(GitHub.ref, needs['a'].x) && !Always() || matrix.*")
    assert contexts_used(expression) == {"github", "needs", "matrix"}
    assert functions_used(expression) == {"contains", "always"}
    assert has_status_function(expression)
    assert not has_status_function(parse_expression("contains(github.ref, 'always()')"))


def functions(success: bool) -> dict[str, Function]:
    return {"success": lambda *_: success, "failure": lambda *_: not success, "always": lambda: True}


@pytest.mark.parametrize(
    ("source", "after_success", "after_failure"),
    [
        (None, True, False),
        ("", True, False),
        ("github.ref", True, False),
        ("'always()'", True, False),
        ("always()", True, True),
        ("failure()", False, True),
        ("!Success()", False, True),
        ("github.nothing", False, False),
        ("contains(github.ref, always()) || failure()", False, True),
    ],
)
def test_a_condition_asks_for_success_unless_it_asks_itself(
    source: str | None, after_success: bool, after_failure: bool
) -> None:
    assert condition(source, CONTEXTS, functions(True)) is after_success
    assert condition(source, CONTEXTS, functions(False)) is after_failure


def test_functions_get_evaluated_arguments_and_ignore_case() -> None:
    seen: list[object] = []

    def hash_files(*patterns: object) -> str:
        seen.extend(patterns)
        return "abc"

    assert evaluate("HASHFILES('a', matrix.list[0])", CONTEXTS, {"hashFiles": hash_files}) == "abc"
    assert seen == ["a", 10]


SIGNS = ["(", ")", "[", "]", ".", ",", "!", "<", ">", "*", "==", "&&", "||", "'", " "]
NAMES = ["''", "'a'", "1", "-2.5", "0x1f", "github", "ref", "matrix.list", "fromJSON(", "join(", "format("]
WORDS = st.sampled_from(SIGNS + NAMES)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=12).map("".join)))
def test_garbage_raises_nothing_but_expression_errors(source: str) -> None:
    caught: list[ExpressionError] = []
    try:
        evaluate(source, CONTEXTS, functions(True))
    except ExpressionError as error:
        caught.append(error)
    assert all(error.offset is None or 0 <= error.offset <= len(source) for error in caught)
