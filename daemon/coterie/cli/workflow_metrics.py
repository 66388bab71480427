"""`coterie workflow metrics`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json
from coterie.cli.targets import find_execution


@click.command("metrics", epilog="Example:  coterie workflow metrics @last --json | jq .parallel_efficiency")
@daemon_options
@run_argument
def metrics(socket: Path | None, as_json: bool, run: str) -> None:
    """Show what an execution took: durations, waits, retries, and how parallel it was."""
    client = client_of(socket)
    document = client.execution_metrics(find_execution(client, run, "metrics")["id"])
    if as_json:
        print_json(document)
        return
    from coterie.cli.metrics_table import print_metrics

    print_metrics(document)
