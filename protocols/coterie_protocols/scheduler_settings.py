"""What one peer decides for itself about claiming, waiting and giving up."""

from dataclasses import dataclass
from typing import Literal

from coterie_protocols.messages import CLAIMS_SHOWN_MAX


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """Times in seconds. `slots` is how many tasks this peer runs at once; `labels` are what it offers."""

    labels: frozenset[str]
    slots: int
    lease_s: float = 12.0
    stagger_s: float = 0.5
    settle_s: float = 0.25
    careful_stagger_s: float = 1.0
    careful_settle_s: float = 1.5
    stable_after_s: float = 2.0
    retry_delay_max_s: float = 60.0
    when_isolated: Literal["continue", "stop"] = "continue"

    def __post_init__(self) -> None:
        if not 0 <= self.slots <= CLAIMS_SHOWN_MAX:
            raise ValueError(f"slots: {self.slots}; a sign of life names {CLAIMS_SHOWN_MAX} claims at most")
