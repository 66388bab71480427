"""What a person may do to single steps of an execution: have one skipped, or have what failed tried again."""

from collections.abc import Sequence
from typing import Final

from coterie.engine.machine.run_flow import Ending, RunFlow
from coterie.engine.machine.run_table import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    QUEUED,
    READY,
    RUNNING,
    SKIPPED,
    STATES,
    TOLERATED,
    WAITING,
    WAIVED,
)
from coterie_protocols.errors import UserError

CAN_RETRY: Final = frozenset({TOLERATED, FAILED, CANCELLED})
WENT_WELL: Final = frozenset({COMPLETED, WAIVED, SKIPPED})
"""From where a map step does not come back for one of its children."""


def skip(flow: RunFlow, position: int, reason: str) -> None:
    """Ends a step as skipped, which counts as completed; one that runs is stopped. `spread` must follow.

    One whose needs have not ended is skipped when they have, unless it is not to run by then. What was skipped or
    cancelled because it failed has another chance. Raises UserError.
    """
    code = flow.table.code[position]
    name = flow.name(position)
    if code in (COMPLETED, WAIVED, SKIPPED):
        raise UserError(f"{name} {_has(code)}: only a step that failed or has not ended can be skipped")
    ending = Ending(WAIVED, reason or "skipped by a person")
    if position in flow.stopping:
        flow.stopping[position] = ending
        flow.table.changed[position] = None
        return
    if code == PENDING and position < flow.size and flow.table.verdict(position) != "run":
        flow.waived[position] = ending.reason  # not now: those that need it would overtake what it needs itself
        flow.table.changed[position] = None
        return
    if code < COMPLETED:
        flow.halt(position, ending)
        return
    _must_be_able_to_go_on(flow, position)
    seeds = [position, *_freed(flow, position)]
    reopen(flow, seeds, waived=ending)


def retry(flow: RunFlow, position: int | None) -> None:
    """Makes one step, or all that failed or were cancelled, pending again, with what was skipped or cancelled for it.

    One that waits for its next try has it at once. `spread` must follow. Raises UserError.
    """
    stopping = [place for place, ending in flow.stopping.items() if ending.code == CANCELLED]
    if stopping:
        raise UserError(f"{flow.name(stopping[0])} is still being stopped", "try again when it has ended")
    if position is None:
        seeds = _all_failed(flow)
        if not seeds:
            raise UserError("no step has failed or was cancelled: there is nothing to try again")
        reopen(flow, seeds)
        return
    code = flow.table.code[position]
    if code == WAITING:
        flow.table.changed[position] = None
        flow.hurry(position)
        return
    if code not in CAN_RETRY:
        raise UserError(f"{flow.name(position)} {_has(code)}: only a step that failed or was cancelled is tried again")
    _must_be_able_to_go_on(flow, position)
    reopen(flow, [position, *_freed(flow, position)])


def reopen(flow: RunFlow, seeds: Sequence[int], waived: Ending | None = None) -> None:
    """Makes ended steps pending again, with all that was skipped or cancelled behind them.

    With `waived`, the first of them ends so instead, and those behind it see that.
    """
    found = _behind(flow, seeds, waived is None)
    for position in found:
        _reset(flow, position)
    steps = [position for position in found if position < flow.size]
    for position in steps:
        flow.table.missing[position] = len(flow.table.unended_needs(position))
    for position in sorted({dependent for step in steps for dependent in flow.graph.dependents[step]} - found):
        _need_opened(flow, position)
    flow.failed_fast = False
    if waived is not None:
        flow.end(seeds[0], waived.code, waived.reason)
        flow.spread()
    for position in sorted(found):
        if flow.table.code[position] == PENDING:
            _begin_again(flow, position)


def _behind(flow: RunFlow, seeds: Sequence[int], whole: bool) -> set[int]:
    """The seeds, what was skipped or cancelled behind them, their map steps, and their failed children.

    The children of the first only where it is to run again (`whole`).
    """
    code = flow.table.code
    found: set[int] = set()
    descended: set[int] = set()
    stack = [(position, whole or place > 0) for place, position in enumerate(seeds)]
    while stack:
        position, down = stack.pop()
        if down and position in flow.maps and position not in descended:
            descended.add(position)
            stack += [(child, True) for child in flow.maps[position].members if code[child] in (FAILED, CANCELLED)]
        if position in found or code[position] < COMPLETED:
            continue
        found.add(position)
        owner = flow.owner(position)
        if owner is not None:
            stack.append((owner, False))
        else:
            dependents = flow.graph.dependents[position]
            stack += [(dependent, True) for dependent in dependents if code[dependent] in (SKIPPED, CANCELLED)]
    return found


def _reset(flow: RunFlow, position: int) -> None:
    table = flow.table
    table.put(position, PENDING)
    table.changed[position] = None
    table.reason.pop(position, None)
    table.arm.pop(position, None)
    group = flow.group(position)
    if group is not None:
        group.failed = False
        group.left += 1


def _need_opened(flow: RunFlow, position: int) -> None:
    """Needs of a step that is not reset itself have not ended any more. What has begun is not taken back."""
    table = flow.table
    table.missing[position] = len(table.unended_needs(position))
    ready = table.code[position] in (QUEUED, READY) and not table.attempt[position]
    if ready and table.verdict(position) != "run":
        flow.take_back(position, PENDING)
        flow.fill(position)


def _begin_again(flow: RunFlow, position: int) -> None:
    owner = flow.owner(position)
    if owner is None:
        flow.decide(position)
    elif flow.table.code[owner] == RUNNING:
        flow.offer(position)


def _all_failed(flow: RunFlow) -> list[int]:
    """The steps of the plan that failed or were cancelled, and such children of map steps that run."""
    table = flow.table
    ended = sorted([*table.at(FAILED), *table.at(CANCELLED)])
    return [position for position in ended if _goes_on(flow, flow.owner(position))]


def _goes_on(flow: RunFlow, owner: int | None) -> bool:
    return owner is None or (flow.table.code[owner] == RUNNING and owner not in flow.gathering)


def _freed(flow: RunFlow, position: int) -> list[int]:
    """What fail-fast cancelled because of this failure, and of no other."""
    table, group = flow.table, flow.group(position)
    freed: list[int] = []
    if table.code[position] != FAILED:
        return freed
    if group is not None and group.failed and sum(table.code[member] == FAILED for member in group.members) == 1:
        freed += [member for member in group.members if table.code[member] == CANCELLED]
    if flow.failed_fast and position < flow.size and table.code.count(FAILED, 0, flow.size) == 1:
        freed += [place for place in table.at(CANCELLED) if place < flow.size]
    return freed


def _must_be_able_to_go_on(flow: RunFlow, position: int) -> None:
    owner = flow.owner(position)
    while owner is not None:
        code, name = flow.table.code[owner], flow.name(owner)
        if code in WENT_WELL or owner in flow.stopping:
            raise UserError(f"{name} {_has(code)}: its children run no more")
        if owner in flow.gathering:
            raise UserError(f"{name} gathers what its children returned", "try again when it has ended")
        owner = flow.owner(owner)


def _has(code: int) -> str:
    match STATES[code]:
        case "completed" | "failed" as state:
            return f"has {state}"
        case "skipped" | "cancelled" as state:
            return f"was {state}"
        case "running":
            return "runs"
        case "pending" | "ready":
            return "has not started"
