"""`coterie workflow logs`."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from coterie.cli.follow import (
    JOB_ENDED,
    RUN_ENDED,
    TIMESTAMP_CHARS,
    RunFollower,
    followed_lines,
    log_lines,
    without_time,
)
from coterie.cli.log_text import readable
from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import paint, say
from coterie.control.client import Client, Document, Refused
from coterie_protocols.errors import NotFound, UserError

FOLLOWED_MAX = 32  # connections at a time
STARTED = JOB_ENDED | {"running"}

Print = Callable[[str, str], None]
"""Prints (job, line)."""


@click.command("logs", epilog="Example:  coterie workflow logs 3fk2 build -f")
@daemon_options
@run_argument
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the jobs have ended.")
@click.option("--attempt", type=click.IntRange(1), help="An earlier try  [default: the one that counts]")
@click.option("-t", "--timestamps", is_flag=True, help="Print when each line was written.")
def logs(
    socket: Path | None, as_json: bool, run: str, job: str | None, follow: bool, attempt: int | None, timestamps: bool
) -> None:
    """Print the output of JOB in RUN, or of all its jobs.

    Without JOB each line follows its job's name. GitHub's markers are shown as headings; --json prints
    one object a line (coterie.log/1) and leaves them in.
    """
    client = client_of(socket)
    document = client.run(run)
    if job is not None:
        name = find_job(document, job)
        show = _printer(document["run"], as_json, timestamps, 0)
        _print_one(client, document, name, attempt, follow, show)
        return
    if attempt is not None:
        raise UserError("--attempt needs a JOB", "coterie workflow logs RUN JOB --attempt N")
    show = _printer(document["run"], as_json, timestamps, max(len(each["id"]) for each in document["jobs"]))
    if follow:
        _follow_all(client, document, show)
    else:
        _print_all(client, document, show)


def find_job(run: Document, wanted: str) -> str:
    """The id of the job that `wanted` names: its id, its unique beginning. Raises NotFound."""
    ids: list[str] = [job["id"] for job in run["jobs"]]
    found = [wanted] if wanted in ids else [each for each in ids if each.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{wanted!r} may be any of: {', '.join(found)}", "give the whole id, in quotes")
    raise NotFound(f"the run has no job {wanted!r}", f"its jobs: {', '.join(ids)}")


def _print_one(client: Client, run: Document, job: str, attempt: int | None, follow: bool, show: Print) -> None:
    lines: Iterator[str]
    if follow and attempt is None:
        lines = followed_lines(client, RunFollower(client, run["run"]), job)
    else:
        lines = (line for _, line in log_lines(client, run["run"], job, attempt, follow))
    for line in lines:
        show(job, line)


def _print_all(client: Client, run: Document, show: Print) -> None:
    for job in run["jobs"]:
        if job["status"] not in STARTED or not job["attempt"]:
            continue
        try:
            for _, line in log_lines(client, run["run"], job["id"], None, False):
                show(job["id"], line)
        except Refused as error:
            say(f"{job['id']}: {error.message}")


def _follow_all(client: Client, run: Document, show: Print) -> None:
    """One thread for each job that runs or has run; they end by themselves, with their jobs."""
    follower = RunFollower(client, run["run"])
    room = threading.Semaphore(FOLLOWED_MAX)
    readers: dict[str, threading.Thread] = {}

    def read(job: str) -> None:
        with room:
            try:
                for line in followed_lines(client, follower, job):
                    show(job, line)
            except UserError as error:
                say(f"{job}: {error.message}")

    seen = 0
    while True:
        seen, run = follower.after(seen, 1.0)
        for job in run["jobs"]:
            if job["status"] in STARTED and job["attempt"] and job["id"] not in readers:
                readers[job["id"]] = threading.Thread(target=read, args=(job["id"],), daemon=True)
                readers[job["id"]].start()
        if run["status"] in RUN_ENDED:
            break
    for reader in readers.values():
        reader.join()


def _printer(run: str, as_json: bool, timestamps: bool, width: int) -> Print:
    one_at_a_time = threading.Lock()

    def show(job: str, line: str) -> None:
        if as_json:
            text = _as_json(run, job, line)
        elif (shown := readable(line)) is None:
            return
        else:
            time = f"{paint(line[: TIMESTAMP_CHARS - 1], 'dim')} " if timestamps else ""
            text = (f"{paint(job.ljust(width) + ' |', 'dim')} " if width else "") + time + shown
        with one_at_a_time:
            print(text, flush=True)

    return show


def _as_json(run: str, job: str, line: str) -> str:
    bare = without_time(line)
    time = line[: TIMESTAMP_CHARS - 1] if bare is not line else None
    return json.dumps({"schema": "coterie.log/1", "run": run, "job": job, "time": time, "line": bare})
