"""`coterie status`."""

from pathlib import Path
from typing import Any

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import paint, print_fields, print_json
from coterie.cli.words import count, duration, short_digest, short_run
from coterie.control.client import Document

ORDER = ("running", "queued", "success", "failure", "cancelled")


@click.command("status", epilog="Example:  coterie status --json")
@daemon_options
def status(socket: Path | None, as_json: bool) -> None:
    """Show this daemon on one screen."""
    document = client_of(socket).status()
    if as_json:
        print_json(document)
    else:
        _show(document)


def _show(status: Document) -> None:
    alone = status["members"] == 1
    company = "alone in its coterie" if alone else f"{status['connected']} of {status['members'] - 1} others connected"
    free = f"{status['free']} of {count(status['slots'], 'slot')} free"
    print(f"{paint('●', 'green')} {paint(status['name'], 'bold')} is up: {company}, {free}")
    print_fields(
        {
            "coterie": f"{status['coterie_name']}  {paint(status['coterie'], 'dim')}",
            "peer": status["peer"],
            "roles": ", ".join(status["roles"]),
            "labels": ", ".join(status["labels"]),
            "addresses": "  ".join(status["addresses"]),
            "clock": f"{count(status['events'], 'event')}, digest {short_digest(status['digest'])}",
            "runs": _runs(status["runs"]) or "none yet",
            "running": ", ".join(_task(task) for task in status["running"]),
            "data": status["data_dir"],
            "process": f"{status['pid']}, up {duration(status['uptime_s'])}, version {status['version']}",
        }
    )


def _runs(counts: dict[str, Any]) -> str:
    known = [name for name in ORDER if counts.get(name)]
    return ", ".join(f"{counts[name]} {name}" for name in known)


def _task(task: str) -> str:
    run, slash, job = task.partition("/")
    return f"{short_run(run)}{slash}{job}"
