"""Which of the steps that could start may start now: one for all executions of an engine. No clock, no I/O."""

import math
from collections.abc import Mapping
from operator import itemgetter
from typing import Final

from coterie.engine.admission.accounts import Accounts
from coterie.engine.admission.keys import Key
from coterie.engine.admission.pools import Pool
from coterie.engine.admission.stock import NeverFits, Stock, shown
from coterie.engine.admission.wants import Ticket, Want

__all__ = ["RESERVE_AFTER_S", "Admission", "NeverFits", "Ticket", "Want"]

RESERVE_AFTER_S: Final = 30.0
"""So long others may take of the resources that a want does not find free at its turn."""


class Admission:
    """Limits: `max_running` steps at a time, `resources` that running steps share, one step at a time for each key,
    and what `set_limit` says of single workflows and executions.

    The order of those wants that these limits would let go:
    1. The smaller whole number of `priority` (0 to 9) goes first. Wants of one number that ask for the same resources
       are a pool; a pool of which none has started for `ageing_s` counts as one better for each such time. So the last
       are served too, however much work is before them, and a long backlog does not age past what is urgent.
    2. Of a pool the workflow goes first that has the fewest steps running, of a workflow the execution that has the
       fewest, and among equals who was served longest ago: a run of three steps does not wait for the hundred thousand
       that were submitted before.
    3. Of an execution, the smaller `priority * ageing_s + since_s`.

    A pool that finds too little free does not keep other pools waiting until RESERVE_AFTER_S have passed. From then on
    those that come after it leave alone what its first want asks for, so that it is not overtaken for ever.

    Every call costs O(log n) for n wants that wait, for each want that it admits, and besides O(1) for each pool (see
    ASKS_MAX) and for each execution that waits for the very key that became free.
    """

    def __init__(self, max_running: int, resources: Mapping[str, float] | None = None, ageing_s: float = 60.0) -> None:
        if max_running < 1 or not (math.isfinite(ageing_s) and ageing_s > 0):
            raise ValueError(f"max_running and ageing_s must be above 0, and are {max_running} and {ageing_s}")
        self.max_running = max_running
        self._ageing_s = ageing_s
        self._stock = Stock(resources or {})
        self._accounts = Accounts(self._stock.total)
        self._waiting: dict[Ticket, Want] = {}
        self._running: dict[Ticket, Want] = {}
        self._keys: dict[str, Key] = {}
        self._offered = 0
        self._reserved: Want | None = None

    @property
    def running(self) -> int:
        """How many were admitted and not released."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many were offered and neither admitted nor withdrawn."""
        return len(self._waiting)

    @property
    def used(self) -> Mapping[str, float]:
        """What the running ones take of each resource."""
        return self._stock.taken

    # --- what could start ---

    def offer(self, want: Want) -> None:
        """It waits from now on. Raises NeverFits if it asks for more than there is, ValueError if it is in already."""
        ticket = want.ticket
        if ticket in self._waiting or ticket in self._running:
            raise ValueError(f"{_named(want)} is offered a second time")
        if want.resources:
            self._stock.check(want.resources)
        self._offered += 1
        want.number = self._offered
        want.order = want.priority * self._ageing_s + want.since_s
        lane = want.lane = self._accounts.lane(want.workflow, want.execution, want.priority, want.resources)
        lane.account.waiting += 1
        self._waiting[ticket] = want
        if want.key:
            key = self._keys.get(want.key)
            if key is None:
                key = self._keys[want.key] = Key(want.key)
            key.offer(want)
        else:
            lane.push(want)

    def waits(self, ticket: Ticket) -> bool:
        """Was it offered, and neither admitted nor withdrawn?"""
        return ticket in self._waiting

    def withdraw(self, ticket: Ticket) -> bool:
        """It waits no more; False if it did not wait."""
        want = self._waiting.pop(ticket, None)
        if want is None:
            return False
        want.lane.account.waiting -= 1
        if want.key:
            key = self._keys[want.key]
            key.withdraw(want)
            self._tidy(key)
        else:
            want.lane.withdraw(want)
        return True

    def admit(self, now_s: float) -> list[Want]:
        """All that may start now, in their order; they count as running until they are released."""
        admitted: list[Want] = []
        running, max_running = self._running, self.max_running
        while len(running) < max_running and (want := self._next(now_s)) is not None:
            self._start(want, now_s)
            admitted.append(want)
        return admitted

    def release(self, ticket: Ticket) -> None:
        """It ended. Raises KeyError if it was not admitted."""
        want = self._running.pop(ticket)
        if want.resources:
            self._stock.give_back(want.resources)
        want.lane.account.ended()
        want.lane.share.account.ended()
        if want.key:
            key = self._keys[want.key]
            key.release()
            self._tidy(key)

    # --- limits of single workflows and executions ---

    def set_limit(self, name: str, max_parallel: int) -> None:
        """At most so many steps at a time of the workflow or execution of that id; 0 lifts the limit."""
        self._accounts.set_limit(name, max_parallel)

    def pause(self, name: str) -> None:
        """Nothing of the workflow or execution of that id starts until `resume`; what is running is not touched."""
        self._accounts.set_paused(name, True)

    def resume(self, name: str) -> None:
        """The end of `pause`."""
        self._accounts.set_paused(name, False)

    def forget(self, name: str) -> None:
        """The execution of that id has ended: what was set for it goes."""
        self._accounts.set_limit(name, 0)
        self._accounts.set_paused(name, False)

    # --- why something waits ---

    def why(self, ticket: Ticket) -> str:
        """What keeps it from starting, for people; "" if it does not wait. As of the last `admit`."""
        want = self._waiting.get(ticket)
        if want is None:
            return ""
        return self._why_account(want) or self._why_key(want) or self._why_resources(want) or self._why_room()

    def _why_account(self, want: Want) -> str:
        for kind, account in (("run", want.lane.account), ("workflow", want.lane.share.account)):
            if account.paused:
                return f"waits because {kind} {account.name} is paused"
            if not account.open:
                return f"waits for {kind} limit {account.max_running}: {account.running} steps of {account.name} run"
        return ""

    def _why_key(self, want: Want) -> str:
        key = self._keys.get(want.key)
        if key is None:
            return ""
        if key.holder is not None:
            return f"waits for key {want.key!r}: held by {_named(key.holder)}"
        first = key.lines[want.execution].candidate
        return "" if first is None or first is want else f"waits for key {want.key!r}: {_named(first)} goes first"

    def _why_resources(self, want: Want) -> str:
        asked, ahead, after = want.resources or {}, want.lane.pool.kept_for, ""
        name = self._stock.lacking(asked)
        if name is None and ahead is not None and ahead.ticket in self._waiting:
            name = self._stock.lacking(asked, ahead.resources)
            after = f" but kept for {_named(ahead)}, which waits longer"
        if name is None:
            return ""
        free, total = shown(name, self._stock.free(name)), shown(name, self._stock.total[name])
        return f"waits for {name}: asks {shown(name, asked[name])} of {total}, {free} is free{after}"

    def _why_room(self) -> str:
        if len(self._running) < self.max_running:
            return "waits for its turn"
        return f"waits for room: {len(self._running)} of {self.max_running} steps run"

    # --- the order ---

    def _next(self, now_s: float) -> Want | None:
        firsts: list[Want] = []
        for pool in self._accounts.pools.values():
            if pool.shares.size and (first := self._first(pool)) is not None:
                firsts.append(first)
        self._reserved = None
        if len(firsts) < 2:  # as most often: there is nothing to choose, nor anybody to keep anything for
            return firsts[0] if firsts and self._finds_resources(firsts[0], now_s) else None
        self._reserved = self._longest_blocked(firsts, now_s)
        ranked = [(self._rank(want, now_s), want) for want in firsts if self._finds_resources(want, now_s)]
        return min(ranked, key=itemgetter(0))[1] if ranked else None

    def _rank(self, want: Want, now_s: float) -> tuple[int, bool, int, float]:
        share = want.lane.share
        return (
            share.pool.level(now_s, self._ageing_s),
            want is not self._reserved,
            share.account.running,
            share.pool.served_s,
        )

    def _longest_blocked(self, firsts: list[Want], now_s: float) -> Want | None:
        """For whom resources are kept, if for anyone."""
        blocked = [
            (pool.level(now_s, self._ageing_s), pool.blocked_s, want)
            for want in firsts
            if (pool := want.lane.pool).blocked_s is not None and now_s - pool.blocked_s >= RESERVE_AFTER_S
        ]
        return min(blocked, key=itemgetter(0, 1))[2] if blocked else None

    def _finds_resources(self, want: Want, now_s: float) -> bool:
        if not want.resources:
            return True
        pool = want.lane.pool
        if self._stock.lacking(want.resources) is not None:
            pool.blocked(now_s, None)
            return False
        reserved = self._reserved
        if reserved is None or reserved is want or self._stock.lacking(want.resources, reserved.resources) is None:
            return True
        if pool.level(now_s, self._ageing_s) < reserved.lane.pool.level(now_s, self._ageing_s):
            return True  # it goes first anyway
        pool.blocked(now_s, reserved)
        return False

    def _first(self, pool: Pool) -> Want | None:
        """Whose turn it is in a pool. Those that find their key held leave it until that is free."""
        while pool.shares.size:
            want = pool.shares.first().lanes.first().line.first()
            if not want.key or self._keys[want.key].holder is None:
                return want
            self._keys[want.key].park(want)
        return None

    def _start(self, want: Want, now_s: float) -> None:
        del self._waiting[want.ticket]
        self._running[want.ticket] = want
        lane = want.lane
        lane.take(want)
        lane.pool.served(now_s)
        if want.key:
            self._keys[want.key].take(want)
        if want.resources:
            self._stock.take(want.resources)
        lane.account.waiting -= 1
        lane.account.started()
        lane.share.account.started()

    def _tidy(self, key: Key) -> None:
        if key.idle:
            del self._keys[key.name]


def _named(want: Want) -> str:
    return f"run {want.ticket[0]} step {want.ticket[1]}"
