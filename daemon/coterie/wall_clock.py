"""The wall clock, which only people read: nothing is ever decided by it."""

import time
from datetime import UTC, datetime
from typing import Final

YEAR_9999_MS: Final = 253_402_300_799_999
"""The last millisecond that RFC 3339 can write."""


def unix_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC with milliseconds, `2026-11-21T14:31:00.123Z`.

    What lies outside the years 1970 to 9999, by somebody's mad clock, becomes the nearest time that does not.
    """
    seconds, rest = divmod(min(max(ms, 0), YEAR_9999_MS), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"
