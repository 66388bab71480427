"""The same no-op tasks on Coterie's engine and on engines from PyPI, alternating in one run: `python bench_peers.py`.

The peers are installed into a virtual environment of their own (.venv-peers) the first time. What each stores is told
beside its figures; only like can be compared with like.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_engine import CHAIN, FAN, chain, engine_s, fan
from bench.figures import Effort, Figure, main

HERE: Final = Path(__file__).resolve().parent
ENVIRONMENT: Final = HERE.parent.parent / ".venv-peers"
VERSIONS: Final = ("dbos==3.4.0", "huey==3.5.4", "luigi==3.8.1", "parsl==2026.10.26")
PEERS: Final = {
    "dbos": "DBOS, SQLite, fsynced",
    "huey": "Huey, SQLite, fsynced",
    "luigi": "Luigi, files, not fsynced",
    "parsl": "Parsl threads, nothing stored",
}
ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.LONG: 7}
PEER_S_MAX: Final = 300.0
MICRO: Final = 1e6


def install() -> Path:
    """The interpreter of the peers' environment."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *VERSIONS], check=True, stdout=sys.stderr)
        (ENVIRONMENT / ".installed").touch()
    return python


def peer_us(python: Path, name: str) -> tuple[float, float]:
    """Microseconds a task: of the chain, of the fan-out."""
    run = subprocess.run(
        [python, HERE / "peers" / f"peer_{name}.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=PEER_S_MAX,
    )
    told = json.loads(run.stdout.splitlines()[-1])
    return float(told["chain_us"]), float(told["fan_us"])


def our_us(strict: bool) -> tuple[float, float]:
    """The same of Coterie's engine, with two steps at a time as the peers have two workers."""
    with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
        stores = [Path(folder) / "chain.db", Path(folder) / "fan.db"] if strict else [None, None]
        chain_s = engine_s(chain(CHAIN), stores[0])
        fan_s = engine_s(fan(FAN), stores[1])
    return chain_s / CHAIN * MICRO, fan_s / (FAN + 1) * MICRO


def measure(effort: Effort) -> Iterator[Figure]:
    """Each peer once a round, and ours once a round with a store and once without."""
    python = install()
    seen: dict[str, list[tuple[float, float]]] = {"strict": [], "nothing": [], **{name: [] for name in PEERS}}
    for _ in range(ROUNDS[effort]):
        seen["strict"].append(our_us(strict=True))
        for name in PEERS:
            seen[name].append(peer_us(python, name))
        seen["nothing"].append(our_us(strict=False))
    for place, what in enumerate(("chain of 100", "fan-out of 1,000")):
        middle = {name: statistics.median(pair[place] for pair in pairs) for name, pairs in seen.items()}
        yield Figure(what=f"{what}: Coterie, SQLite, fsynced", value=middle["strict"], unit="us/task")
        yield Figure(what=f"{what}: Coterie, nothing stored", value=middle["nothing"], unit="us/task")
        for name, told in PEERS.items():
            ours = middle["nothing" if name == "parsl" else "strict"]
            note = f"{middle[name] / ours:.1f} times ours"
            yield Figure(what=f"{what}: {told}", value=middle[name], unit="us/task", note=note)


if __name__ == "__main__":
    main(measure)
