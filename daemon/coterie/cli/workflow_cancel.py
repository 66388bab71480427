"""`coterie workflow cancel`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json, say
from coterie.cli.targets import find_target, is_execution
from coterie.cli.words import short_run


@click.command("cancel", epilog="Example:  coterie workflow cancel 3fk2 --reason 'wrong branch'")
@daemon_options
@run_argument
@click.option("--reason", default="", help="Why; it is shown to others.")
def cancel(socket: Path | None, as_json: bool, run: str, reason: str) -> None:
    """Stop a run: nothing more of it is started, and what runs is stopped, on every peer.

    An execution has ended when this returns.
    """
    client = client_of(socket)
    found = find_target(client, run)
    if is_execution(found):
        document = client.command(found["id"], "cancel", {"reason": reason})
        name, told = document["id"], f"{document['status']}; go on with: coterie workflow retry "
    else:
        document = client.cancel(found["run"], reason)
        name, told = document["run"], "cancelled; follow its end with: coterie workflow watch "
    if as_json:
        print_json(document)
    else:
        print(name)
        say(told + short_run(name))
