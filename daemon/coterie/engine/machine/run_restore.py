"""Takes up the state of an execution where its rows end."""

from collections.abc import Iterable, Mapping

from coterie.engine.journal.port import StepRow
from coterie.engine.machine.run_flow import RunFlow
from coterie.engine.machine.run_table import (
    CANCELLED,
    COMPLETED,
    FAILED,
    SKIPPED,
    TOLERATED,
    WAIVED,
)
from coterie.engine.machine.run_undo import Undo
from coterie.engine.machine.run_words import skipped_by


def restore(flow: RunFlow, undo: Undo, rows: Iterable[StepRow], expansions: Mapping[int, tuple[int, int]]) -> None:
    """Fills a fresh flow. What was running is lost, and due at once; what was being stopped has ended so.

    Raises ValueError where the expansions do not follow upon each other.
    """
    for owner, (first, count) in sorted(expansions.items(), key=lambda expansion: expansion[1]):
        if first != len(flow.table.code):
            raise ValueError(f"the children of {owner} begin at {first}, not at {len(flow.table.code)}")
        flow.grow(owner, count)
    told: list[tuple[int, str]] = []
    for row in sorted(rows, key=lambda row: (row.ended_ms or 0, row.position)):
        _put(flow, undo, row)
        if row.reason and row.state == "skipped":
            told.append((row.position, row.reason))
    _count(flow)
    for position, reason in told:
        if reason != skipped_by(flow, position):
            flow.table.reason[position] = reason
    _set_failed_fast(flow)


def _put(flow: RunFlow, undo: Undo, row: StepRow) -> None:
    table, position = flow.table, row.position
    table.attempt[position] = row.attempt
    if row.lost:
        table.lost[position] = row.lost
    if row.arm is not None:
        table.arm[position] = row.arm
    if row.reason and row.state in ("completed", "failed", "cancelled"):
        table.reason[position] = row.reason
    match row.state:
        case "completed":
            table.put(position, COMPLETED)
            undo.completed(position, row.ended_ms or 0)
            if row.compensation:
                undo.done[position] = row.compensation
        case "failed":
            table.put(position, TOLERATED if row.tolerated else FAILED)
        case "skipped":
            table.put(position, WAIVED if row.tolerated else SKIPPED)
        case "cancelled":
            table.put(position, CANCELLED)
        case "running":
            _put_running(flow, row)
        case "pending" | "ready":
            if row.due_ms is not None:
                flow.wait_until(position, row.due_ms)
                if row.reason:
                    table.reason[position] = row.reason
            elif row.tolerated:
                flow.waived[position] = row.reason


def _put_running(flow: RunFlow, row: StepRow) -> None:
    """A reason says that it was being stopped, and `tolerated` that a person had it skipped (see RunMachine.row)."""
    table, position = flow.table, row.position
    if row.reason:
        table.put(position, WAIVED if row.tolerated else CANCELLED)
        table.reason[position] = row.reason
        table.changed[position] = None
        return
    if position not in flow.maps:
        table.lost[position] = row.lost + 1
        table.changed[position] = None
    flow.wait_until(position, 0)


def _count(flow: RunFlow) -> None:
    """Counts what is left for dependents and groups, and ends the children that their map step left behind."""
    table, code = flow.table, flow.table.code
    for group in flow.maps.values():  # those further in come later
        if code[group.owner] >= COMPLETED:
            for child in group.members:
                if code[child] < COMPLETED:
                    table.due.pop(child, None)
                    table.put(child, CANCELLED)
                    table.reason[child] = f"{flow.name(group.owner)} has ended"
                    table.changed[child] = None
        group.left = sum(1 for child in group.members if code[child] < COMPLETED)
    for position in range(flow.size):
        if code[position] >= COMPLETED:
            for dependent in flow.graph.dependents[position]:
                table.missing[dependent] -= 1


def _set_failed_fast(flow: RunFlow) -> None:
    """Fail-fast had its effect where there is a failure and nothing left to be stopped."""
    code = flow.table.code
    flow.failed_fast = flow.fails_fast and flow.table.all_ended and code.find(FAILED, 0, flow.size) >= 0
    for group in flow.groups:
        if group.fail_fast:
            codes = [code[member] for member in group.members]
            group.failed = FAILED in codes and min(codes) >= COMPLETED
