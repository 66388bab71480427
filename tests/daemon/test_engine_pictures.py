"""Drawings: the edges of a picture are the edges of the plan, and nothing in a name can break out of it."""

import shutil
import subprocess
import time
from collections.abc import Mapping
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.pictures.dot import dot
from coterie.engine.pictures.drawing import (
    BATCHES_MAX,
    Drawing,
    DrawnNode,
    collapsed,
    drawing_of_actions_plan,
    drawing_of_plan,
)
from coterie.engine.pictures.layers import layout
from coterie.engine.pictures.rails import rail_lines
from coterie.engine.pictures.svg import svg
from coterie.engine.pictures.text import text
from coterie.engine.pictures.words import cells, cut, duration, padded, printable
from coterie.engine.planning.plan import make_plan
from coterie_protocols.workflow.plan import plan_workflow

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a"b\\\n<script>&amp;\x1b[31m\u202e]]>'


def drawing(needs: Mapping[str, str], states: Mapping[str, str] | None = None) -> Drawing:
    steps = tuple(StepSpec(id_, "shell", tuple(each.split())) for id_, each in needs.items())
    return drawing_of_plan(make_plan(WorkflowSpec("w", name="W", steps=steps)), states)


DIAMOND = {"fetch": "", "left": "fetch", "right": "fetch", "join": "left right"}


def wide(count: int) -> Drawing:
    parts = [f"part{number}" for number in range(count)]
    return drawing({"start": "", **dict.fromkeys(parts, "start"), "join": " ".join(parts)})


def deep(count: int) -> Drawing:
    return drawing({f"s{number}": f"s{number - 1}" if number else "" for number in range(count)})


# --- drawings ---


def test_a_drawing_has_the_nodes_and_edges_of_the_plan() -> None:
    drawn = drawing({"b": "a", "a": ""}, {"a": "running"})
    assert drawn == Drawing(
        "W", [DrawnNode("a", "a", "shell", "running", 0), DrawnNode("b", "b", "shell", None, 1)], [(0, 1)]
    )


def test_a_drawing_of_an_actions_plan_has_its_cells() -> None:
    file = (
        "on: push\njobs:\n  a: {runs-on: x, strategy: {matrix: {n: [1, 2]}}, steps: [{run: y}]}\n"
        "  b: {needs: a, runs-on: [x, y], steps: [{run: y}]}\n"
    )
    drawn = drawing_of_actions_plan(plan_workflow("ci.yml", file, event="push"), {"b": "queued"})
    assert [(node.id, node.batch, node.detail, node.state) for node in drawn.nodes] == [
        ("a (1)", 0, "x", None),
        ("a (2)", 0, "x", None),
        ("b", 1, "x, y", "queued"),
    ]
    assert drawn.edges == [(0, 2), (1, 2)]


def test_a_small_drawing_is_not_collapsed() -> None:
    small = drawing(DIAMOND)
    assert collapsed(small, 4) is small


@pytest.mark.parametrize("large", [wide(1000), deep(1000), drawing({f"s{n}": "" for n in range(500)})])
def test_a_collapsed_drawing_accounts_for_every_node_and_every_edge(large: Drawing) -> None:
    small = collapsed(large, 200)
    assert len(small.nodes) <= 200 + BATCHES_MAX
    shown = sum(not node.stands_for for node in small.nodes)
    assert shown + sum(node.stands_for for node in small.nodes) == len(large.nodes)
    assert all(small.nodes[need].batch < small.nodes[node].batch for need, node in small.edges)
    assert [node.batch for node in small.nodes] == sorted(node.batch for node in small.nodes)
    named = {node.id: place for place, node in enumerate(small.nodes)}
    for need, node in large.edges:
        ends = (named.get(large.nodes[need].id), named.get(large.nodes[node].id))
        assert None in ends or ends in small.edges


# --- text ---


