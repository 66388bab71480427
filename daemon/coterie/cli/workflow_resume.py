"""`coterie workflow resume`."""

from pathlib import Path

import click

from coterie.cli.execution_command import command
from coterie.cli.options import daemon_options, run_argument


@click.command("resume", epilog="Example:  coterie workflow resume ex-01kajq")
@daemon_options
@run_argument
def resume(socket: Path | None, as_json: bool, run: str) -> None:
    """Go on with an execution that was paused."""
    command(socket, as_json, run, "resume")
