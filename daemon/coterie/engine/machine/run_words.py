"""Says in plain English why a step of an execution stands where it does."""

from coterie.engine.machine.run_flow import RunFlow
from coterie.engine.machine.run_table import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    QUEUED,
    READY,
    RUNNING,
    SKIPPED,
    TOLERATED,
    WAITING,
    WAIVED,
)
from coterie.engine.machine.step_graph import listed


def why(flow: RunFlow, position: int) -> str:
    """One sentence, without its full stop. Raises IndexError."""
    told = reason(flow, position)
    match flow.table.code[position]:
        case code if code == PENDING:
            return _why_pending(flow, position)
        case code if code == WAITING:
            return _with("waits to be tried again", told)
        case code if code == QUEUED:
            return _why_queued(flow, position)
        case code if code == READY:
            return "is ready and waits for room"
        case code if code == RUNNING:
            return _why_running(flow, position)
        case code if code == COMPLETED:
            arm = flow.table.arm.get(position)
            return "completed" if arm is None else f"completed: chose arm '{arm}'"
        case code if code == TOLERATED:
            return _with("failed, which is tolerated", told)
        case code if code == WAIVED:
            return _with("skipped by a person", told)
        case code if code == SKIPPED:
            return _with("skipped", told)
        case code if code == FAILED:
            return _with("failed", told)
        case _:
            return _with("cancelled", told)


def reason(flow: RunFlow, position: int) -> str:
    """The reason that is kept with a step: the one that was given, or the rule by which it was skipped."""
    given = flow.table.reason.get(position) or flow.waived.get(position)
    if given is not None:
        return given
    return skipped_by(flow, position) if flow.table.code[position] == SKIPPED else ""


def skipped_by(flow: RunFlow, position: int) -> str:
    """What in its needs skips a step; nothing where they do not."""
    table, graph = flow.table, flow.graph
    if position >= flow.size or table.verdict(position) != "skip":
        return ""
    for need, arm in graph.arms.get(position, ()):
        if table.arm.get(need) != arm:
            return f"arm '{arm}' of {graph.ids[need]} was not chosen"
    merge, needs = graph.merge[position], graph.needs[position]
    if merge in ("any", "first"):
        return f"none of {_names(flow, needs)} completed" if len(needs) > 1 else _came_to(flow, needs)
    bad = [need for need in needs if table.code[need] >= FAILED]
    if not bad or merge == "all":
        bad = [need for need in needs if table.code[need] >= SKIPPED]
    return _came_to(flow, bad)


def _came_to(flow: RunFlow, needs: list[int] | tuple[int, ...]) -> str:
    """`fetch and parse failed and check was skipped`."""
    clauses: list[str] = []
    for code, one, many in (
        (FAILED, "failed", "failed"),
        (CANCELLED, "was cancelled", "were cancelled"),
        (SKIPPED, "was skipped", "were skipped"),
    ):
        found = [need for need in needs if flow.table.code[need] == code]
        if found:
            clauses.append(f"{_names(flow, found)} {one if len(found) == 1 else many}")
    return listed(clauses)


def _why_pending(flow: RunFlow, position: int) -> str:
    owner = flow.owner(position)
    if owner is not None:
        return f"waits for {flow.name(owner)} to go on"
    needs = flow.table.unended_needs(position)
    waits = f"waits for {_names(flow, needs)}" if needs else "waits for the execution to begin"
    return f"{waits}, and is skipped then: {flow.waived[position]}" if position in flow.waived else waits


def _why_queued(flow: RunFlow, position: int) -> str:
    if flow.paused:
        return "waits for the execution to be resumed: it is paused"
    group = flow.group(position)
    assert group is not None
    return f"waits for one of the {group.limit} that may run at a time"


def _why_running(flow: RunFlow, position: int) -> str:
    ending = flow.stopping.get(position)
    if ending is not None:
        return _with("is being stopped", ending.reason)
    group = flow.maps.get(position)
    if group is None:
        return "runs"
    if not group.left:
        return f"gathers what its {len(group.members)} children returned"
    return f"waits for {group.left} of its {len(group.members)} children"


def _names(flow: RunFlow, positions: list[int] | tuple[int, ...]) -> str:
    return listed([flow.name(position) for position in positions])


def _with(words: str, told: str) -> str:
    return f"{words}: {told}" if told else words
