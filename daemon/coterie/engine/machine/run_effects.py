"""What a `RunMachine` asks its driver to do, in this order: a later effect may take back an earlier one."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["completed", "failed", "cancelled"]
"""What an execution comes to."""

# Not frozen: a frozen one takes three times as long to make, and one is made for every step.


@dataclass(slots=True)
class Ready:
    """Start this step as soon as there is room for it, and say `started` then."""

    position: int


@dataclass(slots=True)
class Withdraw:
    """Start this step no more: it is ready no longer."""

    position: int


@dataclass(slots=True)
class Stop:
    """Stop this running step; `cancelled` follows, or how it ended before it could be stopped."""

    position: int


@dataclass(slots=True)
class Gather:
    """All children of this map step have ended: make its result of theirs, and say `completed` or `failed`.

    Asked for again where a person had some of the children tried again.
    """

    position: int


@dataclass(slots=True)
class Compensate:
    """Undo this completed step and say `compensated`."""

    position: int


@dataclass(slots=True)
class Ended:
    """The execution has come to its end."""

    state: Outcome


Effect = Ready | Withdraw | Stop | Gather | Compensate | Ended
