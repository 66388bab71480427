"""Times and sizes as people write them."""

import math

import pytest

from coterie.engine.quantities import duration_s, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(5, 5.0), (0.5, 0.5), ("90", 90.0), ("1.5", 1.5), ("30s", 30.0), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25),
     ("1h 30m", 5400.0), ("2d", 172_800.0), ("1w", 604_800.0), ("1.5h", 5400.0), (" 3s ", 3.0)],
)  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["soon", "", "5 parsecs", "-1s", -1, True, None, math.inf, math.nan, [1], "1s5", "${{ x }}"]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="should be a duration"):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (512, 512),
        ("512MB", 512_000_000),
        ("2GiB", 2 * 2**30),
        ("1.5 kB", 1500),
        ("10", 10),
        ("3Mi", 3 * 2**20),
        ("1t", 10**12),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["big", "", "5XB", -1, True, None, math.inf, "-5MB", [1]])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="should be a size"):
        size_bytes(text)
