"""Submits a `coterie: 1` file to the daemon of this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from coterie.cli.output import say
from coterie.cli.typed_values import pairs, typed
from coterie.client_request import prepare_file
from coterie.client_source import upload_tree
from coterie.client_spread import submit_spread
from coterie.control.client import Client, Document
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.engine.model import WorkflowSpec


def submit_execution(
    client: Client,
    file: Path,
    *,
    inputs: Sequence[str] = (),
    key: str | None = None,
    priority: float | None = None,
    no_source: bool = False,
    placement: Literal["local", "run", "job"] = "local",
) -> Document:
    """Reads a file here, sends its source tree if a step needs it, submits it. Raises InvalidWorkflow, UserError."""
    prepared = prepare_file(file)
    if placement != "local":
        if key is not None:
            raise UserError("--key is for executions on this machine", "leave out --key or --placement")
        given = typed_inputs(prepared.spec, inputs)
        run = submit_spread(client, prepared, given, placement, priority, not no_source, say)
        for note in run.notes:
            say(f"note: {note}")
        return run.document
    request: Document = {"document": prepared.document, "inputs": typed_inputs(prepared.spec, inputs)}
    request |= {} if key is None else {"key": key}
    request |= {} if priority is None else {"priority": priority}
    if prepared.root is not None and not no_source:
        request["source"] = upload_tree(client, prepared.root, say)
    return client.execute(request)


def typed_inputs(spec: "WorkflowSpec", texts: Sequence[str]) -> dict[str, Any]:
    """K=V texts as the workflow declares its inputs; what it does not declare is text. Raises UserError, BadInputs."""
    from coterie.engine.inputs import checked_inputs

    declared = {each.name: each for each in spec.inputs}
    given: dict[str, Any] = {}
    for name, text in pairs(texts, "--input ").items():
        known = declared.get(name)
        given[name] = text if known is None else typed(f"input {name}", text, known.type, known.options)
    checked_inputs(spec, given)  # raises; the defaults are filled in where it is executed
    return given
