"""`coterie workflow timeline`."""

import shutil
from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.output import print_json, say
from coterie.cli.targets import find_execution
from coterie_protocols.errors import UserError

COLUMNS_MIN, COLUMNS_MAX = 20, 1000


@click.command("timeline", epilog="Example:  coterie workflow timeline @last --svg -o run.svg")
@daemon_options
@run_argument
@click.option("--svg", is_flag=True, help="A picture for browsers.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where it goes  [default: stdout]"
)
def timeline(socket: Path | None, as_json: bool, run: str, svg: bool, output: Path | None) -> None:
    """Show when each step of an execution waited, ran and ended."""
    client = client_of(socket)
    execution = find_execution(client, run, "timeline")["id"]
    if as_json:
        print_json(client.timeline(execution))
        return
    columns = min(max(shutil.get_terminal_size().columns, COLUMNS_MIN), COLUMNS_MAX)
    text = client.timeline_text(execution, "svg" if svg else "text", columns)
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}", "name another file with -o") from None
    say(f"wrote {output}")
