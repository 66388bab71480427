"""Plans of random graphs, against networks that are planned by hand and the standard library's sorter."""

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.planning.cycles import components, cycles
from coterie.engine.planning.plan import make_plan
from coterie.engine.planning.spec_problems import InvalidSpec

Graph = dict[int, list[int]]


@st.composite
def graphs(draw: st.DrawFn, acyclic: bool = False) -> Graph:
    size = draw(st.integers(1, 12))
    return {
        node: draw(st.lists(st.integers(0, node - 1 if acyclic else size - 1), unique=True, max_size=4))
        if node or not acyclic
        else []
        for node in range(size)
    }


def workflow(graph: Graph) -> WorkflowSpec:
    steps = (StepSpec(f"s{node}", "x", tuple(f"s{need}" for need in needs)) for node, needs in graph.items())
    return WorkflowSpec("w", steps=tuple(steps))


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=True))
def test_batches_put_each_step_right_after_the_last_of_its_needs(graph: Graph) -> None:
    plan = make_plan(workflow(graph))
    place = {id_: number for number, batch in enumerate(plan.batches) for id_ in batch}
    assert len(place) == len(graph)
    for node, needs in graph.items():
        assert place[f"s{node}"] == max((place[f"s{need}"] + 1 for need in needs), default=0)


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=True), st.lists(st.integers(0, 5), min_size=12, max_size=12), st.integers(1, 4))
def test_the_critical_path_is_a_chain_of_needs_that_bounds_every_estimate(
    graph: Graph, costs: list[int], workers: int
) -> None:
    estimates = {f"s{node}": float(costs[node]) for node in graph}
    plan = make_plan(workflow(graph), estimates=estimates)
    path = [int(id_[1:]) for id_ in plan.critical_path]
    assert all(before in graph[after] for before, after in pairwise(path))
    longest: dict[int, int] = {}
    for node in TopologicalSorter(graph).static_order():
        longest[node] = costs[node] + max((longest[need] for need in graph[node]), default=0)
    estimate = plan.estimated_s(workers)
    assert estimate is not None
    assert estimate.critical_s == sum(costs[node] for node in path) == max(longest.values())
    best = max(estimate.critical_s, estimate.sequential_s / workers)
    assert best <= estimate.elapsed_s <= min(estimate.sequential_s, best * (2 - 1 / workers) + 1e-9)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_a_plan_is_refused_exactly_where_the_standard_library_finds_a_cycle(graph: Graph) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        with pytest.raises(InvalidSpec) as caught:
            make_plan(workflow(graph))
        itself = sum("needs itself" in problem.message for problem in caught.value.problems)
        circles = sum("in a circle" in problem.message for problem in caught.value.problems)
        assert itself == sum(node in needs for node, needs in graph.items())
        assert circles == len(
            independent_cycles({node: [n for n in needs if n != node] for node, needs in graph.items()})
        )
    else:
        assert make_plan(workflow(graph)).steps == len(graph)


def independent_cycles(graph: Graph) -> list[frozenset[int]]:
    """Components by reachability alone: nodes that reach each other."""
    reach = {node: set(needs) for node, needs in graph.items()}
    for middle in graph:
        for node in graph:
            if middle in reach[node]:
                reach[node] |= reach[middle]
    found = {
        frozenset(other for other in graph if other == node or (other in reach[node] and node in reach[other]))
        for node in graph
        if node in reach[node]
    }
    return list(found)


def shortest_length(graph: Graph, component: frozenset[int]) -> int:
    lengths: list[int] = []
    for start in component:
        level, length = {start}, 0
        while start not in level or not length:
            level = {need for node in level for need in graph[node] if need in component}
            length += 1
        lengths.append(length)
    return min(lengths)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_each_component_yields_one_cycle_and_it_is_a_shortest(graph: Graph) -> None:
    expected = independent_cycles(graph)
    assert {frozenset(each) for each in components(graph)} == set(expected)
    found = cycles(graph)
    assert len(found) == len(expected)
    for cycle in found:
        assert cycle[0] == cycle[-1] == min(cycle)
        assert all(need in graph[node] for node, need in pairwise(cycle))
        (component,) = [each for each in expected if set(cycle) <= each]
        assert len(cycle) - 1 == shortest_length(graph, component)
