"""How one attempt of a step ended."""

from dataclasses import dataclass
from typing import Any

from coterie.engine.failures import Failure
from coterie.engine.model import Json


@dataclass(slots=True)
class Returned:
    """It returned `value`; `arm` is what a conditional step chose."""

    value: Any
    arm: str | None = None


@dataclass(slots=True)
class Expanded:
    """A map step has its items."""

    items: list[Json]


@dataclass(slots=True)
class Failed:
    """It failed; tried again at `retry_at_ms`, or for good where that is None, and `no_retry` says why."""

    failure: Failure
    retry_at_ms: int | None
    no_retry: str = ""


@dataclass(slots=True)
class Stopped:
    """It was cancelled."""


Verdict = Returned | Expanded | Failed | Stopped
