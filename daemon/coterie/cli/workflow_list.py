"""`coterie workflow list`."""

from pathlib import Path

import click

from coterie.cli.execution_words import execution_took, steps_done
from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import print_json, print_table, say, status_sign
from coterie.cli.words import age, count, duration, seconds_between, short_run
from coterie.control.client import Client, Document, Refused

HTTP_NOT_FOUND = 404


@click.command("list", epilog="Example:  coterie workflow list --limit 5")
@daemon_options
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
def list_(socket: Path | None, as_json: bool, limit: int) -> None:
    """List runs, the newest first: runs of the coterie, and executions of this machine's engine.

    With --json the executions are in `executions`.
    """
    client = client_of(socket)
    document = client.runs(limit)
    runs: list[Document] = document["runs"]
    executions = _executions(client, limit)
    if as_json:
        print_json({**document, "executions": executions})
        return
    rows = [(run["submitted_at"], _run(run)) for run in runs]
    rows += [(execution["created_at"], _execution(execution)) for execution in executions]
    if not rows:
        say("no runs yet; submit one: coterie workflow submit FILE --watch")
        return
    rows.sort(key=lambda row: row[0], reverse=True)
    headings = ["run", "kind", "status", "workflow", "event", "done", "submitted", "took"]
    print_table(headings, [row for _, row in rows[:limit]])


def _executions(client: Client, limit: int) -> list[Document]:
    try:
        return client.executions(limit)
    except Refused as refused:
        if refused.problem.get("status") == HTTP_NOT_FOUND:
            return []  # a daemon of an earlier version knows no executions
        raise


def _run(run: Document) -> list[str]:
    jobs: list[Document] = run["jobs"]
    ended = sum(job["ended_at"] is not None or job["status"] == "skipped" for job in jobs)
    return [
        short_run(run["run"]),
        "run",
        status_sign(run["status"]),
        run["workflow"],
        run["event"],
        count(len(jobs), "job") if ended == len(jobs) else f"{ended} of {count(len(jobs), 'job')}",
        age(run["submitted_at"]),
        duration(seconds_between(run["submitted_at"], run["ended_at"])),
    ]


def _execution(execution: Document) -> list[str]:
    return [
        short_run(execution["id"]),
        "execution",
        status_sign("asks" if execution["asks"] else execution["status"]),
        execution["workflow"],
        "",
        steps_done(execution["counts"]),
        age(execution["created_at"]),
        execution_took(execution),
    ]
