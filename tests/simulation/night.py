"""A long night: plays many seeds on all cores, and prints how to replay those that fail.

python tests/simulation/night.py --seeds 1000 [--first N] [--peers 20]
"""

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulation.checkers import CheckFailed
from simulation.scenario import Outcome, play
from simulation.swarm import innermost


def replay_command(seed: int, peers: int) -> str:
    """What to type to see a seed again."""
    return f"python tests/simulation/night.py --seeds 1 --first {seed} --peers {peers}"


def try_seed(seed: int, peers: int) -> Outcome | str:
    """What became of a seed, or why it failed and how to replay it."""
    try:
        return play(seed, peers)
    except CheckFailed as failure:
        return f"seed {seed}: {failure}\n  replay: {replay_command(seed, peers)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, the night goes on, and the morning hears of it
        report = "".join(traceback.format_exception(innermost(error)))
        return f"seed {seed}: a crash\n{report}  replay: {replay_command(seed, peers)}"


def main() -> int:
    """The exit code: 0 if every seed came to a good end."""
    parser = argparse.ArgumentParser(description="plays swarms under faults, one after the other")
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--peers", type=int, default=20, help="machines of each swarm (20)")
    wish = parser.parse_args()
    began = time.monotonic()
    failures = 0
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        seeds = range(wish.first, wish.first + wish.seeds)
        for outcome in pool.map(try_seed, seeds, [wish.peers] * len(seeds)):
            print(outcome, flush=True)
            failures += isinstance(outcome, str)
    print(f"{wish.seeds} seeds, {failures} failed, {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
