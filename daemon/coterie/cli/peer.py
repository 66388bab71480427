"""`coterie peer`: the members."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import paint, print_json, print_table
from coterie.cli.words import duration, short_peer
from coterie.control.client import Document

COLOURS = {"self": "green", "alive": "green", "suspect": "yellow", "gone": "red", "unknown": "dim"}


@click.group("peer")
def peer() -> None:
    """The members of the coterie."""


@peer.command("list", epilog="Example:  coterie peer list --json | jq -r '.members[].peer'")
@daemon_options
def list_(socket: Path | None, as_json: bool) -> None:
    """List the members as this peer sees them, itself first."""
    document = client_of(socket).members()
    if as_json:
        print_json(document)
        return
    print_table(
        ["name", "peer", "state", "seen", "slots", "roles", "labels"],
        [_row(member) for member in document["members"]],
    )


def _row(member: Document) -> list[str]:
    state = paint(member["state"], COLOURS.get(member["state"], "dim"))
    away = member["state"] == "alive" and not member["connected"]
    return [
        member["name"],
        short_peer(member["peer"]),
        f"{state} (not connected)" if away else state,
        "" if member["seen_s"] is None else f"{duration(member['seen_s'])} ago",
        f"{member['free']}/{member['slots']}",
        ",".join(member["roles"]),
        ",".join(member["labels"]),
    ]
