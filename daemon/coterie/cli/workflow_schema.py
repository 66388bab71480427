"""`coterie workflow schema`."""

import json

import click

from coterie.cli.options import json_option
from coterie.cli.output import print_json


@click.command("schema", epilog="Example:  coterie workflow schema > coterie-workflow.schema.json")
@json_option
def schema(as_json: bool) -> None:
    """Print the JSON Schema of `coterie: 1` files, for editors that complete and check. No daemon is needed."""
    from coterie.engine.files.schema import file_schema

    document = file_schema()
    if as_json:
        print_json(document)
    else:
        print(json.dumps(document, indent=2, ensure_ascii=False))
