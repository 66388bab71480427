"""`coterie workflow list`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import print_json, print_table, say, status_sign
from coterie.cli.words import age, count, duration, seconds_between, short_run
from coterie.control.client import Document


@click.command("list", epilog="Example:  coterie workflow list --limit 5")
@daemon_options
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
def list_(socket: Path | None, as_json: bool, limit: int) -> None:
    """List runs, the newest first."""
    document = client_of(socket).runs(limit)
    if as_json:
        print_json(document)
    elif not document["runs"]:
        say("no runs yet; submit one: coterie workflow submit FILE --watch")
    else:
        print_table(
            ["run", "status", "workflow", "event", "jobs", "submitted", "took"], list(map(_row, document["runs"]))
        )


def _row(run: Document) -> list[str]:
    jobs: list[Document] = run["jobs"]
    ended = sum(job["ended_at"] is not None or job["status"] == "skipped" for job in jobs)
    return [
        short_run(run["run"]),
        status_sign(run["status"]),
        run["workflow"],
        run["event"],
        count(len(jobs), "job") if ended == len(jobs) else f"{ended} of {count(len(jobs), 'job')}",
        age(run["submitted_at"]),
        duration(seconds_between(run["submitted_at"], run["ended_at"])),
    ]
