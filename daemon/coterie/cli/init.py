"""`coterie init`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coterie.cli.options import json_option
from coterie.cli.output import print_json, say
from coterie.locations import default_data_dir

if TYPE_CHECKING:
    from coterie.founding import Founding


@click.command("init", epilog="Example:  coterie init --name office")
@json_option
@click.option("--name", default="home", show_default=True, help="What people call the coterie.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", envvar="COTERIE_DATA_DIR")
def init(as_json: bool, name: str, data_dir: Path | None) -> None:
    """Make this machine's key and found a coterie, of which it is the first member and admin. Needs no daemon."""
    from coterie.founding import found

    where = data_dir or default_data_dir()
    show_founding(found(where, name), where, as_json, "founded")


def show_founding(founding: "Founding", data_dir: Path, as_json: bool, verb: str) -> None:
    """Tells what `init` or `join` did."""
    if as_json:
        print_json(
            {
                "schema": "coterie.founding/1",
                "peer": founding.peer,
                "coterie": founding.coterie,
                "coterie_name": founding.coterie_name,
                "roles": list(founding.roles),
                "data_dir": str(data_dir),
            }
        )
        return
    print(founding.peer)
    say(f"{verb} {founding.coterie_name} ({founding.coterie}) as {', '.join(founding.roles)}, in {data_dir}")
    say("next: coterie up")
