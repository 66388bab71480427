"""Submits a workflow of the engine as a run of the coterie."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from coterie.client_request import Prepared
from coterie.client_run import Run
from coterie.client_source import upload_tree
from coterie.control.client import Client, Document


def submit_spread(
    calls: Client,
    prepared: Prepared,
    inputs: Mapping[str, Any],
    placement: Literal["run", "job"],
    priority: float | None,
    with_source: bool,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Translates, sends the source tree where a step needs it, and submits. `say` is told what is left out of the tree.

    Raises InvalidWorkflow, and CannotSpread with all that peers cannot do together.
    """
    from coterie.engine.planning.spec_document import spec_from_json
    from coterie.engine.spread.document import EVENT, spread

    spec = spec_from_json(prepared.document)  # with functions by import path
    tree = prepared.root if with_source else None
    sheet = spread(spec, inputs, placement=placement, source=tree is not None)
    request: Document = {
        "file": f"{spec.id}.yml",
        "text": sheet.text,
        "event": EVENT,
        "payload": dict(sheet.payload),
        "priority": spec.priority if priority is None else priority,
    }
    if tree is not None:
        request["source"] = upload_tree(calls, tree) if say is None else upload_tree(calls, tree, say)
    return Run(calls, calls.submit(request), spec, placement, sheet.notes)
