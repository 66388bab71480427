"""The options that commands share, and how a command finds its daemon."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from coterie.control.client import Client, find_client
from coterie_protocols.errors import UserError

COMPLETED_MAX = 50

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """`--json`, for commands that need no daemon."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document with stable keys.")(command)


def daemon_options(command: Command) -> Command:
    """`--socket` and `--json`."""
    socket = click.option(
        "--socket", type=click.Path(path_type=Path), metavar="PATH", help="Control socket of the daemon."
    )
    return socket(json_option(command))


def client_of(socket: Path | None) -> Client:
    """The client for a command's `--socket`, else the one before the subcommand, else the default."""
    context = click.get_current_context()
    return find_client(socket or context.find_root().params.get("socket"))


def run_argument(command: Command) -> Command:
    """The RUN of a command: an id or its unique beginning; of executions also what `targets.find_target` tells."""
    return click.argument("run", shell_complete=_complete_run)(command)


def _complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    client = find_client(context.find_root().params.get("socket"))
    names = ["@last", "@last-failed"]
    with suppress(UserError):  # completion has nowhere to complain
        names += [run["run"] for run in client.runs(COMPLETED_MAX)["runs"]]
        names += [execution["id"] for execution in client.executions(COMPLETED_MAX)]
    return [name for name in names if name.startswith(incomplete)]
