"""`coterie workflow watch`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.targets import find_target, is_execution


@click.command("watch", epilog="Example:  coterie workflow watch 3fk2 && echo passed")
@daemon_options
@run_argument
@click.pass_context
def watch(context: click.Context, /, socket: Path | None, as_json: bool, run: str) -> None:
    """Follow RUN to its end; the exit code is its result.

    That is 0 for success and 1 for anything else. Ctrl-C leaves the run alone.
    --json prints the run as one object a line each time it changes.
    """
    client = client_of(socket)
    found = find_target(client, run)
    if is_execution(found):
        from coterie.cli.execution_watch import watch_execution

        context.exit(watch_execution(client, found["id"], as_json))
    from coterie.cli.watch import watch_run

    context.exit(watch_run(client, found["run"], as_json))
