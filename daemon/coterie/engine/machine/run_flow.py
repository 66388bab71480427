"""How one thing follows from another in an execution: what an end makes ready, skips, stops and opens up.

Nothing here recurses along the needs: ends are worked off from a list that grows meanwhile, each in O(its dependents).
"""

from array import array
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import repeat
from typing import Final, NamedTuple

from coterie.engine.machine.run_effects import Effect, Gather, Ready, Stop, Withdraw
from coterie.engine.machine.run_table import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    QUEUED,
    READY,
    RUNNING,
    SKIPPED,
    WAITING,
    WAIVED,
    RunTable,
)
from coterie.engine.machine.step_graph import Children, Group, StepGraph

NO_GROUP: Final = -1
PLAIN: Final = Children()


class Ending(NamedTuple):
    """What a step that is being stopped is to end as, and why."""

    code: int
    reason: str


class RunGroup:
    """A group under way. `taken` places are held by its ready and running members, the `queue` waits for one.

    Of a map step's children: `owner` is that step, and `left` counts those that have not ended.
    """

    __slots__ = ("fail_fast", "failed", "first", "index", "left", "limit", "members", "owner", "queue", "rule", "taken")

    def __init__(
        self,
        index: int,
        group: Group,
        members: Sequence[int],
        owner: int = NO_GROUP,
        first: int = 0,
        rule: Children = PLAIN,
    ) -> None:
        self.index = index
        self.limit = group.max_concurrent
        self.fail_fast = group.fail_fast
        self.members = members
        self.owner = owner
        self.first = first
        self.rule = rule
        self.left = len(members)
        self.taken = 0
        self.failed = False
        self.queue: deque[int] = deque()


