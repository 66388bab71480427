"""`coterie invite`."""

import re
from pathlib import Path

import click

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import print_json, say
from coterie.cli.words import count

ROLES = ("admin", "submit", "work", "observe")
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")


class Duration(click.ParamType[float, str]):
    """A time such as 90s, 30m, 1h30m or 7d, in seconds."""

    name = "duration"

    def convert(self, value: float | str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads the text; fails with a usage error."""
        text = str(value)
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{text!r} is no duration; write it like 30m, 1h30m or 7d", param, ctx)
        return float(sum(int(number) * UNITS_S[unit] for number, unit in parts))


@click.command("invite", epilog="Example:  coterie invite --role work --uses 3 --valid 2h")
@daemon_options
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="May repeat  [default: submit, work]")
@click.option("--label", "labels", multiple=True, help="Only machines that join with it get this label; may repeat.")
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1), help="How many machines may join.")
@click.option("--valid", default="1d", show_default=True, type=Duration(), help="For how long, like 30m or 7d.")
def invite(
    socket: Path | None, as_json: bool, roles: tuple[str, ...], labels: tuple[str, ...], uses: int, valid: float
) -> None:
    """Print a token with which another machine can join the coterie.

    Whoever has the token can use it: pass it on as you would a password.
    """
    request = {"roles": roles or ("submit", "work"), "labels": labels, "uses": uses, "valid_s": valid}
    document = client_of(socket).invite(request)
    if as_json:
        print_json(document)
        return
    print(document["token"])
    machines, allowed = count(document["uses"], "machine"), ", ".join(document["roles"])
    say(f"for {machines} with {allowed}, until {document['expires_at']}; use it there with: coterie join TOKEN")
