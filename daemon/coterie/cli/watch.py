"""Follows a run to its end: as a live tree at a terminal, else as lines or JSON lines."""

import os
import sys

from coterie.cli.follow import RUN_ENDED, RunFollower
from coterie.cli.output import print_json, say
from coterie.cli.run_table import job_note, job_took, peer_of
from coterie.cli.words import duration, peer_names, seconds_between, short_run
from coterie.control.client import Client, Document
from coterie_protocols.errors import UserError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
LOOK_S = 1.0


def watch_run(client: Client, run: str, as_json: bool, final_only: bool = False) -> int:
    """Shows a run until it has ended and returns the exit code; Ctrl-C leaves the run alone."""
    try:
        return show_run(client, run, as_json, final_only)
    except KeyboardInterrupt:
        name = short_run(run)
        say(f"the run goes on; see it again: coterie workflow watch {name}; stop it: coterie workflow cancel {name}")
        return EXIT_INTERRUPTED


def show_run(client: Client, run: str, as_json: bool, final_only: bool) -> int:
    """Shows a run until it has ended and returns the exit code; with `as_json` and `final_only` one document."""
    follower = RunFollower(client, run)
    if as_json:
        ended = _watch_json(follower, final_only)
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from coterie.cli.live import watch_live

        ended = watch_live(client, follower)
    else:
        ended = _watch_lines(client, follower)
    return 0 if ended["status"] == "success" else EXIT_FAILED


def _watch_json(follower: RunFollower, final_only: bool) -> Document:
    seen, told = 0, None
    while True:
        seen, run = follower.after(seen, LOOK_S)
        ended = run["status"] in RUN_ENDED
        if run is not told and (ended or not final_only):
            print_json(run)
            told = run
        if ended:
            return run


def _watch_lines(client: Client, follower: RunFollower) -> Document:
    """One line a transition."""
    seen, told = 0, dict[str, str]()
    names = peer_names(client.members())
    while True:
        seen, run = follower.after(seen, LOOK_S)
        for job in run["jobs"]:
            if job["peer"] and job["peer"] not in names:
                names = {**names, **_names(client)}
            line = job_line(job, names)
            if told.get(job["id"]) != line:
                told[job["id"]] = line
                print(f"{job['id']}: {line}", flush=True)
        if run["status"] in RUN_ENDED:
            took = duration(seconds_between(run["submitted_at"], run["ended_at"]))
            print(f"{run['run']}: {run['status']} after {took}", flush=True)
            return run


def job_line(job: Document, names: dict[str, str]) -> str:
    """A job's state in words."""
    words = str(job["status"])
    if job["status"] not in ("waiting", "queued", "skipped") and job["peer"]:
        words += f" on {peer_of(job, names)}"
    if job["attempt"] > 1:
        words += f" (try {job['attempt']})"
    if job["ended_at"]:
        words += f" after {job_took(job)}"
    note = job_note(job)
    return f"{words}: {note}" if note else words


def _names(client: Client) -> dict[str, str]:
    try:
        return peer_names(client.members())
    except UserError:
        return {}  # the stream of events tells soon enough if the daemon is gone
