"""The live tree of a run: jobs, states, peers, durations and the last line of each log."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from coterie.cli.follow import RUN_ENDED, RunFollower, followed_lines
from coterie.cli.live_tails import Tails
from coterie.cli.output import SIGNS
from coterie.cli.run_table import job_note, job_took, peer_of
from coterie.cli.words import duration, peer_names, seconds_between
from coterie.control.client import Client, Document

FRAME_S = 0.1  # ten frames a second at most
TICK_S = 1.0  # for the durations, when nothing else happens
URGENCY = {"failure": 0, "running": 1, "cancelled": 2, "success": 3, "queued": 4, "waiting": 5, "skipped": 6}
STYLES = {name: (sign, "bright_black" if colour == "dim" else colour) for name, (sign, colour) in SIGNS.items()}


def watch_live(client: Client, follower: RunFollower) -> Document:
    """Draws a run until it has ended, and leaves the last picture."""
    console = Console()
    tails = Tails(lambda job: followed_lines(client, follower, job), follower.touch)
    names = peer_names(client.members())
    seen = 0
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            seen, run = follower.after(seen, TICK_S)
            ended = run["status"] in RUN_ENDED
            if any(job["peer"] and job["peer"] not in names for job in run["jobs"]):
                names = peer_names(client.members())
            tails.follow(job["id"] for job in run["jobs"] if job["status"] == "running")
            rows = None if ended else max(console.height - 2, 4)
            live.update(run_tree(run, names, tails.last, rows), refresh=True)
            if ended:
                return run
            time.sleep(FRAME_S)  # a frame's length: what changes meanwhile goes into the next one


def run_tree(run: Document, names: Mapping[str, str], last: Mapping[str, str], rows_max: int | None) -> Tree:
    """The picture of a run; where it has more rows than `rows_max`, ended and waiting jobs are only counted."""
    sign, colour = STYLES[run["status"]]
    took = duration(seconds_between(run["submitted_at"], run["ended_at"]))
    head = Text.assemble((f"{sign} ", colour), (run["workflow"], "bold"), "  ", (run["status"], colour))
    head.append(f"  {took}  {run['run']}", "bright_black")
    tree = Tree(head, guide_style="bright_black")
    shown = _shown(run["jobs"], last, rows_max)
    widths = _widths(shown, names)
    for job in shown:
        node = tree.add(_job(job, names, widths))
        if job["status"] == "running" and last.get(job["id"]):
            node.add(Text(last[job["id"]], "bright_black", no_wrap=True, overflow="ellipsis"))
    if hidden := len(run["jobs"]) - len(shown):
        tree.add(Text(f"… {hidden} more", "bright_black"))
    return tree


def _shown(jobs: list[Document], last: Mapping[str, str], rows_max: int | None) -> list[Document]:
    if rows_max is None:
        return jobs
    room, chosen = rows_max - 2, set[str]()
    for job in sorted(jobs, key=lambda job: URGENCY[job["status"]]):
        room -= 2 if job["status"] == "running" and last.get(job["id"]) else 1
        if room < 0:
            break
        chosen.add(job["id"])
    return [job for job in jobs if job["id"] in chosen]


def _widths(jobs: list[Document], names: Mapping[str, str]) -> tuple[int, int]:
    return (
        max((len(job["id"]) for job in jobs), default=0),
        max((len(peer_of(job, names)) for job in jobs), default=0),
    )


def _job(job: Document, names: Mapping[str, str], widths: tuple[int, int]) -> Text:
    sign, colour = STYLES[job["status"]]
    name, peer = widths
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{sign} ", colour).append(job["id"].ljust(name)).append(f"  {job['status']:<9}", colour)
    text.append(f"  {peer_of(job, names):<{peer}}", "blue").append(f"  {job_took(job):>8}")
    if job["attempt"] > 1:
        text.append(f"  try {job['attempt']}", "yellow")
    note = job_note(job)
    return text.append(f"  {note}", "red" if job["status"] == "failure" else "bright_black") if note else text
