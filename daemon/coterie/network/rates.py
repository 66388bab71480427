"""Token buckets, one for each peer that says something."""

from dataclasses import dataclass
from typing import Final

from coterie_protocols.identity import PeerId

BUCKETS_MAX: Final = 4096
_BURST_S: Final = 2.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """How much each peer may still say: `per_s` on average, two seconds' worth at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._burst = per_s * _BURST_S
        self._buckets: dict[PeerId, _Bucket] = {}

    def allow(self, peer: PeerId, now: float) -> bool:
        """Takes a token of `peer` at `now` (seconds of any steady clock); False if there is none."""
        bucket = self._buckets.pop(peer, None) or _Bucket(self._burst, now)
        self._buckets[peer] = bucket  # the least recently used comes first
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
