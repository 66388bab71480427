"""What a bench says: figures, each with its goal and with a floor that was measured in the same run.

A floor is what nobody could go below on this machine at that moment, such as a bare fsync or an empty interpreter.
Where the machine is slow or busy, the floor rises with the figure, so the ratio of the two can be compared at all.
"""

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from types import FrameType
from typing import Literal

Verdict = Literal["pass", "MISS", ""]


class Effort(Enum):
    """How long a bench may take: for a look in between, for the figures of README, for a quiet hour."""

    QUICK = "quick"
    NORMAL = "normal"
    LONG = "long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `goal` is a bound on `value`: at least it where more is `better`, else at most it."""

    what: str
    value: float
    unit: str
    better: Literal["more", "less"] = "less"
    goal: float | None = None
    floor: float | None = None
    floor_is: str = ""
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the goal was met; empty where there is none."""
        if self.goal is None:
            return ""
        met = self.value >= self.goal if self.better == "more" else self.value <= self.goal
        return "pass" if met else "MISS"

    @property
    def times_floor(self) -> float | None:
        """How many times as much as the floor it costs, whichever way the unit goes."""
        if not self.floor or not self.value:
            return None
        return self.floor / self.value if self.better == "more" else self.value / self.floor


Measure = Callable[[Effort], Iterable[Figure]]


def lines_of(figures: Iterable[Figure]) -> Iterator[str]:
    """The figures as text, one line each."""
    for figure in figures:
        goal = "" if figure.goal is None else f"{'>=' if figure.better == 'more' else '<='} {_number(figure.goal)}"
        line = f"{figure.what:<46} {_number(figure.value):>9} {figure.unit:<9} {goal:<10} {figure.verdict:<5}"
        if figure.floor is not None:
            ratio = f", {figure.times_floor:.1f}x" if figure.times_floor is not None else ""
            line += f" floor {_number(figure.floor)}{ratio} ({figure.floor_is})"
        yield line.rstrip() + (f"  {figure.note}" if figure.note else "")


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"


def document_of(figure: Figure) -> dict[str, object]:
    """The figure for JSON."""
    return {**asdict(figure), "verdict": figure.verdict, "times_floor": figure.times_floor}


def figure_of(document: dict[str, object]) -> Figure:
    """The figure that `document_of` described."""
    fields = {name: value for name, value in document.items() if name in Figure.__dataclass_fields__}
    return Figure(**fields)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def main(measure: Measure, arguments: Sequence[str] | None = None) -> None:
    """Runs one bench by itself: prints each figure as soon as it is known, with --json one JSON object a line."""
    options = parse(argparse.ArgumentParser(), arguments)
    signal.signal(signal.SIGTERM, leave)  # so that whatever a bench started is stopped
    for figure in measure(effort_of(options)):
        text = [json.dumps(document_of(figure))] if options.json else lines_of([figure])
        print(*text, sep="\n", flush=True)


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options that all benches have, and what `parser` has beside."""
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="fewer rounds, for a look in between")
    effort.add_argument("--long", action="store_true", help="more rounds, for a quiet machine")
    return parser.parse_args(arguments)


def effort_of(options: argparse.Namespace) -> Effort:
    """What --quick and --long ask for."""
    return Effort.QUICK if options.quick else Effort.LONG if options.long else Effort.NORMAL


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(1, math.ceil(len(ranked) * percent / 100)) - 1]


def leave(_: int, __: FrameType | None) -> None:
    """Ends this process as SIGTERM asks, by way of all its `finally`."""
    sys.exit(143)
