"""`coterie workflow cancel`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json, say
from coterie.cli.words import short_run


@click.command("cancel", epilog="Example:  coterie workflow cancel 3fk2 --reason 'wrong branch'")
@daemon_options
@run_argument
@click.option("--reason", default="", help="Why; it is shown to others.")
def cancel(socket: Path | None, as_json: bool, run: str, reason: str) -> None:
    """Stop a run: nothing more of it is started, and what runs is stopped, on every peer."""
    document = client_of(socket).cancel(run, reason)
    if as_json:
        print_json(document)
    else:
        print(document["run"])
        say(f"cancelled; follow its end with: coterie workflow watch {short_run(document['run'])}")
