"""`coterie workflow status`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json
from coterie.cli.run_table import print_run
from coterie.cli.words import peer_names


@click.command("status", epilog="Example:  coterie workflow status 3fk2 --json | jq -r .status")
@daemon_options
@run_argument
def status(socket: Path | None, as_json: bool, run: str) -> None:
    """Show one run with its jobs. RUN is an id or its unique beginning."""
    client = client_of(socket)
    document = client.run(run)
    if as_json:
        print_json(document)
    else:
        print_run(document, peer_names(client.members()))
