"""What three idle daemons cost, each: processor, memory, wake-ups; with the product's own settings, connected in full.

A wake-up is a voluntary context switch of any thread. The floor is as many processes with py-libp2p and gossipsub
alone, also connected in full and subscribed to one topic, with the same heartbeat of one second.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main
from bench.testnets import client_of, testnet
from coterie.settings import Settings

WATCHED_S = {Effort.QUICK: 8.0, Effort.NORMAL: 30.0, Effort.LONG: 60.0}
FLOOR_WATCHED_S = 8.0
SETTLING_S = 4.0
PEERS = 3
STOP_TIMEOUT_S = 10.0
GOAL_CPU_PERCENT = 0.3
GOAL_MEMORY_MB = 130.0
GOAL_WAKE_UPS_PER_S = 5.0
_IDLE_HOST = Path(__file__).with_name("idle_host.py")
_ALIKE = ("lease_s", "presence_interval_s", "stagger_s", "anti_entropy_interval_s", "slots")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process: percent of a core, megabytes (10^6 bytes), voluntary context switches a second."""

    cpu_percent: float
    rss_mb: float
    pss_mb: float
    wake_ups_per_s: float


def watch(pids: Sequence[int], seconds: float) -> list[Cost]:
    """What each process costs while this one sleeps."""
    before = [(_cpu_s(pid), _switches(pid)) for pid in pids]
    start = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - start
    costs: list[Cost] = []
    for pid, (cpu_s, switches) in zip(pids, before, strict=True):
        cpu_percent, wake_ups = 100 * (_cpu_s(pid) - cpu_s) / elapsed, (_switches(pid) - switches) / elapsed
        memory = psutil.Process(pid).memory_full_info()
        costs.append(Cost(cpu_percent, memory.rss / 1e6, memory.pss / 1e6, wake_ups))
    return costs


def _cpu_s(pid: int) -> float:
    """To the nanosecond: what is counted in ticks of 10 ms would round an idle process to nothing."""
    runs = (Path(f"/proc/{pid}/task/{thread.id}/schedstat") for thread in psutil.Process(pid).threads())
    return sum(int(run.read_text().split()[0]) for run in runs) / 1e9


def _switches(pid: int) -> int:
    return sum(_thread_switches(Path(f"/proc/{pid}/task/{each.id}/status")) for each in psutil.Process(pid).threads())


def _thread_switches(status: Path) -> int:
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["voluntary_ctxt_switches"])


@contextmanager
def bare_hosts(count: int) -> Generator[list[int]]:
    """The pids of hosts without a coterie, connected in full."""
    hosts: list[subprocess.Popen[str]] = []
    addresses: list[str] = []
    try:
        for _ in range(count):
            command = [sys.executable, str(_IDLE_HOST), *addresses]
            host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            hosts.append(host)
            assert host.stdout is not None
            addresses.append(host.stdout.readline().strip())
        yield [host.pid for host in hosts]
    finally:
        for host in hosts:
            host.kill()
            host.communicate(timeout=STOP_TIMEOUT_S)


def measure(effort: Effort) -> Iterator[Figure]:
    """The medians over the three daemons, and the worst beside them."""
    with bare_hosts(PEERS) as pids:
        time.sleep(SETTLING_S)
        floors = watch(pids, FLOOR_WATCHED_S)
    defaults = Settings()
    with testnet(PEERS, **{name: getattr(defaults, name) for name in _ALIKE}) as state:
        for peer in state.peers:
            client_of(peer).status()  # the control server has answered before, as in life
        time.sleep(SETTLING_S)
        costs = watch([peer.pid for peer in state.peers], WATCHED_S[effort])

    def figure(
        what: str, unit: str, of: Callable[[Cost], float], goal: float | None, beside: float | None = None
    ) -> Figure:
        values = [of(cost) for cost in costs]
        floor = median(of(cost) for cost in floors)
        bound = None if goal is None else goal + (beside or 0.0)
        note = f"worst {max(values):.2f}" + (
            "" if beside is None else f"; beside the floor {median(values) - floor:.1f}"
        )
        return Figure(
            what=what,
            value=median(values),
            unit=unit,
            goal=bound,
            floor=floor,
            floor_is="py-libp2p and gossipsub alone",
            note=note,
        )

    heartbeat = median(cost.wake_ups_per_s for cost in floors)
    yield figure("idle daemon, processor", "% of one", lambda cost: cost.cpu_percent, GOAL_CPU_PERCENT)
    yield figure("idle daemon, memory (RSS)", "MB", lambda cost: cost.rss_mb, GOAL_MEMORY_MB)
    yield figure("idle daemon, memory (PSS)", "MB", lambda cost: cost.pss_mb, None)
    yield figure("idle daemon, wake-ups", "/s", lambda cost: cost.wake_ups_per_s, GOAL_WAKE_UPS_PER_S, heartbeat)


if __name__ == "__main__":
    main(measure)
