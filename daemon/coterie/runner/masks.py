"""Values that must never be stored or sent: each is replaced by `***` before a line leaves the runner."""

import base64
import json
import re
from urllib.parse import quote

MASK_CHARS_MIN = 1
MASKS_MAX = 10_000
_STARS = "***"


class Masker:
    """Replaces the values it was told, also as base64, JSON and URI text, and each line of one with several.

    Source of the encodings: actions/runner, src/Runner.Common/HostContext.cs.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Masks `value` from now on."""
        lines = [line for line in value.splitlines() if line.strip()]
        for part in {value, *lines}:
            if len(part.strip()) >= MASK_CHARS_MIN:
                self._values |= _spellings(part)
        if len(self._values) > MASKS_MAX:
            raise ValueError(f"more than {MASKS_MAX} values to mask")
        if self._values:
            # Longest first: a value that begins like a shorter one must not show its end.
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._values, key=len, reverse=True))))

    def mask(self, text: str) -> str:
        """The text without any of the values."""
        return text if self._pattern is None else self._pattern.sub(_STARS, text)

    def holds(self, text: str) -> bool:
        """Does the text hold one of the values?"""
        return self._pattern is not None and self._pattern.search(text) is not None


def _spellings(value: str) -> set[str]:
    spellings = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe="")}
    raw = value.encode("utf-8", "replace")
    # Within a longer text, base64 of the value depends on where its bytes fall in groups of three.
    for shift in range(3):
        encoded = base64.b64encode(raw[shift:]).decode().rstrip("=")
        if len(raw) - shift >= 3:
            spellings |= {encoded, encoded[: len(encoded) - len(encoded) % 4]}
    return {spelling for spelling in spellings if spelling}
