"""A click group that imports a command only when it is asked for: start-up time is what users feel first."""

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of commands named by `where`: command name -> ("module:attribute", one line of help)."""

    def __init__(self, *args: Any, where: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.where = where

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a newcomer needs them."""
        return list(self.where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command; None where there is none of that name."""
        if cmd_name not in self.where:
            return None
        module, _, attribute = self.where[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest command where none fits."""
        if args and args[0] not in self.where and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{_nearest(args[0], self.where)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in self.where.items()])


def _nearest(name: str, known: Mapping[str, object]) -> str:
    import difflib  # only on this path: it costs a few milliseconds

    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
