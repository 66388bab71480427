"""`coterie workflow explain`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json
from coterie.cli.targets import find_target, is_execution


@click.command("explain", epilog="Example:  coterie workflow explain @last-failed")
@daemon_options
@run_argument
@click.argument("step", required=False)
def explain(socket: Path | None, as_json: bool, run: str, step: str | None) -> None:
    """Say why the steps of RUN, or STEP, wait, were skipped, were tried again, or ended as they did.

    Of a run of the coterie the same for its jobs.
    """
    from coterie.cli.explanation import print_explanation

    client = client_of(socket)
    found = find_target(client, run)
    if is_execution(found):
        document = client.explain(found["id"], step)
    else:
        from coterie.cli.run_explain import explain_run

        document = explain_run(found, client.members(), step)
    if as_json:
        print_json(document)
    else:
        print_explanation(document["steps"], found)
