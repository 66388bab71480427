"""`coterie workflow skip`."""

from pathlib import Path

import click

from coterie.cli.execution_command import command
from coterie.cli.options import daemon_options, run_argument


@click.command("skip", epilog="Example:  coterie workflow skip ex-01kajq publish --reason 'done by hand'")
@daemon_options
@run_argument
@click.argument("step")
@click.option("--reason", default="", help="Why; it is shown to others.")
def skip(socket: Path | None, as_json: bool, run: str, step: str, reason: str) -> None:
    """Have STEP of an execution count as done, without a result. One that runs is stopped."""
    command(socket, as_json, run, "skip", {"step": step, "reason": reason})
