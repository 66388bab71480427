"""What one daemon counts about itself, in the text format of Prometheus.

No label comes from a peer, and those that come from workflows are bounded (executions/prometheus.py), so the number of
series is. All names begin with `coterie_`.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from coterie.network.counters import NetworkCounters
from coterie_protocols.ops import Status

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SAVE_SECONDS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
"""From a commit that stays in a cache to a disk in distress."""


class Metrics:
    """The counters of one daemon, in a registry of their own, so that many daemons fit into one process."""

    def __init__(self, version: str = "", peer: str = "") -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._gauge("build_info", "Always 1; the labels tell who this is", "version", "peer").labels(version, peer).set(
            1
        )
        self._appended = self._counter("events_appended", "Events that this peer wrote")
        self._received = self._counter("events_received", "Events of others that were stored")
        self._events = self._gauge("events", "Events in the clock")
        self._pending = self._gauge("events_pending", "Events that wait for a parent")
        self._heads = self._gauge("heads", "Heads of the clock")
        self._members = self._gauge("members", "Members of the coterie")
        self._connected = self._gauge("members_connected", "Members with a live connection")
        self._claimed = self._counter("tasks_claimed", "Claims that this peer made")
        self._started = self._counter("tasks_started", "Attempts that began here")
        self._ended = self._counter("tasks_ended", "Attempts that ended here", "status")
        self._running = self._gauge("tasks_running", "Attempts that run here")
        self._runs = self._gauge("runs", "Runs that the clock holds", "status")
        self._inbox = self._gauge("inbox_depth", "Stimuli that wait for the peer")
        self._save = Histogram(
            "coterie_save_seconds",
            "Time to make a batch of events durable",
            buckets=SAVE_SECONDS,
            registry=self._registry,
        )
        self._network = _NetworkCollector()
        self._registry.register(self._network)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"coterie_{name}", what, labels, registry=self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"coterie_{name}", what, labels, registry=self._registry)

    def events_appended(self, count: int = 1) -> None:
        """This peer wrote events."""
        self._appended.inc(count)

    def events_received(self, count: int = 1) -> None:
        """Events of others were stored."""
        self._received.inc(count)

    @contextmanager
    def saving(self) -> Generator[None]:
        """Times a commit, also one that fails."""
        with self._save.time():
            yield

    def task_claimed(self) -> None:
        """This peer claimed an attempt."""
        self._claimed.inc()

    def task_started(self) -> None:
        """An attempt began here; `task_ended` follows."""
        self._started.inc()
        self._running.inc()

    def task_ended(self, status: Status) -> None:
        """An attempt that began here came to its end."""
        self._ended.labels(status).inc()
        self._running.dec()

    def clock(self, events: int, pending: int, heads: int) -> None:
        """The clock as it stands."""
        self._events.set(events)
        self._pending.set(pending)
        self._heads.set(heads)

    def peers(self, members: int, connected: int) -> None:
        """The coterie as this peer sees it."""
        self._members.set(members)
        self._connected.set(connected)

    def runs(self, by_status: Mapping[str, int]) -> None:
        """How many runs there are of each status."""
        for status, count in by_status.items():
            self._runs.labels(status).set(count)

    def inbox(self, depth: int) -> None:
        """How many stimuli wait."""
        self._inbox.set(depth)

    def network(self, counters: NetworkCounters) -> None:
        """The network's totals since the start."""
        self._network.counters = counters

    def include(self, collector: Collector) -> None:
        """Shows what somebody else counts, too."""
        self._registry.register(collector)

    def exposition(self) -> bytes:
        """Everything, in the text format of Prometheus; its type is CONTENT_TYPE."""
        return generate_latest(self._registry)


class _NetworkCollector(Collector):
    """Shows totals that the network keeps itself."""

    def __init__(self) -> None:
        self.counters: NetworkCounters | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The totals that were last told."""
        now = self.counters
        if now is None:
            return
        frames = {"in": now.frames_in, "out": now.frames_out}
        yield _family("frames", "Frames on streams", "direction", frames)
        frame_bytes = {"in": now.frame_bytes_in, "out": now.frame_bytes_out}
        yield _family("frame_bytes", "Bytes in frames", "direction", frame_bytes)
        gossip = {"in": now.gossip_in, "out": now.gossip_out}
        yield _family("gossip_messages", "Announcements by gossip", "direction", gossip)
        fetch_bytes = {"in": now.fetch_bytes_in, "out": now.fetch_bytes_out}
        yield _family("fetch_bytes", "Bytes of blobs and logs", "direction", fetch_bytes)
        yield _family("dials", "Attempts to reach a peer", "result", {"all": now.dials, "failed": now.dial_failures})
        yield _family("dropped", "What the network threw away", "reason", now.dropped)


def _family(name: str, what: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"coterie_{name}", what, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family
