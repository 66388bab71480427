"""What a run did when: a bar for each attempt, and the wait for room before it. As SVG: timeline_svg.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from coterie.engine.pictures.words import cells, cut, duration, padded, printable, sign_of

COLUMNS: Final = 80
ROWS_MAX: Final = 200
"""Steps that a timeline shows: the longest, in the order in which they began."""

BARS_SHOWN_MAX: Final = 50
"""Attempts of one step that are drawn: the latest."""


_ASCII: Final = str.maketrans("░█▒…–·�│", ".=x~-.?|")


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt of a step. Times are milliseconds on any clock; None is what has not happened yet.

    `state` is what the attempt came to, or what it is at (StepState; a GitHub job's conclusion does as well).
    """

    step: str
    attempt: int
    ready_ms: int | None
    started_ms: int | None
    ended_ms: int | None
    state: str


@dataclass(frozen=True, slots=True)
class Row:
    """A step and its attempts in order; it ends now where it has not ended."""

    step: str
    bars: Sequence[Bar]
    began_ms: int
    ended_ms: int

    @property
    def state(self) -> str:
        """Of the latest attempt."""
        return self.bars[-1].state

    @property
    def ran_ms(self) -> int:
        """How long all attempts ran together."""
        ran = ((bar.started_ms, end_of(bar, self.ended_ms)) for bar in self.bars)
        return sum(max(0, ended - started) for started, ended in ran if started is not None)

    @property
    def told(self) -> str:
        """How long it ran, and how often."""
        if all(bar.started_ms is None for bar in self.bars):
            return self.state
        tries = self.bars[-1].attempt
        return f"{duration(self.ran_ms)}{f', {tries} tries' if tries > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows with times on one scale, from `start_ms` to `end_ms`; `unseen` names steps that have not been ready yet."""

    rows: Sequence[Row]
    start_ms: int
    end_ms: int
    left_out: int
    unseen: int

    @property
    def span_ms(self) -> int:
        """From the first beginning to the last end."""
        return max(1, self.end_ms - self.start_ms)


def timeline_text(bars: Iterable[Bar], now_ms: int, columns: int = COLUMNS, ascii_only: bool = False) -> str:
    """One line a step: ░ waits for room, █ runs, ▒ is an attempt that failed. `now_ms` is where open bars end.

    At least 60 columns wide. What is left out is said in the last line.
    """
    chart = chart_of(bars, now_ms)
    names = [cut(printable(row.step), max(columns, 60) // 3) for row in chart.rows]
    wide = max(map(cells, names), default=0)
    told = [f"{row.state} {row.told}" if row.told != row.state else row.state for row in chart.rows]
    room = max(columns, 60) - wide - max(map(len, told), default=0) - 6
    lines = [
        f"{padded(name, wide)}  {_cells_of(row, chart, room)}  {_sign(row.state, ascii_only)} {words}"
        for name, row, words in zip(names, chart.rows, told, strict=True)
    ]
    if chart.rows:
        end = duration(chart.span_ms)
        lines.append(f"{' ' * wide}  0{end.rjust(max(room - 1, len(end)))}")
        lines.append("░ waits for room  █ runs  ▒ did not succeed")
    lines += left_out(chart) if chart.rows else [summary(chart), *left_out(chart)]
    drawn = "\n".join(line.rstrip() for line in lines) + "\n"
    return drawn.translate(_ASCII).encode("ascii", "replace").decode() if ascii_only else drawn


def chart_of(bars: Iterable[Bar], now_ms: int) -> Chart:
    """The rows of at most ROWS_MAX steps."""
    by_step: dict[str, list[Bar]] = {}
    for bar in bars:
        by_step.setdefault(bar.step, []).append(bar)
    rows = [row for step, found in by_step.items() if (row := _row(step, found, now_ms)) is not None]
    start = min((row.began_ms for row in rows), default=now_ms)
    end = max((row.ended_ms for row in rows), default=now_ms)
    longest = sorted(rows, key=lambda row: row.began_ms - row.ended_ms)[:ROWS_MAX]
    shown = sorted(longest, key=lambda row: row.began_ms)
    return Chart(shown, start, end, len(rows) - len(shown), len(by_step) - len(rows))


def _row(step: str, bars: list[Bar], now_ms: int) -> Row | None:
    ordered = sorted(bars, key=lambda bar: bar.attempt)[-BARS_SHOWN_MAX:]
    begins = [begin_of(bar) for bar in ordered]
    known = [begin for begin in begins if begin is not None]
    if not known:
        return None
    ends = [end_of(bar, now_ms) for bar in ordered if begin_of(bar) is not None]
    return Row(step, ordered, min(known), max(*ends, *known))


def begin_of(bar: Bar) -> int | None:
    """When it became ready or, where that is not known, started."""
    return bar.ready_ms if bar.ready_ms is not None else bar.started_ms


def _cells_of(row: Row, chart: Chart, room: int) -> str:
    drawn = [" "] * room

    def fill(start_ms: int, end_ms: int, sign: str) -> None:
        first = min(room - 1, (start_ms - chart.start_ms) * room // chart.span_ms)
        last = max(first + 1, round((end_ms - chart.start_ms) * room / chart.span_ms))
        drawn[first:last] = sign * (min(last, room) - first)

    for bar in row.bars:
        end, began = end_of(bar, row.ended_ms), begin_of(bar)
        waited = end if bar.started_ms is None else bar.started_ms
        if began is not None and began < waited:
            fill(began, waited, "░")
        if bar.started_ms is not None:
            fill(bar.started_ms, max(end, bar.started_ms), "▒" if failed(bar) else "█")
    return "".join(drawn)


def end_of(bar: Bar, now_ms: int) -> int:
    """When it ended, or now."""
    return now_ms if bar.ended_ms is None else bar.ended_ms


def failed(bar: Bar) -> bool:
    """Did the attempt come to nothing?"""
    return bar.state in ("failed", "failure", "cancelled")


def _sign(state: str, ascii_only: bool) -> str:
    return sign_of(state).ascii if ascii_only else sign_of(state).text


def summary(chart: Chart) -> str:
    """In a few words."""
    return f"{len(chart.rows):,} steps in {duration(chart.span_ms)}" if chart.rows else "nothing has begun"


def left_out(chart: Chart) -> list[str]:
    """What is not shown."""
    told: list[str] = []
    if chart.left_out:
        told.append(f"… and {chart.left_out:,} shorter steps")
    if chart.unseen:
        told.append(f"{chart.unseen:,} not ready yet")
    return told
