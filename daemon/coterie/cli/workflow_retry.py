"""`coterie workflow retry`."""

from pathlib import Path

import click

from coterie.cli.execution_command import command
from coterie.cli.options import daemon_options, run_argument


@click.command("retry", epilog="Example:  coterie workflow retry @last-failed && coterie workflow watch @last")
@daemon_options
@run_argument
@click.argument("step", required=False)
def retry(socket: Path | None, as_json: bool, run: str, step: str | None) -> None:
    """Try failed and cancelled steps of RUN again, or STEP, in the same execution.

    What had completed stays as it is. RUN is an execution. It runs the source tree that it was submitted with: after a
    change of code, submit again.
    """
    command(socket, as_json, run, "retry", {} if step is None else {"step": step})
