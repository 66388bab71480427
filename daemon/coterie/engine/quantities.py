"""Times and sizes as people write them: `30s`, `1h30m`, `512MB`, `2GiB`."""

import math
import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
    "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
}  # fmt: skip
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern}\s*)+")
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")


def duration_s(value: object) -> float:
    """Seconds of a number, or of a text such as `90`, `1h30m` or `250ms`. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = math.fsum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(value))
    elif isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        seconds = float(value)
    else:
        raise ValueError(f"should be a duration such as 30s, 5m or 1h30m, not {value!r}")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"should be a duration of 0 or more, not {value!r}")
    return seconds


def size_bytes(value: object) -> int:
    """Bytes of a number, or of a text such as `512MB` (10⁶) or `2GiB` (2³⁰). Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return round(value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"should be a size such as 512MB or 2GiB, not {value!r}")
    return round(float(match[1]) * factor)


Duration = Annotated[
    float,
    BeforeValidator(duration_s),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^([0-9.]+(ms|[smhdw])? ?)+$"}]}
    ),
]
"""A time, held in seconds."""

PositiveDuration = Annotated[Duration, Field(gt=0)]
"""The same, more than none."""

Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ ?[kKmMgGtT]?i?[bB]?$"}]}
    ),
]
"""An amount of memory or disk, held in bytes."""
