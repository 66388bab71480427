"""`coterie down`."""

import os
import select
from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import print_json, say
from coterie_protocols.errors import TryLater

WAIT_S = 15.0


@click.command("down", epilog="Example:  coterie down")
@daemon_options
def down(socket: Path | None, as_json: bool) -> None:
    """Stop the daemon cleanly, and wait until it is gone. What it runs is released or finished, by its settings."""
    document = client_of(socket).stop()
    _wait(document["pid"])
    if as_json:
        print_json(document)
    else:
        say("stopped")


def _wait(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([process], [], [], WAIT_S)
    finally:
        os.close(process)
    if not ended:
        raise TryLater(f"the daemon (process {pid}) still runs after {WAIT_S:g} s", "see its log; it may be finishing")
