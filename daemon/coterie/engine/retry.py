"""When a failed attempt is tried again, and how long that waits."""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from coterie.engine.failures import ERROR_CLASSES, RETRY_AFTER_S_MAX, ErrorClass, Failure
from coterie_protocols.errors import UserError

RETRYABLE: Final[frozenset[ErrorClass]] = frozenset({"connection", "timeout", "server", "temporary", "failure"})
"""What is tried again unless a step says otherwise.

"failure", an error of no known kind, is among them: who asks for retries means the RuntimeError of a flaky function
as well, and so do Celery, Prefect and Temporal.
"""

ATTEMPTS_MAX: Final = 10_000
DELAY_S_MAX: Final = 7 * 24 * 3600.0


class BadRetryConfig(UserError, ValueError):
    """A RetryConfig that cannot be meant; the text names the field."""

    code = "bad-retry"


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """`max_attempts` counts the first try. Delays are seconds. Raises BadRetryConfig.

    The n-th delay is drawn from 0 to min(max_delay, base_delay * exponential_base ** (n - 1)) (full jitter: Brooker,
    "Exponential Backoff And Jitter", AWS 2015); without `jitter` it is that bound. `retryable_errors` names the
    classes that are tried again; names of exception types may stand among them ("KeyError", not its subclasses).
    """

    max_attempts: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    jitter: bool = True
    retryable_errors: frozenset[str] = RETRYABLE

    def __post_init__(self) -> None:
        _check_integer("max_attempts", self.max_attempts, 1, ATTEMPTS_MAX)
        _check_number("base_delay", self.base_delay, 0.0, DELAY_S_MAX)
        _check_number("max_delay", self.max_delay, 0.0, DELAY_S_MAX)
        _check_number("exponential_base", self.exponential_base, 1.0, 1000.0)
        if isinstance(self.retryable_errors, str):
            raise BadRetryConfig("retryable_errors must be a set of names, and is one name", "write {...} around it")
        # Lists and sets are welcome; kept is what can be hashed and cannot change.
        object.__setattr__(self, "retryable_errors", frozenset(self.retryable_errors))
        for name in sorted(self.retryable_errors, key=repr):
            _check_name(name)

    def delay_s(self, failures: int, random: Callable[[], float], retry_after_s: float | None = None) -> float:
        """Seconds to wait after the n-th failure (from 1); `random` draws from [0, 1).

        Never less than Retry-After, also where that is above `max_delay`, up to RETRY_AFTER_S_MAX.
        """
        bound_s = self._bound_s(failures)
        delay_s = random() * bound_s if self.jitter else bound_s
        return delay_s if retry_after_s is None else max(delay_s, min(retry_after_s, RETRY_AFTER_S_MAX))

    def decide(
        self,
        failure: Failure,
        failures_so_far: int,
        elapsed_s: float,
        total_timeout_s: float | None,
        random: Callable[[], float],
    ) -> float | None:
        """Seconds until the next try, None where there is none; `why_no_retry` says why.

        `failures_so_far` counts this one and leaves out lost attempts, which are always tried again, at once.
        `elapsed_s` has passed since the first try began. A try that would begin after the total timeout is none.
        """
        if failure.error_class == "lost":
            delay_s = 0.0
        elif self._refusal(failure, failures_so_far):
            return None
        else:
            delay_s = self.delay_s(failures_so_far, random, failure.retry_after_s)
        return None if total_timeout_s is not None and elapsed_s + delay_s >= total_timeout_s else delay_s

    def why_no_retry(self, failure: Failure, failures_so_far: int) -> str:
        """Why `decide` said None to the same failure, for people."""
        return self._refusal(failure, failures_so_far) or "the next try would begin after the total timeout"

    def _bound_s(self, failures: int) -> float:
        try:
            return min(self.max_delay, self.base_delay * self.exponential_base ** (failures - 1))
        except OverflowError:  # beyond any float; only a base above 1 gets there
            return self.max_delay if self.base_delay else 0.0

    def _refusal(self, failure: Failure, failures_so_far: int) -> str:
        if failure.error_class == "cancelled":
            return "it was cancelled"
        if failures_so_far >= self.max_attempts:
            return f"{failures_so_far} of {self.max_attempts} attempts have failed"
        if failure.error_class in self.retryable_errors or failure.type_name in self.retryable_errors:
            return ""
        return f"errors of the class {failure.error_class!r} are not tried again"


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRetryConfig(f"{name} must be a number, and is {value!r}")
    if not least <= value <= most:
        raise BadRetryConfig(f"{name} must be from {least:g} to {most:g}, and is {value!r}")


def _check_integer(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRetryConfig(f"{name} must be a whole number, and is {value!r}")
    _check_number(name, value, least, most)


def _check_name(name: object) -> None:
    """A class of errors, or what looks like the name of an exception type."""
    if name in ERROR_CLASSES and name != "cancelled":
        return
    if name == "cancelled":
        raise BadRetryConfig("retryable_errors names 'cancelled', but what was cancelled is never tried again")
    # Classes of errors are lower case, exception types by custom are not: a mistyped class is found out.
    if not isinstance(name, str) or not name.isidentifier() or name.islower():
        near = difflib.get_close_matches(str(name), ERROR_CLASSES, 1)
        hint = f"did you mean {near[0]!r}?" if near else "they are: " + ", ".join(ERROR_CLASSES)
        raise BadRetryConfig(f"retryable_errors names {name!r}, which is no class of errors", hint)


NO_RETRY: Final = RetryConfig(max_attempts=1)
