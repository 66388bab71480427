"""What the submitter hands to the jobs: the workflow and its inputs, as part of the run's event.

The event comes to a step as a file, so neither a shell nor an expression ever reads what stands in it, and no limit of
an environment applies.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from coterie.engine.model import Json, WorkflowSpec
from coterie.engine.planning.spec_document import spec_from_json, spec_to_json
from coterie_protocols.errors import UserError

KEY: Final = "coterie"
SCHEMA: Final = "coterie.spread/1"

STEP_VARIABLE: Final = "COTERIE_STEP"
"""Names the step that a job is to carry out; a job without it carries out the whole workflow."""

OUTPUT_NAMES: Final = ("state", "arm", "result", "error")
"""Of each job. `state`: completed, failed, skipped. `arm`: what a conditional chose. `result`: JSON."""

COMMAND: Final = 'exec "$COTERIE_PYTHON" -P -m coterie.engine.remote_step'


def payload_of(spec: WorkflowSpec, inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The event of the run."""
    return {KEY: {"schema": SCHEMA, "workflow": spec_to_json(spec), "inputs": dict(inputs)}}


def read_payload(event: object) -> tuple[WorkflowSpec, dict[str, Json]]:
    """The workflow and its inputs. Raises UserError where the event holds none that this version can carry out."""
    handed = cast("dict[str, Any]", event).get(KEY) if isinstance(event, dict) else None
    if not isinstance(handed, dict):
        raise UserError(
            "the event of this run holds no workflow of the engine", "it is made by `coterie workflow submit`"
        )
    document = cast("dict[str, Any]", handed)
    if document.get("schema") != SCHEMA:
        raise UserError(
            f"the workflow was handed over as {document.get('schema')!r}, and this peer knows {SCHEMA}",
            "bring the peers to one version of coterie",
        )
    return spec_from_json(document["workflow"]), dict(document["inputs"])


def read_json(path: Path) -> object:
    """What stands in a file that the runner wrote. Raises UserError."""
    try:
        value: object = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "this is for steps of jobs, as a run has them") from None
    return value
