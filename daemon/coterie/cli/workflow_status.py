"""`coterie workflow status`."""

from itertools import islice
from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json
from coterie.cli.run_table import print_run
from coterie.cli.targets import find_target, is_execution
from coterie.cli.words import peer_names
from coterie.control.client import Client, Document

STEPS_SHOWN = 50


@click.command("status", epilog="Example:  coterie workflow status 3fk2 --json | jq -r .status")
@daemon_options
@run_argument
@click.option("--all", "everything", is_flag=True, help=f"Show all steps of an execution, not the first {STEPS_SHOWN}.")
def status(socket: Path | None, as_json: bool, run: str, everything: bool) -> None:
    """Show one run with its jobs, or one execution with its steps.

    RUN is an id or its unique beginning; of executions also @last, @last-failed, or the id of a workflow, meaning its
    newest. With --json the steps of an execution are in `steps`.
    """
    client = client_of(socket)
    document = find_target(client, run)
    if is_execution(document):
        _execution(client, document, everything, as_json)
    elif as_json:
        print_json(document)
    else:
        print_run(document, peer_names(client.members()))


def _execution(client: Client, document: Document, everything: bool, as_json: bool) -> None:
    from coterie.cli.execution_show import print_execution

    steps = list(islice(client.all_steps(document["id"]), None if everything else STEPS_SHOWN))
    if as_json:
        print_json({**document, "steps": steps})
    else:
        print_execution(document, steps, sum(document["counts"].values()) - len(steps))
