"""All workflows and executions that have something running or waiting, with their limits, and where it waits."""

import math
from collections.abc import Mapping
from typing import Final

from coterie.engine.admission.pools import Account, Lane, Pool, PoolKey, Share, priority_class

ASKS_MAX: Final = 32
"""So many pools are for one set of resources each; beyond, sets of like size stand in one line."""

IDLE_MAX: Final = 64
"""Executions with nothing running or waiting are kept, for most come again at once, but no more of them than of the
others, plus this."""


class Accounts:
    """Finds the lane of a want and keeps the limits that were set. `total` is what there is of each resource."""

    def __init__(self, total: Mapping[str, float]) -> None:
        self.pools: dict[PoolKey, Pool] = {}
        self._total = total
        self._workflows: dict[str, Account[Share]] = {}
        self._executions: dict[str, Account[Lane]] = {}
        self._limits: dict[str, int] = {}
        self._paused: set[str] = set()
        self._sweep_at = IDLE_MAX

    def lane(self, workflow: str, execution: str, priority: float, asked: Mapping[str, float] | None) -> Lane:
        """Where a want of that kind waits for its turn."""
        class_ = priority_class(priority)
        key = (class_, self._size(class_, asked) if asked else ())
        account = self._executions.get(execution)
        if account is None:
            if len(self._executions) >= self._sweep_at:
                self._sweep()
            account = self._executions[execution] = Account(execution, *self._limit(execution))
        lane = account.places.get(key)
        if lane is None:
            lane = account.places[key] = Lane(account, self._share(workflow, key))
        return lane

    def set_limit(self, name: str, max_parallel: int) -> None:
        """Of the workflow or execution of that id; 0: none."""
        if max_parallel > 0:
            self._limits[name] = max_parallel
        else:
            self._limits.pop(name, None)
        self._apply(name)

    def set_paused(self, name: str, paused: bool) -> None:
        """Of the workflow or execution of that id."""
        (self._paused.add if paused else self._paused.discard)(name)
        self._apply(name)

    def _limit(self, name: str) -> tuple[int, bool]:
        return self._limits.get(name, 0), name in self._paused

    def _apply(self, name: str) -> None:
        for account in (self._executions.get(name), self._workflows.get(name)):
            if account is not None:
                account.limit(*self._limit(name))

    def _share(self, workflow: str, key: PoolKey) -> Share:
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = Pool(key[0])
        account = self._workflows.get(workflow)
        if account is None:
            account = self._workflows[workflow] = Account(workflow, *self._limit(workflow))
        share = account.places.get(key)
        if share is None:
            share = account.places[key] = Share(account, pool)
        return share

    def _size(self, class_: int, asked: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
        size = tuple(sorted((name, amount) for name, amount in asked.items() if amount))
        if (class_, size) in self.pools or len(self.pools) < ASKS_MAX:
            return size
        # Halves, quarters, eighths ... of what there is. Less than nothing, so that it is never a true amount.
        return tuple((name, math.frexp(amount / self._total[name])[1] - 2000.0) for name, amount in size)

    def _sweep(self) -> None:
        """Forgets what has nothing running or waiting."""
        self._executions = {
            name: account for name, account in self._executions.items() if account.running or account.waiting
        }
        lanes = [lane for account in self._executions.values() for lane in account.places.values()]
        workflows = {lane.share.account.name for lane in lanes}
        pools = {id(lane.share.pool) for lane in lanes}
        self._workflows = {name: account for name, account in self._workflows.items() if name in workflows}
        self.pools = {key: pool for key, pool in self.pools.items() if id(pool) in pools}
        for account in self._workflows.values():
            account.places = {key: share for key, share in account.places.items() if key in self.pools}
        self._sweep_at = 2 * len(self._executions) + IDLE_MAX
