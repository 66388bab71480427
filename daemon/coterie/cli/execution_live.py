"""The live picture of an execution: steps, states, durations, what is asked, and the last line of each log."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from coterie.cli.execution_follow import ExecutionFollower
from coterie.cli.execution_source import ExecutionSource, OnAsk, new_asks
from coterie.cli.execution_words import (
    answer_command,
    asked_for,
    execution_took,
    first_line,
    step_note,
    step_took,
    steps_done,
)
from coterie.cli.live import FRAME_S, STYLES, TICK_S
from coterie.cli.live_tails import Tails
from coterie.control.client import Document
from coterie.control.client_executions import ENDED

URGENCY = {"failed": 0, "running": 1, "cancelled": 2, "ready": 3, "completed": 4, "pending": 5, "skipped": 6}
URGENT_MAX = 3
FINAL_ROWS_MAX = 60
"""What stays on the terminal at the end."""


def watch_live(source: ExecutionSource, on_ask: OnAsk | None = None) -> Document:
    """Draws an execution until it has ended, and leaves the last picture. Questions are asked between two pictures."""
    console = Console()
    follower = ExecutionFollower(source)
    tails = Tails(source.lines, follower.touch)
    asked = set[str]()
    while True:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            execution, asks = _draw(live, console, follower, tails, None if on_ask is None else asked)
        if on_ask is None or not asks:
            return execution
        for ask in asks:
            on_ask(ask)


def _draw(
    live: Live, console: Console, follower: ExecutionFollower, tails: Tails, asked: set[str] | None
) -> tuple[Document, list[Document]]:
    """Draws until it has ended, or, unless `asked` is None, until something new is asked, which is returned too."""
    seen = 0
    while True:
        seen, execution, steps = follower.after(seen, TICK_S)
        if execution is None:
            continue
        ended = execution["status"] in ENDED
        asks = [] if asked is None else new_asks(execution, asked)
        tails.follow(step["id"] for step in steps if step["state"] == "running")
        rows = FINAL_ROWS_MAX if ended else max(console.height - 2, 4)
        tree = execution_tree(execution, steps, {**tails.last, **follower.last}, rows, asked is None)
        live.update(tree, refresh=True)
        if ended or asks:
            return execution, asks
        time.sleep(FRAME_S)  # a frame's length: what changes meanwhile goes into the next one


def execution_tree(
    execution: Document, steps: Sequence[Document], last: Mapping[str, str], rows_max: int, tell_answer: bool = True
) -> Tree:
    """The picture; where there are more rows than `rows_max`, what ended and what waits is only counted.

    With `tell_answer` the command that answers it stands below each question.
    """
    tree = Tree(_head(execution), guide_style="bright_black")
    asks = {ask["step"]: ask for ask in execution["asks"]}
    shown = _shown(steps, last, rows_max - 2 * len(asks))
    width = max((len(step["id"]) for step in shown), default=0)
    for step in shown:
        ask = asks.get(step["id"])
        node = tree.add(_step(step, width, ask))
        if ask is not None and tell_answer:
            node.add(Text(answer_command(execution, ask), "yellow", no_wrap=True))
        elif step["state"] == "running" and last.get(step["id"]):
            node.add(Text(last[step["id"]], "bright_black", no_wrap=True, overflow="ellipsis"))
    if hidden := sum(execution["counts"].values()) - len(shown):
        tree.add(Text(f"… {hidden:,} more", "bright_black"))
    if execution["reason"]:
        tree.add(Text(first_line(execution["reason"]), "red" if execution["status"] == "failed" else "yellow"))
    return tree


def _head(execution: Document) -> Text:
    sign, colour = STYLES[execution["status"]]
    head = Text.assemble((f"{sign} ", colour), (execution["name"], "bold"), "  ", (execution["status"], colour))
    told = filter(None, (execution_took(execution), steps_done(execution["counts"]), execution["id"]))
    return head.append(f"  {'  '.join(told)}", "bright_black")


def _shown(steps: Sequence[Document], last: Mapping[str, str], rows_max: int) -> list[Document]:
    room, chosen = rows_max - 3, set[str]()
    for step in sorted(steps, key=_urgency):
        room -= 2 if step["state"] == "running" and last.get(step["id"]) else 1
        if room < 0 and chosen:
            break
        chosen.add(step["id"])
    return [step for step in steps if step["id"] in chosen]


def _urgency(step: Document) -> int:
    """What fails or runs first; what maps have made and is of no news comes last."""
    urgency = URGENCY[step["state"]]
    return urgency + len(URGENCY) if urgency >= URGENT_MAX and step["id"].endswith("]") else urgency


def _step(step: Document, width: int, ask: Document | None) -> Text:
    sign, colour = STYLES["asks" if ask else step["state"]]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{sign} ", colour).append(step["id"].ljust(width))
    text.append(f"  {'asks' if ask else step['state']:<9}", colour).append(f"  {step_took(step):>8}")
    if step["attempt"] > 1:
        text.append(f"  try {step['attempt']}", "yellow")
    if ask is not None:
        return text.append(f"  {asked_for(ask)}", "yellow")
    note = first_line(step_note(step))
    return text.append(f"  {note}", "red" if step["state"] == "failed" else "bright_black") if note else text
