"""The wall clock, which only people read: nothing is ever decided by it."""

import time
from datetime import UTC, datetime


def unix_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC with milliseconds, `2026-11-21T14:31:00.123Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
