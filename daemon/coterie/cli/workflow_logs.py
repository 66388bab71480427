"""`coterie workflow logs`."""

import threading
from collections.abc import Iterator
from pathlib import Path

import click

from coterie.cli.follow import JOB_ENDED, RUN_ENDED, RunFollower, followed_lines, log_lines
from coterie.cli.log_printer import Print, printer
from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import say
from coterie.cli.targets import find_target, is_execution
from coterie.control.client import Client, Document, Refused
from coterie_protocols.errors import NotFound, UserError

FOLLOWED_MAX = 32  # connections at a time
STARTED = JOB_ENDED | {"running"}


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
    """Print the output of JOB in RUN, or of all its jobs. Of an execution the same for its steps.

    Without JOB each line follows its job's name. GitHub's markers are shown as headings; --json prints
    one object a line (coterie.log/1) and leaves them in.
    """
    if attempt is not None and job is None:
        raise UserError("--attempt needs a JOB", "coterie workflow logs RUN JOB --attempt N")
    client = client_of(socket)
    document = find_target(client, run)
    if is_execution(document):
        from coterie.cli.execution_logs import print_logs

        print_logs(client, document["id"], job, attempt, follow, as_json, timestamps)
        return
    if job is not None:
        name = find_job(document, job)
        show = printer(document["run"], as_json, timestamps, 0)
        _print_one(client, document, name, attempt, follow, show)
        return
    show = printer(document["run"], as_json, timestamps, max(len(each["id"]) for each in document["jobs"]))
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
