"""`coterie workflow answer`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from coterie.cli.answer_form import ask_person, described, filled
from coterie.cli.execution_command import show
from coterie.cli.execution_words import answer_command
from coterie.cli.options import client_of, daemon_options, run_argument
from coterie.cli.targets import find_execution
from coterie.cli.typed_values import pairs
from coterie.control.client import Document
from coterie_protocols.errors import UserError

ANSWER_BYTES_MAX = 1024 * 1024


class NotAsked(UserError):
    """The step asks nothing now."""

    code = "not-asked"


@click.command("answer", epilog="Example:  coterie workflow answer ex-01kajq approve ok=yes note='ship it'")
@daemon_options
@run_argument
@click.argument("step")
@click.argument("values", nargs=-1, metavar="[K=V]...")
@click.option("--json-file", type=click.Path(path_type=Path), metavar="FILE", help="The answer as JSON; - is stdin.")
def answer(
    socket: Path | None, as_json: bool, run: str, step: str, values: tuple[str, ...], json_file: Path | None
) -> None:
    """Answer the `input` step STEP of an execution.

    Values are read as the form's types. Without any of them the form is asked for field by field, at a terminal.
    """
    client = client_of(socket)
    execution = find_execution(client, run, "answer")
    form = _form(execution, step)
    value = _answer(form, step, values, json_file)
    show(client.command(execution["id"], "answer", {"step": step, "value": value}), as_json)


def _form(execution: Document, step: str) -> Document:
    for ask in execution["asks"]:
        if ask["step"] == step:
            form: Document = ask["form"]
            return form
    asked = [answer_command(execution, ask) for ask in execution["asks"]]
    hint = f"what is asked: {'; '.join(asked)}" if asked else f"{execution['id']} asks nothing now"
    raise NotAsked(f"{step} asks nothing now", hint)


def _answer(form: Document, step: str, values: tuple[str, ...], json_file: Path | None) -> Any:
    if json_file is not None:
        if values:
            raise UserError("the answer is given twice", "give K=V or --json-file")
        return _read(json_file)
    if values or not form.get("properties"):
        return filled(form, pairs(values, ""))
    if not sys.stdin.isatty():
        raise UserError("there is no answer, and no terminal to ask at", f"give K=V; {described(form)}")
    return ask_person(form, step)


def _read(path: Path) -> Any:
    try:
        if str(path) == "-":
            return json.loads(sys.stdin.buffer.read(ANSWER_BYTES_MAX))
        with path.open("rb") as file:
            return json.loads(file.read(ANSWER_BYTES_MAX))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "name a JSON file with --json-file") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}", f"it may have {ANSWER_BYTES_MAX} bytes at most") from None
