"""Stages and cycles."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.workflow.stages import cycles, stages


def test_a_stage_is_the_longest_chain_of_needs() -> None:
    needs = {"d": ("b", "a"), "a": (), "b": ("a",), "e": ("d", "a"), "c": ()}
    assert stages(needs) == ({"d": 2, "a": 0, "b": 1, "e": 3, "c": 0}, ())


def test_a_cycle_is_told_from_its_first_job_on() -> None:
    needs = {"x": (), "w": ("b",), "a": ("b",), "b": ("c", "x"), "c": ("a",), "s": ("s",)}
    stage, stuck = stages(needs)
    assert stage == {"x": 0}
    assert cycles(needs, stuck) == (("a", "b", "c", "a"), ("s", "s"))


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), unique=True), max_size=13))
def test_every_job_has_a_stage_after_its_needs_or_waits_for_a_told_cycle(graph: dict[int, list[int]]) -> None:
    needs = {str(job): tuple(str(one) for one in needed if one in graph) for job, needed in graph.items()}
    stage, stuck = stages(needs)
    assert stage.keys() | set(stuck) == needs.keys()
    for job in stage:
        assert stage[job] == 1 + max((stage[one] for one in needs[job]), default=-1)
    told = cycles(needs, stuck)
    assert bool(told) == bool(stuck)
    for cycle in told:
        assert cycle[0] == cycle[-1]
        assert all(after in needs[before] for before, after in pairwise(cycle))