def edges_on_rails(lines: list[str]) -> set[tuple[int, int]]:
    """Reads the edges back out of a picture: what the docstring of rails.py promises to people."""
    above: dict[int, frozenset[int]] = {}
    edges: set[tuple[int, int]] = set()
    nodes = 0
    for number, line in enumerate(lines):
        below = {at: above[at] for at, sign in enumerate(line) if sign in "│├┤┼" and at in above}
        if "○" in line:
            own = line.index("○")
            edges |= {(source, nodes) for source in above.get(own, frozenset())}
            below[own] = frozenset({nodes})
            nodes += 1
        else:
            # All corners and tees of a line are joined, and lead to the node right below; uprights only pass.
            joined = [above[at] for at, sign in enumerate(line) if sign in "├┤┼╰╯┴"]
            below[lines[number + 1].index("○")] = frozenset[int]().union(*joined)
        above = below
    return edges


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, str]:
    size = draw(st.integers(1, 9))
    return {
        f"s{node}": " ".join(f"s{need}" for need in draw(st.sets(st.integers(0, node - 1), max_size=3))) if node else ""
        for node in range(size)
    }


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_the_edges_can_be_read_off_the_rails(needs: dict[str, str]) -> None:
    drawn = drawing(needs)
    lines = rail_lines(drawn, 40)
    assert lines is not None
    assert edges_on_rails([line.rails.replace("*", "○") for line in lines]) == set(drawn.edges)


def test_a_diamond_on_rails() -> None:
    assert text(drawing(DIAMOND)) == (
        "○    fetch  shell\n"
        "├─╮\n"
        "│ ○  left   shell\n"
        "○ │  right  shell\n"
        "├─╯\n"
        "○    join   shell\n"
    )  # fmt: skip


def test_states_are_signs_and_words() -> None:
    states = {"fetch": "completed", "left": "failed", "right": "skipped", "join": "pending"}
    drawn = text(drawing(DIAMOND, states))
    assert "✓    fetch  shell  completed" in drawn
    assert "✗  left   shell  failed" in drawn
    assert text(drawing(DIAMOND, states), ascii_only=True) == (
        "+    fetch  shell  completed\n"
        "+-.\n"
        "| x  left   shell  failed\n"
        "- |  right  shell  skipped\n"
        "+-'\n"
        ".    join   shell  pending\n"
    )  # fmt: skip


def test_unrelated_steps_do_not_stand_below_each_other() -> None:
    lines = text(drawing({"a": "", "b": "", "c": "", "d": ""})).splitlines()
    assert all(upper.index("○") != lower.index("○") for upper, lower in pairwise(lines))


def test_a_wide_plan_is_told_by_batches_with_needs_in_words() -> None:
    lines = text(wide(60)).splitlines()
    assert lines[:3] == ["batch 1", "  ○ start", "batch 2"]
    assert lines[3] == "  ○ part0   needs start"
    assert lines[-1].startswith("  ○ join    needs part0, part1, ")
    assert lines[-1].endswith(" more")


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_text_keeps_to_its_columns(columns: int, ascii_only: bool) -> None:
    named = [DrawnNode(f"n{n}", "名" * 60 + HOSTILE, "detail " * 20, "running", n % 7) for n in range(14)]
    steps = sorted(named, key=lambda node: node.batch)
    dense = Drawing("t", steps, [(a, b) for a in range(14) for b in range(14) if steps[a].batch < steps[b].batch])
    for drawn in (dense, wide(50), deep(30), Drawing("t", steps[:2], [])):
        shown = text(drawn, columns, ascii_only)
        assert all(cells(line) <= columns for line in shown.splitlines())
        assert "\x1b" not in shown
        assert not ascii_only or shown.isascii()


def test_a_drawing_of_nothing() -> None:
    nothing = Drawing("nothing", [], [])
    assert text(nothing) == "\n"
    assert ElementTree.fromstring(svg(nothing)).tag == f"{SVG}svg"
    assert dot(nothing).startswith('digraph "nothing" {')


def test_large_drawings_say_what_they_leave_out_and_are_quick() -> None:
    for large in (wide(9_998), deep(10_000)):
        begin = time.perf_counter()
        shown, picture = text(large), svg(large)
        assert time.perf_counter() - begin < 2
        assert "of 10,000 are not shown" in shown
        assert len(shown.splitlines()) < 300
        assert "steps are not shown" in picture
    assert "  ⋮ … and 9,933 more" in text(wide(9_998))


# --- dot ---


def test_dot_names_nodes_by_their_ids_and_leaves_nothing_out() -> None:
    drawn = dot(wide(500))
    assert drawn.count("->") == 1000
    assert '  "start" -> "part0";' in drawn


