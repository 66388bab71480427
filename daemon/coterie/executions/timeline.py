"""What an execution did when: a bar for each attempt, as data and as a picture."""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal, assert_never

import trio

from coterie.engine.journal.sqlite_journal import SqliteJournal
from coterie.engine.journal.timeline import CHUNK_ROWS
from coterie.engine.pictures.timeline import Bar, timeline_text
from coterie.engine.pictures.timeline_svg import timeline_svg
from coterie.executions.reading import Reading
from coterie.executions.views import BarView, TimelineView, time_of
from coterie.wall_clock import unix_ms

BARS_MAX: Final = 5_000
"""Attempts in one answer."""

Picture = Literal["text", "svg"]


class Timelines:
    """Timelines of the executions that `reading` finds."""

    def __init__(self, reading: Reading, journal: SqliteJournal) -> None:
        self._reading = reading
        self._journal = journal

    async def timeline(self, id_: str, start: int) -> TimelineView:
        """Every attempt of the steps from position `start` on, at most BARS_MAX or so. Raises NotFound."""
        record = self._reading.find(id_)
        bars, following = await self._bars(id_, start)
        shown: list[BarView] = []
        for first in range(0, len(bars), CHUNK_ROWS):
            shown += map(_shown, bars[first : first + CHUNK_ROWS])
            await trio.lowlevel.checkpoint()
        return TimelineView(record.id, record.state, time_of(unix_ms()) or "", tuple(shown), following)

    async def picture(self, id_: str, kind: Picture, columns: int) -> str:
        """The timeline as text of so many columns, or as SVG. Raises NotFound."""
        record = self._reading.find(id_)
        bars, _ = await self._bars(id_, 0)
        now_ms = record.ended_ms or unix_ms()
        match kind:
            case "text":
                draw = partial(timeline_text, bars, now_ms, columns)
            case "svg":
                draw = partial(timeline_svg, bars, now_ms, f"{record.name} {record.id}")
            case _:
                assert_never(kind)
        return await trio.to_thread.run_sync(draw)

    async def _bars(self, id_: str, start: int) -> tuple[Sequence[Bar], int | None]:
        """The bars, and the position of the first step that is left out."""
        record = self._reading.find(id_)
        steps = await self._reading.steps_of(record)
        ready: dict[int, int | None] = {}
        for number, row in enumerate(self._journal.times(record.id), 1):
            ready[row.position] = row.ready_ms
            if number % CHUNK_ROWS == 0:
                await trio.lowlevel.checkpoint()
        bars: list[Bar] = []
        for number, each in enumerate(self._journal.attempts(record.id), 1):
            if number % CHUNK_ROWS == 0:
                await trio.lowlevel.checkpoint()
            if each.position < start:
                continue
            if len(bars) >= BARS_MAX and bars[-1].step != (name := steps.id(each.position)):
                return bars, steps.position(name)
            told = each.note.get("ready_ms") if each.note else ready.get(each.position)
            bars.append(Bar(steps.id(each.position), each.attempt, told, each.started_ms, each.ended_ms, each.state))
        return bars, None


def _shown(bar: Bar) -> BarView:
    ready, started, ended = map(time_of, (bar.ready_ms, bar.started_ms, bar.ended_ms))
    return BarView(bar.step, bar.attempt, ready, started, ended, bar.state)
