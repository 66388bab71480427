"""`coterie workflow submit`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from coterie.cli.options import client_of, daemon_options
from coterie.cli.output import print_json, say
from coterie.cli.targets import names_execution
from coterie.cli.typed_values import pairs
from coterie.cli.words import short_run
from coterie.control.client import Client, Document
from coterie_protocols.errors import UserError

PRIORITIES = {"critical": 1.0, "high": 2.0, "normal": 3.0, "low": 4.0, "background": 6.0}
PAYLOAD_BYTES_MAX = 1024 * 1024
FOR_ACTIONS = frozenset({"event", "payload", "retries", "care"})
FOR_ENGINE = frozenset({"key"})


class Priority(click.ParamType[float, str]):
    """A number from 1 (critical) up, or a word."""

    name = "priority"

    def convert(self, value: float | str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads the text; fails with a usage error."""
        if value in PRIORITIES:
            return PRIORITIES[str(value)]
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0.0 <= number <= 1000.0:
            self.fail(f"{value!r} is neither a number from 0 to 1000 nor one of {', '.join(PRIORITIES)}", param, ctx)
        return number


@click.command("submit", epilog="Example:  coterie workflow submit ci.yml --input target=prod --watch")
@daemon_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="K=V", help="An input of the workflow; may repeat.")
@click.option("--event", help="The event that the run is for  [default: workflow_dispatch, else the file's first]")
@click.option("--payload", type=click.Path(path_type=Path), metavar="FILE", help="The event's payload as JSON.")
@click.option("--priority", default="normal", show_default=True, type=Priority(), help="Lower is sooner.")
@click.option(
    "--placement", type=click.Choice(["job", "run"]), default="job", show_default=True, help="What one peer claims."
)
@click.option(
    "--retries", type=click.IntRange(0, 100), default=0, show_default=True, help="More tries of a failed task."
)
@click.option(
    "--care",
    type=click.Choice(["normal", "careful", "at-most-once"]),
    default="normal",
    show_default=True,
    help="How to weigh running twice against not running.",
)
@click.option("--key", help="Submit once: the same key again gives the same execution.")
@click.option("--no-source", is_flag=True, help="Send no source tree, even where a step checks it out.")
@click.option("--watch", "watching", is_flag=True, help="Follow the run to its end; the exit code is its result.")
@click.pass_context
def submit(context: click.Context, /, socket: Path | None, as_json: bool, watching: bool, **given: Any) -> None:
    """Submit a run of the workflow FILE.

    The source tree around it goes along if a step needs it. Prints the run's id.
    Problems of the file are told at once, with exit code 65.

    A `coterie: 1` file is executed by the daemon of this machine, or with --placement by the coterie: each step by some
    peer (job), or all of it by one (run). --key is for these files, and --event, --payload, --retries and --care are
    for GitHub Actions files.
    """
    from coterie.cli.workflow_kind import is_engine_workflow

    client = client_of(socket)
    said = {name for name in given if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if is_engine_workflow(given["file"]):
        document = _execute(client, given, said)
        name = str(document["id"] if "id" in document else document["run"])
    else:
        _refuse(said & FOR_ENGINE, "`coterie: 1` files")
        document = submit_file(client, **{key: value for key, value in given.items() if key not in FOR_ENGINE})
        name = str(document["run"])
    if watching:
        context.exit(_watch(client, name, as_json))
    if as_json:
        print_json(document)
    else:
        print(name)
        say(f"follow it with: coterie workflow watch {short_run(name)}")


def _refuse(options: set[str], whose: str) -> None:
    if options:
        raise UserError(f"--{min(options)} is for {whose}", "leave it out")


def _execute(client: Client, given: Mapping[str, Any], said: set[str]) -> Document:
    from coterie.cli.execution_submit import submit_execution

    _refuse(said & FOR_ACTIONS, "GitHub Actions files")
    return submit_execution(
        client,
        given["file"],
        inputs=given["inputs"],
        key=given["key"],
        priority=given["priority"] if "priority" in said else None,
        no_source=given["no_source"],
        placement=given["placement"] if "placement" in said else "local",
    )


def _watch(client: Client, name: str, as_json: bool) -> int:
    if names_execution(name):
        from coterie.cli.execution_watch import watch_execution

        return watch_execution(client, name, as_json, final_only=True)
    from coterie.cli.watch import watch_run

    return watch_run(client, name, as_json, final_only=True)


def submit_file(
    client: Client,
    file: Path,
    *,
    inputs: Sequence[str] = (),
    event: str | None = None,
    payload: Path | None = None,
    priority: float = PRIORITIES["normal"],
    placement: str = "job",
    retries: int = 0,
    care: str = "normal",
    no_source: bool = False,
) -> Document:
    """Plans a file here, sends its source tree if a step needs it, and submits it. Raises UserError."""
    from coterie.cli.git_facts import git_facts
    from coterie.cli.workflow_file import needs_source, read_workflow
    from coterie.client_source import upload_tree
    from coterie.source_tree import source_root

    given = pairs(inputs, "--input ")
    git = git_facts(file.absolute().parent)
    workflow = read_workflow(file, event, given, True, git)
    root = source_root(file)
    path = file.resolve()
    request: dict[str, object] = {
        "file": path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name,
        "text": workflow.text,
        "event": workflow.event,
        "payload": _payload(payload),
        "inputs": given,
        "priority": priority,
        "placement": placement,
        "care": care,
        "retries": retries,
        "git": git,
    }
    if needs_source(workflow.plan) and not no_source:
        request["source"] = upload_tree(client, root, say)
    return client.submit(request)


def _payload(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            value: object = json.loads(file.read(PAYLOAD_BYTES_MAX))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "name a JSON file with --payload") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}", f"it may have {PAYLOAD_BYTES_MAX} bytes at most") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: must hold a JSON object", "it becomes github.event")
    return cast("dict[str, object]", value)
