"""Templates in the configuration of steps."""

from collections.abc import Mapping

import pytest

from coterie.engine.model import Json
from coterie.engine.templates import (
    References,
    condition_problem,
    condition_references,
    contexts,
    evaluate,
    evaluate_condition,
    evaluate_deep,
    has_template,
    is_fixed,
    references,
    template_problems,
)
from coterie_protocols.workflow.expressions import ExpressionError
from step_doubles import RunDouble, context_of

RUN = RunDouble(
    results={"a": {"rows": [{"n": 1}, {"n": 2}]}, "b": "text", "none": None},
    states={"late": "running", "gone": "skipped"},
    needed={"it": ("a", "b")},
)


def known(**changes: Json) -> Mapping[str, Json]:
    return contexts(context_of(RUN, **changes), {"a": RUN.results["a"], "b": "text"})


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${{ steps.a.result.rows }}", [{"n": 1}, {"n": 2}]),
        ("${{ steps.a.result.rows[1].n }}", 2),
        ("${{ steps.a.result.rows.*.n }}", [1, 2]),
        ("${{ steps.a.state }} ${{ steps.b.result }}", "completed text"),
        ("rows: ${{ steps.a.result.rows }}", 'rows: [{"n": 1}, {"n": 2}]'),
        ("${{ needs.*.state }}", ["completed", "completed"]),
        ("${{ needs.b.result }}", "text"),
        ("${{ steps.gone.state }}", "skipped"),
        ("${{ steps.gone.result }}", None),
        ("${{ steps.late.state }}", None),
        ("${{ steps.unheard_of.state }}", None),
        ("${{ steps.A.state }}", None),
        ("${{ 1 }}", 1),
        ("${{ 1.5 }}", 1.5),
        ("${{ inputs.n }}", 5.0),
        ("${{ inputs.no || 7 }}", 7),
        ("${{ inputs.n > 4 }}", True),
        ("${{ vars.who }}!", "ada!"),
        ("${{ item.x }}/${{ index }}", "1/0"),
        ("${{ execution.id }} ${{ execution.workflow }} ${{ execution.submitter }}", "ex-1 flow ada"),
        ("${{ toJSON(inputs) }}", '{\n  "n": 5\n}'),
        ("${{ fromJSON('[1]') }}", [1]),
        ("null: ${{ null }}, true: ${{ true }}", "null: , true: true"),
    ],
)
def test_a_template_gives_a_value(template: str, value: Json) -> None:
    contexts_ = known(inputs={"n": 5.0}, variables={"who": "ada"}, item={"x": 1}, index=0)
    found = evaluate(template, contexts_)
    assert found == value
    assert type(found) is type(value)


def test_templates_are_found_at_any_depth_and_keys_stay() -> None:
    value = {"${{ k }}": ["${{ steps.b.result }}", {"x": "${{ 1 }}"}, 2], "t": ("${{ 3 }}",)}
    assert evaluate_deep(value, known()) == {"${{ k }}": ["text", {"x": 1}, 2], "t": [3]}
    assert has_template(value)
    assert not has_template({"${{ k }}": [1, None, {"a": "$ {{"}]})
    assert is_fixed([1, "x"])


def test_conditions_may_leave_the_braces_out() -> None:
    assert evaluate_condition("steps.b.result == 'TEXT'", known()) is True
    assert evaluate_condition("${{ steps.b.result == 'other' }}", known()) is False
    assert evaluate_condition("", known()) is True
    with pytest.raises(ExpressionError):
        evaluate_condition("github.ref", known())


def test_what_is_no_step_of_the_plan_has_the_needs_that_it_is_given() -> None:
    found = contexts(context_of(RUN, "a-undo"), {"a": 1})
    assert evaluate("${{ needs.a.result }}", found) == 1


@pytest.mark.parametrize(
    "template", ["${{ env.HOME }}", "${{ secrets.x }}", "${{ success() }}", "${{ a", "${{ }}", "${{ 1 + 2 }}"]
)
def test_what_cannot_be_read_is_an_error(template: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(template, known())
    assert [problem.path for problem in template_problems({"a": [0, template]})] == [("a", 1)]


def test_references_name_what_a_value_depends_on() -> None:
    value = {
        "a": "${{ steps.one.result }} ${{ needs['two'].state }}",
        "b": ["${{ inputs.url || vars.URL }}", "${{ format('{0}', steps.three) }}"],
        "c": "${{ broken",
    }
    assert references(value) == References(
        frozenset({"one", "three"}), frozenset({"two"}), frozenset({"url"}), frozenset({"URL"})
    )
    assert condition_references("steps.one.state == 'failed'").steps == {"one"}
    assert references("none") == References()
    assert condition_references("") == References()


@pytest.mark.parametrize("template", ["${{ steps.*.result }}", "${{ toJSON(steps) }}", "${{ steps[inputs.x].result }}"])
def test_a_template_must_say_which_step_it_means(template: str) -> None:
    assert "does not say which step it means" in template_problems(template)[0].message


def test_all_needs_together_may_be_meant() -> None:
    assert template_problems("${{ toJSON(needs) }} ${{ needs.*.result }}") == []


def test_conditions_that_cannot_be_read_are_told() -> None:
    assert condition_problem("inputs.x == 1") is None
    assert condition_problem("") is None
    assert "Unrecognized function" in (condition_problem("failure()") or "")
    assert "not closed" in (condition_problem("${{ a") or "")