def test_dot_escapes_what_graphviz_reads() -> None:
    drawn = dot(Drawing('t"\\', [DrawnNode(HOSTILE, HOSTILE, "x", "skipped")], []))
    assert drawn.startswith('digraph "t\\"\\\\" {')
    assert r'label="a\"b\\ <script>&amp;amp; [31m' in drawn
    assert 'style="rounded,dashed"' in drawn
    assert "\x1b" not in drawn.split("label=")[1]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_accepts_it() -> None:
    nodes = [DrawnNode(HOSTILE, HOSTILE, "x", "running"), DrawnNode("b\\", "b\\"), DrawnNode("digraph", "")]
    drawn = dot(Drawing(HOSTILE, nodes, [(0, 1), (1, 2)]))
    done = subprocess.run(["dot", "-Tplain"], input=drawn.encode(), capture_output=True, check=True, timeout=20)
    assert done.stdout.count(b"\nedge ") == 2
    assert done.stderr == b""


# --- svg ---


def test_svg_is_self_contained_and_told_to_screen_readers() -> None:
    root = ElementTree.fromstring(svg(drawing(DIAMOND, {"fetch": "failed"})))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert [root.find(f"{SVG}{name}") is not None for name in ("title", "desc", "style")] == [True] * 3
    assert not [each for each in root.iter() if each.tag in (f"{SVG}script", f"{SVG}image", f"{SVG}use")]
    assert not [name for each in root.iter() for name in each.attrib if name.endswith("href") or name.startswith("on")]
    assert "prefers-color-scheme" in (root.findtext(f"{SVG}style") or "")
    failed = [each for each in root.iter(f"{SVG}g") if each.get("class") == "node state-failed"]
    assert [each.text for each in failed[0].iter(f"{SVG}text") if each.get("class")] == ["shell · failed"]
    assert failed[0].find(f"{SVG}path") is not None


def test_svg_has_a_box_for_each_node_and_a_line_for_each_edge() -> None:
    root = ElementTree.fromstring(svg(drawing({**DIAMOND, "late": "join fetch"})))
    assert len([each for each in root.iter(f"{SVG}g") if "node" in (each.get("class") or "")]) == 5
    edges = next(each for each in root.iter(f"{SVG}g") if each.get("class") == "edges")
    assert len(edges) == 6


def test_svg_escapes_names() -> None:
    drawn = svg(Drawing(HOSTILE, [DrawnNode(HOSTILE, HOSTILE, HOSTILE, HOSTILE)], []))
    root = ElementTree.fromstring(drawn)
    assert not list(root.iter(f"{SVG}script"))
    assert "\x1b" not in drawn
    assert root.findtext(f"{SVG}title") == printable(HOSTILE)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nodes_of_a_layer_never_overlap(needs: dict[str, str]) -> None:
    drawn = drawing(needs)
    found = layout(drawn)
    for layer in range(found.layers):
        places = sorted(found.places[n] for n, node in enumerate(drawn.nodes) if node.batch == layer)
        assert all(after - before >= 1 - 1e-9 for before, after in pairwise(places))
    assert min(found.places) >= -1e-9
    assert all(path[0][0] == drawn.nodes[need].batch for path, (need, _) in zip(found.paths, drawn.edges, strict=True))


def test_the_order_in_a_layer_avoids_crossings() -> None:
    drawn = drawing({"a": "", "b": "", "c": "", "x": "c", "y": "b", "z": "a"})
    found = layout(drawn)
    place = {node.id: found.places[n] for n, node in enumerate(drawn.nodes)}
    needed = {"x": "c", "y": "b", "z": "a"}
    assert sorted("abc", key=place.__getitem__) == [needed[n] for n in sorted("xyz", key=place.__getitem__)]


def test_very_dense_graphs_are_drawn_with_straight_edges_in_time() -> None:
    count = 150
    nodes = [DrawnNode(f"n{n}", f"n{n}", batch=n) for n in range(count)]
    dense = Drawing("dense", nodes, [(a, b) for b in range(count) for a in range(b)])
    begin = time.perf_counter()
    assert svg(dense).count("<path d=") == len(dense.edges)
    assert time.perf_counter() - begin < 2


# --- words ---


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 ms"), (999, "999 ms"), (999.6, "1.0 s"), (2_540, "2.5 s"), (59_949, "59.9 s"), (59_960, "1m 00s"),
        (80_000, "1m 20s"), (3_600_000, "1h 00m"), (11_100_000, "3h 05m"),
    ],
)  # fmt: skip
def test_durations_in_words(ms: float, words: str) -> None:
    assert duration(ms) == words


def test_names_are_cut_by_the_columns_that_they_take() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdef", 5) == "abcd…"
    assert cut("名前名前", 5) == "名前…"
    assert cut("abc", 0) == ""
    assert cells("e\u0301") == 1
    assert padded("名", 4) == "名  "
    assert printable("a\tb\x00") == "a b�"
