"""What the adapter counts, for metrics and tests."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NetworkCounters:
    """A snapshot of the totals since start; `dropped` is by reason, `connections` and `peers` are of now."""

    frames_in: int
    frames_out: int
    frame_bytes_in: int
    frame_bytes_out: int
    gossip_in: int
    gossip_out: int
    fetches_made: int
    fetches_served: int
    fetch_bytes_in: int
    fetch_bytes_out: int
    dials: int
    dial_failures: int
    connections: int
    peers: int
    remembered: int
    dropped: Mapping[str, int]


@dataclass(slots=True)
class Tally:
    """The running totals behind `NetworkCounters`."""

    frames_in: int = 0
    frames_out: int = 0
    frame_bytes_in: int = 0
    frame_bytes_out: int = 0
    gossip_in: int = 0
    gossip_out: int = 0
    fetches_made: int = 0
    fetches_served: int = 0
    fetch_bytes_in: int = 0
    fetch_bytes_out: int = 0
    dials: int = 0
    dial_failures: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])

    def snapshot(self, connections: int, peers: int, remembered: int) -> NetworkCounters:
        """The totals now, with the three gauges that others keep."""
        return NetworkCounters(
            frames_in=self.frames_in,
            frames_out=self.frames_out,
            frame_bytes_in=self.frame_bytes_in,
            frame_bytes_out=self.frame_bytes_out,
            gossip_in=self.gossip_in,
            gossip_out=self.gossip_out,
            fetches_made=self.fetches_made,
            fetches_served=self.fetches_served,
            fetch_bytes_in=self.fetch_bytes_in,
            fetch_bytes_out=self.fetch_bytes_out,
            dials=self.dials,
            dial_failures=self.dial_failures,
            connections=connections,
            peers=peers,
            remembered=remembered,
            dropped=dict(self.dropped),
        )
