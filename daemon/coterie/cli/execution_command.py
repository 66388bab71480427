"""What the commands that change an execution have in common: find it, say it, show what came of it."""

from pathlib import Path

from coterie.cli.execution_words import next_command
from coterie.cli.options import client_of
from coterie.cli.output import print_json, say
from coterie.cli.targets import find_execution
from coterie.control.client import Document


def command(socket: Path | None, as_json: bool, run: str, verb: str, body: Document | None = None) -> None:
    """Gives one command and prints the id of the execution; what it is now, and what comes next, is talk."""
    client = client_of(socket)
    found = find_execution(client, run, verb)
    show(client.command(found["id"], verb, body), as_json)


def show(document: Document, as_json: bool) -> None:
    """What came of a command: the id, or the whole execution as JSON."""
    if as_json:
        print_json(document)
        return
    print(document["id"])
    following = next_command(document)
    say(document["status"] + (f"; {following[0]}: {following[1]}" if following else ""))
