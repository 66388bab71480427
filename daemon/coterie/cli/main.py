"""The command `coterie`: finds the subcommand, and turns every error into one line, a hint and an exit code."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import click

from coterie.cli.lazy import LazyGroup
from coterie.cli.output import print_error
from coterie_protocols.errors import UserError

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_OUR_BUG = 70  # EX_SOFTWARE of sysexits.h

COMMANDS = {
    "init": ("coterie.cli.init:init", "Make this machine's key and found a coterie."),
    "join": ("coterie.cli.join:join", "Join a coterie with a token from `coterie invite`."),
    "up": ("coterie.cli.up:up", "Run the daemon in the foreground."),
    "down": ("coterie.cli.down:down", "Stop the daemon cleanly."),
    "status": ("coterie.cli.status:status", "Show this daemon on one screen."),
    "doctor": ("coterie.cli.doctor:doctor", "Check this machine: settings, data, disk, daemon, tools."),
    "invite": ("coterie.cli.invite:invite", "Print a token with which another machine can join."),
    "peer": ("coterie.cli.peer:peer", "The members of the coterie."),
    "workflow": ("coterie.cli.workflow:workflow", "Plan, submit, watch and cancel runs."),
    "clock": (
        "coterie.cli.clock:clock",
        "Show the Merkle clock of this peer: heads, frontier, digest, number of events.",
    ),
    "store": ("coterie.cli.store:store", "The events on this disk."),
    "testnet": ("coterie.cli.testnet:testnet", "A coterie of several daemons on this machine."),
    "completion": ("coterie.cli.completion:completion", "Print a script that completes commands, options and run ids."),
}

EPILOG = """\b
First steps:
  coterie init && coterie up        found a coterie and start the daemon
  coterie invite                    then `coterie join TOKEN` on another machine
  coterie workflow submit ci.yml --watch

\b
Exit codes: 0 done, 1 the run failed, 2 usage, 4 not allowed, 5 not found,
65 invalid workflow, 69 no daemon, 75 try later, 130 interrupted.
"""


@click.group(
    "coterie",
    cls=LazyGroup,
    where=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(None, "-V", "--version", package_name="coterie", message="%(prog)s %(version)s")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Control socket of the daemon  [default: COTERIE_SOCKET, else that of the user's or the system's service]",
)
def coterie(socket: Path | None) -> None:
    """Run workflows on machines that trust each other, with no server in the middle."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    code = run_command(lambda: coterie.main(list(arguments), "coterie", standalone_mode=False), "--json" in arguments)
    code = _flush() or code
    sys.exit(code)


def run_command(command: Callable[[], object], as_json: bool) -> int:
    """Calls `command` and returns its exit code; errors of the user's are told on stderr, bugs with a traceback."""
    try:
        result = command()
    except UserError as error:
        print_error(error, as_json)
        return error.exit_code
    except click.ClickException as error:
        print_error(_as_user_error(error), as_json)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _silence_stdout()
    except Exception:  # noqa: BLE001 - the last resort of the process: reported in full, with its own exit code
        import traceback

        traceback.print_exc()
        print("error: this is a bug in Coterie; please report the lines above", file=sys.stderr)
        return EXIT_OUR_BUG
    return result if isinstance(result, int) else 0


def _as_user_error(error: click.ClickException) -> UserError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see `{context.command_path} --help`" if context else ""
    return UserError(error.format_message().rstrip("."), hint)


def _flush() -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _silence_stdout()
    return 0


def _silence_stdout() -> int:
    # The reader (`| head`) has gone: point stdout elsewhere, so that the interpreter's own flush at exit is quiet.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
