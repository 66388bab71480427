"""`coterie clock`."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import print_fields, print_json, print_table
from coterie.cli.words import peer_names


@click.command("clock", epilog="Example:  coterie clock --json | jq -r .digest")
@daemon_options
def clock(socket: Path | None, as_json: bool) -> None:
    """Show the Merkle clock of this peer: heads, frontier, digest, number of events.

    Two peers with equal digests agree on everything.
    """
    client = client_of(socket)
    document = client.clock()
    if as_json:
        print_json(document)
        return
    print_fields(
        {
            "coterie": document["coterie"],
            "digest": document["digest"],
            "events": f"{document['events']:,}" + (f" and {document['pending']:,} pending" * bool(document["pending"])),
            "heads": "\n         ".join(document["heads"]),
        }
    )
    names = peer_names(client.members())
    frontier: dict[str, tuple[int, str]] = document["frontier"]
    rows = [[names.get(author, author), str(seq), cid] for author, (seq, cid) in sorted(frontier.items())]
    print()
    print_table(["author", "seq", "last event"], rows)
