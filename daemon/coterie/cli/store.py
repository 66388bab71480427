"""`coterie store`: the events on this disk."""

from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import paint, print_json, say
from coterie.cli.words import count, short_digest

EXIT_DAMAGED = 1


@click.group("store")
def store() -> None:
    """The events on this disk."""


@store.command("verify", epilog="Example:  coterie store verify && echo sound")
@daemon_options
@click.pass_context
def verify(context: click.Context, socket: Path | None, as_json: bool) -> None:
    """Check every stored event again, rebuild the derived state from them and compare digests.

    Exits with 1 where something is wrong.
    """
    document = client_of(socket).verify()
    problems: list[str] = document["problems"]
    if as_json:
        print_json(document)
    elif not problems:
        events = count(document["events"], "event")
        print(f"{paint('✓', 'green')} {events}, all sound; digest {short_digest(document['rebuilt_digest'])}")
    else:
        for problem in problems:
            print(f"{paint('✗', 'red')} {problem}")
        say(f"{paint('hint:', 'cyan')} stop the daemon and restore coterie.db, or rejoin and fetch from the others")
    context.exit(EXIT_DAMAGED if problems else 0)
