"""Matrices. The long example is the one in GitHub's documentation."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.workflow.matrix import CELLS_MAX, MatrixProblem, expand_matrix


def cells(matrix: Any) -> list[Any]:
    return [dict(cell.values) for cell in expand_matrix(matrix)]


def test_the_first_key_varies_slowest() -> None:
    got = cells({"os": ["a", "b"], "n": [1, 2]})
    assert got == [{"os": "a", "n": 1}, {"os": "a", "n": 2}, {"os": "b", "n": 1}, {"os": "b", "n": 2}]


def test_include_adds_to_what_it_does_not_contradict_and_else_stands_alone() -> None:
    got = cells(
        {
            "fruit": ["apple", "pear"],
            "animal": ["cat", "dog"],
            "include": [
                {"color": "green"},
                {"color": "pink", "animal": "cat"},
                {"fruit": "apple", "shape": "circle"},
                {"fruit": "banana"},
                {"fruit": "banana", "animal": "cat"},
            ],
        }
    )
    assert got == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_include_alone_is_a_matrix() -> None:
    assert cells({"include": [{"a": 1}, {"a": 1}]}) == [{"a": 1}, {"a": 1}]


def test_exclude_matches_in_part_in_depth_and_loosely() -> None:
    matrix = {
        "version": [{"node": 12, "npm": 6}, {"node": 14, "npm": 6}],
        "OS": ["Linux", "mac"],
        "exclude": [{"version": {"node": "12"}, "os": "LINUX"}, {"version": {"node": 14}, "OS": "mac"}],
    }
    assert cells(matrix) == [
        {"version": {"node": 12, "npm": 6}, "OS": "mac"},
        {"version": {"node": 14, "npm": 6}, "OS": "Linux"},
    ]


def test_segments_name_the_original_values_only() -> None:
    got = expand_matrix({"v": [{"x": 1.0, "y": None}], "b": [True], "include": [{"extra": "no"}, {"v": 9, "n": "yes"}]})
    assert [cell.segments for cell in got] == [("1", "true"), ("9", "yes")]


BROKEN: list[tuple[Any, str, tuple[object, ...]]] = [
    ([], "must be a mapping", ()),
    ({}, "at least one vector", ()),
    ({"include": []}, "at least one vector", ()),
    ({"os": []}, "'os' does not contain any values", ("os",)),
    ({"os": "linux"}, "'os' must be a list", ("os",)),
    ({"os": [1], "exclude": [{"arch": 1}]}, "exclude key 'arch' does not match", ("exclude", 0, "arch")),
    ({"os": [1], "exclude": [{"os": 2}, {}]}, "must not be empty", ("exclude", 1)),
    ({"os": [1], "include": [{}]}, "does not contain any values", ("include", 0)),
    ({"os": [1], "include": [1]}, "must be a mapping", ("include", 0)),
    ({"os": [1], "include": {"a": 1}}, "must be a list", ("include",)),
    ({"a": list(range(257))}, "257 combinations before", ()),
    ({name: list(range(100)) for name in "abcdefgh"}, "the limit is 256", ()),
]


@pytest.mark.parametrize(("matrix", "message", "path"), BROKEN)
def test_problems_name_the_part_to_blame(matrix: Any, message: str, path: tuple[object, ...]) -> None:
    with pytest.raises(MatrixProblem, match=message) as caught:
        expand_matrix(matrix)
    assert caught.value.path == path


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["a", "A", "1"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("xy"), inner, max_size=2)),
    max_leaves=4,
)
MATRICES = st.dictionaries(
    st.sampled_from(["os", "n", "include", "exclude"]), st.one_of(VALUES, st.lists(VALUES, max_size=4)), max_size=4
)


@settings(deadline=None)
@given(MATRICES)
def test_any_matrix_expands_within_its_limit_or_is_a_problem(matrix: Any) -> None:
    try:
        expanded = expand_matrix(matrix)
    except MatrixProblem:
        return
    assert len(expanded) <= CELLS_MAX
    vectors = {key for key in matrix if key not in ("include", "exclude")}
    product = 1 if vectors else 0
    for key in vectors:
        product *= len(matrix[key])
    assert len(expanded) <= product + len(matrix.get("include") or [])
