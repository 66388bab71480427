"""`coterie completion`."""

import click
from click.shell_completion import get_completion_class

from coterie_protocols.errors import UserError


@click.command("completion", epilog='Example:  eval "$(coterie completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and run ids. Add it to the start-up file of your shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UserError(f"no completion for {shell}")
    print(kind(context.find_root().command, {}, "coterie", "_COTERIE_COMPLETE").source())
