"""`coterie workflow rerun`."""

from pathlib import Path

import click

from coterie.cli.execution_command import command
from coterie.cli.options import daemon_options, run_argument
from coterie.control.client import Document
from coterie_protocols.errors import UserError


@click.command("rerun", epilog="Example:  coterie workflow rerun @last --failed")
@daemon_options
@run_argument
@click.argument("step", required=False)
@click.option("--failed", is_flag=True, help="Only what had not completed; the rest is taken over.")
def rerun(socket: Path | None, as_json: bool, run: str, step: str | None, failed: bool) -> None:
    """Execute the plan of RUN again, as a new execution that names the old one.

    With STEP only that step and what depends on it; the results of all others are taken over. RUN is an execution. The
    new one has its inputs and its source tree: after a change of code, submit again.
    """
    if failed and step is not None:
        raise UserError("--failed and STEP are two different things", "give one of them")
    body: Document = {"failed": failed} if step is None else {"step": step}
    command(socket, as_json, run, "rerun", body)
