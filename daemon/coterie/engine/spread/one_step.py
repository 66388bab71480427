"""One step of a workflow as an execution of its own: what it needs has ended elsewhere, and is handed in."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from coterie.engine.journal.port import StepRow
from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.performing.execution import LOST_MAX
from coterie.engine.spread.references import steps_read
from coterie_protocols.errors import UserError
from coterie_protocols.ops import Status

NULL: Final = "null"


@dataclass(frozen=True, slots=True)
class Need:
    """How the job of a needed step ended, and its outputs."""

    result: Status
    outputs: Mapping[str, str]


def part_of(spec: WorkflowSpec, step: StepSpec) -> WorkflowSpec:
    """The step and those that it reads, which have ended: their place is kept, and their work is not in it.

    The arms of the step were looked at before its job started, and its peer has room for it.
    """
    handed = set(steps_read(step, spec))
    steps = tuple(
        replace(each, arms={}, resources={}, queue_timeout_s=None) if each.id == step.id else _stub(each, handed)
        for each in spec.steps
        if each.id == step.id or each.id in handed
    )
    return replace(spec, steps=steps, outputs={}, max_parallel=0, fail_fast=False, timeout_s=None)


def _stub(step: StepSpec, handed: set[str]) -> StepSpec:
    needs = tuple(need for need in step.needs if need in handed)
    return StepSpec(step.id, "process", needs, step.name, {"expression": NULL}, merge="ended")


def rows_of(part: WorkflowSpec, step: str, needs: Mapping[str, Need], attempt: int) -> list[StepRow]:
    """The journal of that execution as of now: the others have ended, and earlier attempts of `step` were lost.

    An attempt is lost with the peer that made it, as it is with an engine that dies.
    """
    now_ms = time.time_ns() // 1_000_000
    rows: list[StepRow] = []
    for position, each in enumerate(part.steps):
        if each.id != step:
            rows.append(replace(_row(position, needs.get(each.id)), ended_ms=now_ms))
        elif attempt > 1:
            lost = min(attempt - 1, LOST_MAX - 1)
            rows.append(StepRow(position, "running", attempt=lost, lost=lost - 1, ready_ms=now_ms, started_ms=now_ms))
    return rows


def _row(position: int, need: Need | None) -> StepRow:
    if need is None:
        raise UserError("the run does not tell what a need of this step came to", "submit it again")
    state, arm = need.outputs.get("state", ""), need.outputs.get("arm")
    if need.result == "skipped" or (need.result == "success" and state == "skipped"):
        return StepRow(position, "skipped")
    if need.result == "success" and state == "completed":
        result = need.outputs.get("result", NULL)
        return StepRow(position, "completed", attempt=1, result=None if result == NULL else result.encode(), arm=arm)
    if need.result == "cancelled":
        return StepRow(position, "cancelled")
    reason = need.outputs.get("error", "")
    return StepRow(position, "failed", attempt=1, tolerated=need.result == "success", reason=reason)
