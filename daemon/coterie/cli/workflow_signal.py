"""`coterie workflow signal`."""

import json
from pathlib import Path

import click

from coterie.cli.execution_command import command
from coterie.cli.options import daemon_options, run_argument
from coterie_protocols.errors import UserError


@click.command("signal", epilog="""Example:  coterie workflow signal ex-01kajq approved --data '{"by": "ada"}'""")
@daemon_options
@run_argument
@click.argument("name")
@click.option("--data", metavar="JSON", help="What the step that waits for the signal returns  [default: null]")
def signal(socket: Path | None, as_json: bool, run: str, name: str, data: str | None) -> None:
    """Send the signal NAME to an execution. A step that waits for it takes it, now or later."""
    command(socket, as_json, run, "signal", {"name": name, "data": _parsed(data)})


def _parsed(data: str | None) -> object:
    try:
        return None if data is None else json.loads(data)
    except ValueError as error:
        raise UserError(f"--data is not JSON: {error}", "a text needs its quotes: --data '\"text\"'") from None
