"""Timelines: bars where and as long as the attempts were, on one scale, whatever is still open."""

import time
from xml.etree import ElementTree

import pytest

from coterie.engine.pictures.timeline import BARS_SHOWN_MAX, ROWS_MAX, Bar, timeline_text
from coterie.engine.pictures.timeline_svg import CHART_PX, NAME_PX, timeline_svg
from coterie.engine.pictures.words import cells

SVG = "{http://www.w3.org/2000/svg}"
RETRIED = [
    Bar("fetch", 2, 4000, 5000, 10_000, "completed"),
    Bar("fetch", 1, 0, 0, 2000, "failed"),
    Bar("later", 1, 10_000, 10_000, None, "running"),
    Bar("queued", 1, 10_000, None, None, "ready"),
    Bar("never", 1, None, None, None, "pending"),
    Bar("off", 1, 5000, None, 5000, "skipped"),
]


def lines(bars: list[Bar], now_ms: int, columns: int = 80) -> dict[str, str]:
    """The chart of each step, between the name and the state."""
    found: dict[str, str] = {}
    for line in timeline_text(bars, now_ms, columns).splitlines():
        name, _, rest = line.partition(" ")
        found[name] = rest
    return found


def test_bars_stand_where_they_were() -> None:
    bars = [Bar("a", 1, 0, 0, 500, "completed"), Bar("b", 1, 500, 750, 1000, "completed")]
    found = lines(bars, now_ms=1000)
    first, second = (found[name].index("█") for name in "ab")
    width = found["a"].count("█") * 2
    assert found["a"][:first].isspace()
    assert abs(second - first - width * 0.75) <= 1
    assert abs(found["b"].count("░") - width / 4) <= 1
    assert found["a"].endswith("✓ completed 500 ms")


def test_retries_failures_and_waits_are_visible() -> None:
    found = lines(RETRIED, now_ms=20_000)
    assert "▒" in found["fetch"]
    assert found["fetch"].index("▒") < found["fetch"].index("░") < found["fetch"].index("█")
    assert found["fetch"].endswith("✓ completed 7.0 s, 2 tries")
    assert found["later"].endswith("● running 10.0 s")
    assert "█" not in found["queued"]
    assert found["queued"].endswith("○ ready")
    assert found["off"].endswith("– skipped")
    assert "never" not in found
    assert timeline_text(RETRIED, 20_000).splitlines()[-1] == "1 not ready yet"


def test_steps_stand_in_the_order_in_which_they_began() -> None:
    shown = timeline_text([Bar("b", 1, 5, 5, 6, "completed"), Bar("a", 1, 1, 2, 3, "completed")], 10)
    assert [line.split()[0] for line in shown.splitlines()[:2]] == ["a", "b"]


@pytest.mark.parametrize("columns", [20, 60, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_text_keeps_to_its_columns(columns: int, ascii_only: bool) -> None:
    bars = [Bar("名前" * 50, 1, 0, 3, 90_000_000, "completed"), Bar("x\x1b[31m", 7, 1, 1, 1, "odd state")]
    shown = timeline_text(bars, 100_000_000, columns, ascii_only)
    assert all(cells(line) <= max(columns, 60) for line in shown.splitlines())
    assert "\x1b" not in shown
    assert not ascii_only or shown.isascii()


def test_nothing_has_begun() -> None:
    assert timeline_text([], 0) == "nothing has begun\n"
    assert timeline_text([Bar("a", 1, None, None, None, "pending")], 0) == "nothing has begun\n1 not ready yet\n"
    assert "nothing has begun" in timeline_svg([], 0)


def test_a_run_of_no_length_is_drawn() -> None:
    assert "█" in timeline_text([Bar("a", 1, 5, 5, 5, "completed")], 5)
    ElementTree.fromstring(timeline_svg([Bar("a", 1, 5, 5, 5, "completed")], 5))


def rects(root: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    found = [each for each in root.iter(f"{SVG}rect") if each.get("class") == kind]
    return [(float(each.get("x", "")), float(each.get("width", ""))) for each in found]


def test_svg_has_a_bar_for_each_attempt_and_a_lighter_one_for_each_wait() -> None:
    root = ElementTree.fromstring(timeline_svg(RETRIED, 20_000, "A & B"))
    assert root.findtext(f"{SVG}title") == "A & B"
    bars, waits = rects(root, "bar"), rects(root, "wait")
    assert [x for x, _ in bars] == [NAME_PX, NAME_PX + CHART_PX / 4, NAME_PX + CHART_PX / 2]
    assert [x for x, _ in waits] == [NAME_PX + CHART_PX / 5, NAME_PX + CHART_PX / 2]
    states = [each.get("class") for each in root.iter(f"{SVG}g")]
    assert states.count("state-failed") == 1
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert "fetch, try 1: failed" in titles
    assert any(each.get("class") == "on-bar" for each in root.iter(f"{SVG}path"))


def test_svg_ticks_are_round_and_few() -> None:
    for span in (7, 950, 61_000, 3_600_000, 400_000_000):
        root = ElementTree.fromstring(timeline_svg([Bar("a", 1, 0, 0, span, "completed")], span))
        ticks = [each for each in root.iter(f"{SVG}path") if each.get("class") == "grid"]
        assert 2 <= len(ticks) <= 11


def test_names_cannot_break_out_of_the_picture() -> None:
    hostile = "</text><script>alert(1)</script>\x00"
    root = ElementTree.fromstring(timeline_svg([Bar(hostile, 1, 0, 1, 2, hostile)], 3, hostile))
    assert not list(root.iter(f"{SVG}script"))


def test_only_the_longest_of_many_steps_and_the_latest_of_many_tries_are_shown() -> None:
    many = [Bar(f"s{n}", 1, n, n, n + n, "completed") for n in range(10_000)]
    begin = time.perf_counter()
    shown, picture = timeline_text(many, 20_000), timeline_svg(many, 20_000)
    assert time.perf_counter() - begin < 2
    assert shown.splitlines()[-1] == f"… and {10_000 - ROWS_MAX:,} shorter steps"
    assert shown.startswith("s9800 ")
    assert "9,800 shorter steps" in picture
    tries = [Bar("a", n, n * 10, n * 10, n * 10 + 5, "failed") for n in range(1, 1001)]
    assert len(rects(ElementTree.fromstring(timeline_svg(tries, 20_000)), "bar")) == BARS_SHOWN_MAX
    assert "1000 tries" in timeline_text(tries, 20_000)
