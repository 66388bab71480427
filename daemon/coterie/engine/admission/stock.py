"""The resources of one engine, and how much of each is taken."""

import math
from collections.abc import Mapping
from typing import Final

from coterie_protocols.errors import UserError

ROUNDING: Final = 1e-9
"""Of a whole resource: sums of amounts such as 0.1 may miss it by so much."""

_BYTES: Final = frozenset({"memory", "disk"})


class NeverFits(UserError):
    """A step asks for more of a resource than the engine has: it could never start."""

    code = "never-fits"


class Stock:
    """What there is of each resource, and what running steps have taken of it."""

    __slots__ = ("_takers", "taken", "total")

    def __init__(self, total: Mapping[str, float]) -> None:
        for name, amount in total.items():
            if not (math.isfinite(amount) and amount >= 0):
                raise UserError(f"the engine cannot have {amount!r} of {name}", "amounts are numbers from 0 on")
        self.total = dict(total)
        self.taken = dict.fromkeys(total, 0.0)
        self._takers = dict.fromkeys(total, 0)

    def check(self, asked: Mapping[str, float]) -> None:
        """Raises NeverFits for what could never be given, UserError for what is no amount."""
        for name, amount in asked.items():
            if not (math.isfinite(amount) and amount >= 0):
                raise UserError(f"a step cannot ask for {amount!r} of {name}", "amounts are numbers from 0 on")
            total = self.total.get(name)
            if total is None and amount > 0:
                has = ", ".join(sorted(self.total)) or "no resources at all"
                raise NeverFits(f"a step asks for {name}, which this engine does not have", f"it has {has}")
            if total is not None and amount > total:
                raise NeverFits(
                    f"a step asks for {shown(name, amount)} of {name}, and this engine has {shown(name, total)}",
                    "ask for less, or give the engine more",
                )

    def free(self, name: str) -> float:
        """What nobody has taken."""
        return self.total.get(name, 0.0) - self.taken.get(name, 0.0)

    def lacking(self, asked: Mapping[str, float], kept: Mapping[str, float] | None = None) -> str | None:
        """The first resource of which less is free than asked for, when `kept` is left alone; None if all are there."""
        for name, amount in asked.items():
            if amount == 0.0:
                continue
            keep = 0.0 if kept is None else kept.get(name, 0.0)
            if amount + keep > self.free(name) + ROUNDING * self.total[name]:
                return name
        return None

    def take(self, asked: Mapping[str, float]) -> None:
        """For a step that starts."""
        for name, amount in asked.items():
            if amount:
                self.taken[name] += amount
                self._takers[name] += 1

    def give_back(self, asked: Mapping[str, float]) -> None:
        """For a step that ended."""
        for name, amount in asked.items():
            if amount:
                self._takers[name] -= 1
                # Back to nothing exactly, or else rounding would add up for as long as the engine lives.
                self.taken[name] = self.taken[name] - amount if self._takers[name] else 0.0


def shown(name: str, amount: float) -> str:
    """An amount for people: memory and disk in GiB or MiB, others as they are."""
    if name not in _BYTES:
        return f"{amount:.6g}"
    return f"{amount / 2**30:.4g} GiB" if amount >= 2**30 else f"{amount / 2**20:.4g} MiB"
