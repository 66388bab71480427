"""Texts with `${{ }}` in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.workflow.expressions import ExpressionError, condition_source, evaluate_template, interpolate
from coterie_protocols.workflow.model import Json

CONTEXTS: dict[str, Json] = {"matrix": {"n": 3, "list": [1], "none": None}, "github": {"ref": "main"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("$ {{ x }}", "$ {{ x }}"),
        ("v${{ matrix.n }}-${{github.ref}}", "v3-main"),
        ("${{ '}}' }}", "}}"),
        ("${{ 'it''s }}' }}!", "it's }}!"),
        ("${{ matrix.list }}", "Array"),
        ("[${{ matrix.none }}]", "[]"),
        ("a\n${{ matrix.n }}\nb", "a\n3\nb"),
    ],
)
def test_expressions_become_text(template: str, text: str) -> None:
    assert interpolate(template, CONTEXTS) == text


def test_one_whole_expression_keeps_its_type() -> None:
    assert evaluate_template("${{ matrix.list }}", CONTEXTS) == [1]
    assert evaluate_template("${{ matrix.n }}", CONTEXTS) == 3
    assert evaluate_template("${{ matrix.n }} ", CONTEXTS) == "3 "


@pytest.mark.parametrize("template", ["${{ x", "a ${{ 'b }}", "${{ }}", "${{}}", "${{ 1 ${{ 2 }} }}"])
def test_a_broken_template_is_an_expression_error(template: str) -> None:
    with pytest.raises(ExpressionError):
        interpolate(template, CONTEXTS)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("github.ref == 'main'", "github.ref == 'main'"),
        ("  always()\n", "always()"),
        ("${{ failure() }}", "failure()"),
        ("${{ github.ref }} == 'x''y'", "format('{0} == ''x''''y''', github.ref)"),
        ("${{ false }}\n", "format('{0}\n', false)"),
        ("{a} ${{ 1 }}", "format('{{a}} {0}', 1)"),
    ],
)
def test_a_condition_may_leave_the_braces_out(text: str, source: str) -> None:
    assert condition_source(text) == source


@settings(deadline=None)
@given(st.text(alphabet="ab${}' \n"))
def test_garbage_raises_nothing_but_expression_errors(template: str) -> None:
    try:
        assert isinstance(interpolate(template, CONTEXTS), str)
    except ExpressionError:
        assert "${{" in template


@settings(deadline=None)
@given(st.text(alphabet="ab{}' "), st.text(alphabet="ab{}' "))
def test_a_format_source_means_the_same_as_its_template(before: str, after: str) -> None:
    template = f"{before}${{{{ matrix.n }}}}{after}x"
    whole = interpolate("${{ " + condition_source(template) + " }}", CONTEXTS)
    assert whole == interpolate(template, CONTEXTS)