class RunFlow:
    """The inside of a `RunMachine`. Methods that end steps leave it to `spread` to draw what follows."""

    def __init__(self, graph: StepGraph, fail_fast: bool) -> None:
        self.graph = graph
        self.size = len(graph.ids)
        self.table = RunTable(graph)
        self.effects: list[Effect] = []
        self.stopping: dict[int, Ending] = {}
        self.maps: dict[int, RunGroup] = {}
        self.gathering: set[int] = set()
        self.waived: dict[int, str] = {}  # to be skipped, for that reason, when their turn comes
        self.paused = False
        self.failed_fast = False
        self.fails_fast = fail_fast
        self._just_ended: list[int] = []
        self._dues: list[tuple[int, int]] = []
        self.groups: list[RunGroup] = []
        self._group_of: array[int] | None = None
        if graph.group_of is not None:
            self._group_of = array("i", graph.group_of)
            members: list[list[int]] = [[] for _ in graph.groups]
            for position, index in enumerate(graph.group_of):
                if index != NO_GROUP:
                    members[index].append(position)
            for index, group in enumerate(graph.groups):
                self.groups.append(RunGroup(index, group, members[index]))

    # --- where a step belongs ---

    def group(self, position: int) -> RunGroup | None:
        """The group that limits it."""
        if self._group_of is None:
            return None
        index = self._group_of[position]
        return None if index == NO_GROUP else self.groups[index]

    def owner(self, position: int) -> int | None:
        """The map step that it is a child of."""
        if position < self.size:
            return None
        group = self.group(position)
        assert group is not None
        return group.owner

    def name(self, position: int) -> str:
        """Its id: `resize[3]` for the fourth child of `resize`."""
        indices = ""
        while (owner := self.owner(position)) is not None:
            indices = f"[{position - self.maps[owner].first}]{indices}"
            position = owner
        return self.graph.ids[position] + indices

    # --- beginning ---

    def decide(self, position: int) -> None:
        """Starts or skips a pending step of the plan where its needs say so."""
        match self.table.verdict(position):
            case "run" if position in self.waived:
                self.end(position, WAIVED, self.waived[position])
            case "run":
                self.offer(position)
            case "skip":
                self.end(position, SKIPPED)
            case "wait":
                pass

    def offer(self, position: int) -> None:
        """It could start: tells the driver, or queues it while its group has no room or the execution is paused."""
        if self.paused:
            self.table.put(position, QUEUED)
            return
        group = None if self._group_of is None else self.group(position)
        if group is not None:
            if group.limit and group.taken >= group.limit:
                self.table.put(position, QUEUED)
                group.queue.append(position)
                return
            group.taken += 1
        if position in self.maps:
            self._go_on_with_children(position)
            return
        self.table.put(position, READY)
        self.effects.append(Ready(position))

    def take_back(self, position: int, code: int) -> None:
        """A step that could start cannot any more."""
        before = self.table.put(position, code)
        if before == READY:
            self.effects.append(Withdraw(position))
            self.leave(position)

    def wait_until(self, position: int, due_ms: int) -> None:
        """Tried again from `due_ms` on."""
        before = self.table.put(position, WAITING)
        self.table.due[position] = due_ms
        heappush(self._dues, (due_ms, position))
        if before in (READY, RUNNING):
            self.leave(position)
            self.fill(position)

    def wake(self, now_ms: int) -> None:
        """Offers the steps whose time has come."""
        due, dues = self.table.due, self._dues
        while dues and dues[0][0] <= now_ms:
            due_ms, position = heappop(dues)
            if due.get(position) == due_ms:
                del due[position]
                self.hurry(position)

    def hurry(self, position: int) -> None:
        """Offers a step that waited for its next try; a child whose map step has yet to go on waits for that."""
        self.table.due.pop(position, None)
        self.table.put(position, PENDING)
        owner = self.owner(position)
        if owner is None or self.table.code[owner] == RUNNING:
            self.offer(position)

    def next_due_ms(self) -> int | None:
        """When `wake` has something to do."""
        due, dues = self.table.due, self._dues
        while dues and due.get(dues[0][1]) != dues[0][0]:
            heappop(dues)
        return dues[0][0] if dues else None

    # --- children of map steps ---

    def grow(self, owner: int, count: int) -> RunGroup:
        """A map step has `count` children, after all that are known; they begin when they are offered."""
        rule = self.graph.children.get(owner, PLAIN) if owner < self.size else self._inner_rule(owner)
        first = self.table.grow(count)
        if self._group_of is None:
            self._group_of = array("i", repeat(NO_GROUP, first))
        group = RunGroup(len(self.groups), rule.group, range(first, first + count), owner, first, rule)
        self._group_of.extend(repeat(group.index, count))
        self.groups.append(group)
        self.maps[owner] = group
        return group

    def begin_children(self, group: RunGroup) -> None:
        """Offers those that have not begun; where none is left there is something to gather."""
        code = self.table.code
        for child in group.members:
            if code[child] == PENDING:
                self.offer(child)
        if not group.left:
            self._children_ended(group)

    def _inner_rule(self, owner: int) -> Children:
        group = self.group(owner)
        return PLAIN if group is None or group.rule.inner is None else group.rule.inner

    def _go_on_with_children(self, position: int) -> None:
        self.table.put(position, RUNNING)
        self.table.changed[position] = None
        self.begin_children(self.maps[position])

    def _children_ended(self, group: RunGroup) -> None:
        owner = group.owner
        if self.table.code[owner] != RUNNING:
            return
        ending = self.stopping.get(owner)
        if ending is None:
            self.gathering.add(owner)
            self.effects.append(Gather(owner))
        else:
            self.end(owner, ending.code, ending.reason)

    # --- ending ---

    def end(self, position: int, code: int, reason: str = "") -> None:
        """The step has ended; `spread` must follow."""
        table = self.table
        before = table.put(position, code)
        table.changed[position] = None
        if reason:
            table.reason[position] = reason
        elif table.reason:
            table.reason.pop(position, None)
        if before == WAITING:
            del table.due[position]
        elif self._group_of is not None and before in (READY, RUNNING):
            self.leave(position)
        if self.stopping:
            self.stopping.pop(position, None)
        if self.waived:
            self.waived.pop(position, None)
        if position in self.maps:
            self._end_map(self.maps[position])
        self._just_ended.append(position)

    def _end_map(self, group: RunGroup) -> None:
        self.gathering.discard(group.owner)
        if group.left:
            for child in group.members:
                self.halt(child, Ending(CANCELLED, f"{self.name(group.owner)} has ended"))

    def halt(self, position: int, ending: Ending) -> None:
        """Ends a step by force, with its children: at once where it does not run, by stopping it where it does."""
        table = self.table
        code = table.code[position]
        if code >= COMPLETED:
            return
        if code != RUNNING:
            if code == READY:
                self.effects.append(Withdraw(position))
            self.end(position, ending.code, ending.reason)
            return
        if position in self.stopping:
            return
        self.stopping[position] = ending
        table.changed[position] = None
        if position not in self.maps:
            self.effects.append(Stop(position))
            return
        for child in self.maps[position].members:
            self.halt(child, Ending(CANCELLED, ending.reason))

    def halt_all(self, ending: Ending) -> None:
        """Ends everything that has not ended."""
        for position in range(len(self.table.code)):
            self.halt(position, ending)

    def spread(self) -> None:
        """Draws what follows from the steps that have just ended, and from those that end by that, and so on."""
        code, missing, size = self.table.code, self.table.missing, self.size
        dependents, firsts = self.graph.dependents, self.graph.firsts
        for position in self._just_ended:  # grows while it is walked
            came_to = code[position]
            if came_to == FAILED:
                self.fail_fast(position)
            if self._group_of is not None:
                self._tell_group(position)
            if position < size:
                for dependent in dependents[position]:
                    missing[dependent] -= 1
                    if code[dependent] == PENDING and (
                        not missing[dependent] or (came_to < SKIPPED and dependent in firsts)
                    ):
                        self.decide(dependent)
        self._just_ended.clear()

    def fail_fast(self, position: int) -> None:
        """Ends what a failure is to end: the others of its group, or of the execution. Once for the first failure."""
        group = self.group(position)
        reason = f"{self.name(position)} failed"
        if group is not None and group.fail_fast and not group.failed:
            group.failed = True
            for member in group.members:
                self.halt(member, Ending(CANCELLED, reason))
        if self.fails_fast and position < self.size and not self.failed_fast:
            self.failed_fast = True
            self.halt_all(Ending(CANCELLED, reason))

    def _tell_group(self, position: int) -> None:
        group = self.group(position)
        if group is None:
            return
        if group.owner != NO_GROUP:
            group.left -= 1
            if not group.left:
                self._children_ended(group)
        if group.queue:
            self.fill(position)

    # --- room in groups, and pauses ---

    def leave(self, position: int) -> None:
        """It holds no place in its group any more."""
        group = self.group(position)
        if group is not None:
            group.taken -= 1

    def fill(self, position: int) -> None:
        """Gives the free places of its group to those that wait for one."""
        group = self.group(position)
        if group is None:
            return
        while group.queue and group.taken < group.limit:
            waiting = group.queue.popleft()
            if self.table.code[waiting] == QUEUED:  # else it has ended or been told of since it was put there
                self.offer(waiting)

    def pause(self) -> None:
        """Takes back what has not started."""
        self.paused = True
        for position in self.table.at(READY):
            self.take_back(position, QUEUED)
        for group in self.groups:
            group.queue.clear()

    def resume(self) -> None:
        """Offers what the pause held up, in order of position."""
        self.paused = False
        for position in list(self.table.at(QUEUED)):
            self.offer(position)
