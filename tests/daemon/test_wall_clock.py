"""Times for people."""

from datetime import datetime

import pytest

from coterie.wall_clock import rfc3339, unix_ms
from coterie_protocols.ops import MS_MAX


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_271_460_123, "2026-11-21T14:31:00.123Z"),
        (1_795_271_460_999, "2026-11-21T14:31:00.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_exact_to_the_millisecond(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


def test_every_millisecond_survives() -> None:
    for ms in range(1_795_271_460_000, 1_795_271_461_000):
        assert rfc3339(ms)[-4:-1] == f"{ms % 1000:03}"


@pytest.mark.parametrize("ms", [MS_MAX, 2**63, -(2**63)])
def test_the_time_of_a_mad_clock_can_be_shown(ms: int) -> None:
    """Events carry what their author's clock said: nobody's may keep others from listing runs."""
    assert rfc3339(ms) in ("9999-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z")


def test_now_is_now() -> None:
    assert datetime.fromisoformat(rfc3339(unix_ms())).year >= 2024
