"""How long `coterie status` takes on the wall, against an empty interpreter started in the same moments."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main, percentile
from bench.testnets import testnet

ROUNDS = {Effort.QUICK: 10, Effort.NORMAL: 20, Effort.LONG: 50}
TIMEOUT_S = 30.0
GOAL_MS = 100.0


def wall_ms(command: Sequence[str]) -> float:
    """Milliseconds from start to end of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return (time.perf_counter() - start) * 1e3


def measure(effort: Effort) -> Iterator[Figure]:
    """The medians, both commands in turn."""
    with testnet(1) as state:
        coterie = [str(Path(sys.executable).with_name("coterie")), "--socket", state.peers[0].socket]
        empty = [sys.executable, "-c", "pass"]
        commands = {"status": [*coterie, "status"], "json": [*coterie, "status", "--json"], "empty": empty}
        times = {name: [wall_ms(command)] for name, command in commands.items()}  # the first one fills caches
        for _ in range(ROUNDS[effort]):
            for name, command in commands.items():
                times[name].append(wall_ms(command))
    medians = {name: percentile(each[1:], 50) for name, each in times.items()}
    for what, name in (("coterie status", "status"), ("coterie status --json", "json")):
        yield Figure(
            what=what,
            value=medians[name],
            unit="ms",
            goal=GOAL_MS,
            floor=medians["empty"],
            floor_is="python -c pass",
            note=f"median of {ROUNDS[effort]}, p90 {percentile(times[name][1:], 90):.0f}",
        )


if __name__ == "__main__":
    main(measure)
