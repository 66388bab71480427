"""`coterie testnet`: a coterie of several daemons on this machine."""

from pathlib import Path
from typing import Any

import click

from coterie.cli.options import json_option
from coterie.cli.output import paint, print_json, print_table, say
from coterie.cli.words import short_digest, short_peer
from coterie.control.client import Document

PEERS_MAX = 64
EXIT_DEAD = 1
EXIT_INTERRUPTED = 130

peers_option = click.option(
    "--peers", default=3, show_default=True, type=click.IntRange(1, PEERS_MAX), help="How many."
)
dir_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it lies  [default: in your state directory]",
)
slots_option = click.option(
    "--slots", type=click.IntRange(0, 1024), help="Tasks that each peer runs at a time  [default: 2]"
)
lease_option = click.option("--lease", "lease_s", type=float, metavar="SECONDS", help="Lease of a claim  [default: 3]")


@click.group("testnet")
def testnet() -> None:
    """A coterie of several daemons on this machine, listening on loopback alone."""


@testnet.command("up", epilog="Example:  coterie testnet up --peers 3")
@json_option
@peers_option
@dir_option
@slots_option
@lease_option
def up(as_json: bool, peers: int, directory: Path | None, slots: int | None, lease_s: float | None) -> None:
    """Start real daemons, let the first found a coterie and the others join, and wait until all agree."""
    from coterie.testnet import running, state

    started = running.start(directory or state.default_dir(), peers, _overrides(slots, lease_s), say)
    _show(running.describe(started), as_json)
    first = started.peers[0]
    say(f"use it: export COTERIE_SOCKET={first.socket}")


@testnet.command("status", epilog="Example:  coterie testnet status --json | jq -r '.peers[].digest'")
@json_option
@dir_option
@click.pass_context
def status(context: click.Context, /, as_json: bool, directory: Path | None) -> None:
    """List the peers of the testnet; exits with 1 where one of them is dead."""
    from coterie.testnet import running, state

    document = running.describe(state.load_state(directory or state.default_dir()))
    _show(document, as_json)
    context.exit(0 if all(peer["alive"] for peer in document["peers"]) else EXIT_DEAD)


@testnet.command("down", epilog="Example:  coterie testnet down")
@json_option
@dir_option
def down(as_json: bool, directory: Path | None) -> None:
    """Stop all daemons of the testnet and remove what it made."""
    from coterie.testnet import running, state

    stopped, killed = running.stop(directory or state.default_dir())
    if as_json:
        names = [peer.name for peer in stopped.peers]
        print_json(
            {"schema": "coterie.testnet-down/1", "dir": str(stopped.dir), "stopped": names, "killed": list(killed)}
        )
        return
    say(f"stopped {len(stopped.peers)} peers in {stopped.dir}")
    if killed:
        say(f"{paint('warning:', 'yellow')} had to be killed: {', '.join(killed)}")


@testnet.command("run", epilog="Example:  coterie testnet run ci.yml --peers 3 --json | tail -1 | jq .jobs")
@json_option
@click.argument("file", type=click.Path(path_type=Path))
@peers_option
@dir_option
@slots_option
@lease_option
@click.option("--input", "inputs", multiple=True, metavar="K=V", help="An input of workflow_dispatch; may repeat.")
@click.option("--event", help="The event that the run is for.")
@click.pass_context
def run(context: click.Context, /, as_json: bool, file: Path, **given: Any) -> None:
    """Run the workflow FILE on a testnet and follow it to its end; the exit code is its result.

    Uses the testnet that runs already, else starts one and takes it down afterwards.
    """
    from coterie.cli.git_facts import git_facts
    from coterie.cli.workflow_file import read_workflow
    from coterie.testnet import running, state

    directory: Path = given["directory"] or state.default_dir()
    inputs, event = given["inputs"], given["event"]
    read_workflow(file, event, {}, False, git_facts(file.absolute().parent))  # before anything is started
    own = not (directory / state.STATE_FILE).exists()
    if own:
        running.start(directory, given["peers"], _overrides(given["slots"], given["lease_s"]), say)
    try:
        context.exit(_run(running.alive_client(state.load_state(directory)), file, inputs, event, as_json))
    finally:
        if own:
            running.stop(directory)


def _run(client: Any, file: Path, inputs: tuple[str, ...], event: str | None, as_json: bool) -> int:
    from coterie.cli.watch import show_run
    from coterie.cli.workflow_submit import submit_file

    submitted = submit_file(client, file, inputs=inputs, event=event)
    return show_run(client, submitted["run"], as_json, final_only=True)


def _overrides(slots: int | None, lease_s: float | None) -> dict[str, object]:
    given = {"slots": slots, "lease_s": lease_s}
    return {name: value for name, value in given.items() if value is not None}


def _show(document: Document, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    print_table(["name", "peer", "pid", "state", "connected", "digest", "socket"], list(map(_row, document["peers"])))


def _row(peer: Document) -> list[str]:
    if not peer["alive"]:
        state = paint("dead", "red")
    else:
        state = paint("silent", "yellow") if peer["digest"] is None else paint("alive", "green")
    return [
        peer["name"],
        short_peer(peer["peer"]),
        str(peer["pid"]),
        state,
        "" if peer["connected"] is None else str(peer["connected"]),
        short_digest(peer["digest"] or ""),
        peer["socket"],
    ]
