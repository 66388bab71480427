"""What a run that was spread came to, from the run as the control socket tells it (coterie.run/1)."""

import json
from collections.abc import Mapping
from typing import Any

from coterie.engine.model import Json, WorkflowSpec
from coterie.engine.spread.document import WHOLE, with_outputs
from coterie.engine.spread.refusals import Placement


def results_of(run: Mapping[str, Any]) -> dict[str, Json]:
    """What its steps returned, those that completed, by id; with placement run there is one for all of it."""
    return {
        str(job["id"]): json.loads(job["outputs"].get("result") or "null")
        for job in run["jobs"]
        if job["outputs"].get("state") == "completed"
    }


def outputs_of(run: Mapping[str, Any], spec: WorkflowSpec, placement: Placement) -> dict[str, Json]:
    """The outputs of the workflow, as far as they are known: of its `output` steps, and those that it names."""
    results = results_of(run)
    if placement == "run":
        return dict(results.get(WHOLE, {}))
    outputs: dict[str, Json] = {}
    for step in with_outputs(spec).steps:
        if step.type == "output":
            outputs |= results.get(step.id, {})
    return outputs
