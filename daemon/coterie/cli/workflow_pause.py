"""`coterie workflow pause`."""

from pathlib import Path

import click

from coterie.cli.execution_command import command
from coterie.cli.options import daemon_options, run_argument


@click.command("pause", epilog="Example:  coterie workflow pause ex-01kajq")
@daemon_options
@run_argument
def pause(socket: Path | None, as_json: bool, run: str) -> None:
    """Start nothing more of an execution until it is resumed. What runs goes on."""
    command(socket, as_json, run, "pause")
