"""`coterie doctor`."""

from pathlib import Path

import click

from coterie.cli.options import daemon_options
from coterie.cli.output import paint, print_json

SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
EXIT_UNHEALTHY = 1


@click.command("doctor", epilog="Example:  coterie doctor --json | jq '.checks[] | select(.level != \"ok\")'")
@daemon_options
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Key, clock, blobs and logs.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as YAML.")
@click.pass_context
def doctor(
    context: click.Context, /, socket: Path | None, as_json: bool, data_dir: Path | None, config: Path | None
) -> None:
    """Check this machine: settings, data, disk, daemon, tools. Says how to mend what is wrong.

    Works without a daemon. Exits with 1 where a check fails; warnings do not count.
    """
    from coterie.cli.doctor_checks import examine

    checks = examine(socket or context.find_root().params.get("socket"), data_dir, config)
    if as_json:
        print_json({"schema": "coterie.doctor/1", "checks": [check.as_document() for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            sign, colour = SIGNS[check.level]
            print(f"{paint(sign, colour)} {check.name.ljust(width)}  {check.value}")
            if check.fix:
                print(f"  {' ' * width}  {paint('fix:', 'cyan')} {check.fix}")
    context.exit(EXIT_UNHEALTHY if any(check.level == "fail" for check in checks) else 0)
