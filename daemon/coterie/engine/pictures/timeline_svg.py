"""A timeline as one SVG file: no script, nothing from elsewhere."""

from collections.abc import Iterable
from html import escape
from typing import Final

from coterie.engine.pictures.style import DOCUMENT_STYLE
from coterie.engine.pictures.timeline import Bar, Chart, Row, begin_of, chart_of, end_of, failed, left_out, summary
from coterie.engine.pictures.words import cut, duration, printable, sign_of

TICKS_MAX: Final = 10
HOUR_MS: Final = 3_600_000
ROUND_MS: Final = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(1000 * seconds for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
)
NAME_PX: Final = 190
CHART_PX: Final = 720
TIME_PX: Final = 150
ROW_PX: Final = 28
TOP_PX: Final = 84
SIGN_PX_MIN: Final = 16
"""The narrowest bar that a sign fits into."""


def timeline_svg(bars: Iterable[Bar], now_ms: int, title: str = "Timeline") -> str:
    """The same with one bar for each attempt, the wait before it lighter, as an SVG file of its own."""
    chart = chart_of(bars, now_ms)
    width, height = NAME_PX + CHART_PX + TIME_PX, TOP_PX + len(chart.rows) * ROW_PX + 24
    name, told = escape(printable(title)), escape("; ".join([summary(chart), *left_out(chart)]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img" aria-labelledby="title desc">',
        f'<title id="title">{name}</title>',
        f'<desc id="desc">A row for each step, a bar for each attempt, lighter where it waited for room. {told}</desc>',
        f"<style>{DOCUMENT_STYLE}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        f'<text class="heading" x="24" y="30">{name}<tspan class="quiet" dx="12">{told}</tspan></text>',
        *_ticks(chart, height),
        *(_svg_row(row, chart, TOP_PX + number * ROW_PX) for number, row in enumerate(chart.rows)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _ticks(chart: Chart, height: int) -> list[str]:
    if not chart.rows:
        return []
    step = _tick_ms(chart.span_ms)
    drawn: list[str] = []
    for at in range(0, chart.span_ms + 1, step):
        x = NAME_PX + _px(at, chart)
        drawn.append(f'<path class="grid" d="M{x:.1f} {TOP_PX - 14}V{height - 16}"/>')
        drawn.append(f'<text class="quiet" x="{x:.1f}" y="{TOP_PX - 20}" text-anchor="middle">{duration(at)}</text>')
    return drawn


def _tick_ms(span_ms: int) -> int:
    """The least round time of which at most TICKS_MAX fit into the span."""
    fits = next((each for each in ROUND_MS if span_ms / each <= TICKS_MAX), None)
    return fits or HOUR_MS * -(-span_ms // (HOUR_MS * TICKS_MAX))


def _svg_row(row: Row, chart: Chart, y: int) -> str:
    name, state = printable(row.step), printable(row.state)
    kind = _kind(state)
    drawn = [f'<g class="{kind}"><title>{escape(name)}: {escape(state)}, {escape(row.told)}</title>']
    sign = sign_of(row.state)
    filled = " filled" if sign.filled else ""
    drawn.append(f'<path class="sign{filled}" transform="translate(28 {y + 9})" d="{sign.path}"/>')
    drawn.append(f'<text x="42" y="{y + 13}">{escape(cut(name, 18))}</text>')
    drawn += [_svg_bar(bar, begin, row, chart, y) for bar in row.bars if (begin := begin_of(bar)) is not None]
    end_x = NAME_PX + _px(row.ended_ms - chart.start_ms, chart) + 8
    drawn.append(f'<text class="quiet" x="{end_x:.1f}" y="{y + 13}">{escape(row.told)}</text></g>')
    return "".join(drawn)


def _svg_bar(bar: Bar, begin_ms: int, row: Row, chart: Chart, y: int) -> str:
    end = end_of(bar, row.ended_ms)
    told = f"{printable(row.step)}, try {bar.attempt}: {printable(bar.state)}"
    drawn = f'<g class="{_kind(bar.state)}"><title>{escape(told)}</title>'
    drawn += _rect("wait", begin_ms, end if bar.started_ms is None else bar.started_ms, chart, y)
    if bar.started_ms is not None:
        drawn += _rect("bar", bar.started_ms, end, chart, y)
        if failed(bar) and _px(end - bar.started_ms, chart) >= SIGN_PX_MIN:
            middle = NAME_PX + _px((bar.started_ms + end) / 2 - chart.start_ms, chart)
            drawn += f'<path class="on-bar" transform="translate({middle:.1f} {y + 9})" d="{sign_of(bar.state).path}"/>'
    return drawn + "</g>"


def _px(ms: float, chart: Chart) -> float:
    return ms * CHART_PX / chart.span_ms


def _kind(state: str) -> str:
    return f"state-{state}" if state.isascii() and state.isalpha() else "state-pending"


def _rect(kind: str, start_ms: int, end_ms: int, chart: Chart, y: int) -> str:
    if kind == "wait" and end_ms <= start_ms:
        return ""
    x = NAME_PX + _px(start_ms - chart.start_ms, chart)
    width = max(1.5, _px(end_ms - start_ms, chart) - (1 if kind == "bar" else 0))
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" rx="2"/>'
