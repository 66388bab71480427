"""`coterie join`."""

import sys
from pathlib import Path

import click

from coterie.cli.init import show_founding
from coterie.cli.options import json_option
from coterie_protocols.errors import UserError

TOKEN_CHARS_MAX = 1024 * 1024


@click.command("join", epilog="Example:  coterie invite | ssh other-machine coterie join -")
@json_option
@click.argument("token")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Key, clock, blobs and logs.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as YAML.")
@click.option("--name", help="What people call this peer  [default: the host's name]")
@click.option("--label", "labels", multiple=True, help="A label of runs-on that this machine serves; may repeat.")
@click.option("--slots", type=int, help="How many tasks run here at a time.")
def join(as_json: bool, token: str, config: Path | None, **given: object) -> None:
    """Join a coterie with a token from `coterie invite`. TOKEN `-` reads it from standard input. Needs no daemon."""
    from coterie import founding
    from coterie.settings import load_settings

    settings = load_settings(config, {key: value for key, value in given.items() if value is not None and value != ()})
    text = (sys.stdin.read(TOKEN_CHARS_MAX) if token == "-" else token).strip()
    if not text:
        raise UserError("the token is empty", "paste what `coterie invite` printed")
    labels = settings.offered_labels()
    joined = founding.join(settings.data_dir, text, settings.name, labels, settings.slots)
    show_founding(joined, settings.data_dir, as_json, "joined")
