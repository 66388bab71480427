"""Runs the benches one after the other, each in a process of its own: `python tests/bench/run.py [NAME]... [--json]`.

Prints each figure with its goal, whether it was met, and the floor that was measured in the same run. Exit code 1 if a
goal was missed or a bench failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, document_of, effort_of, figure_of, leave, lines_of, parse

BENCHES: Final = {
    "status": "coterie status, on the wall",
    "idle": "an idle daemon",
    "append": "durable appends",
    "merge": "merging a stranger's log",
    "catchup": "a peer comes back",
    "start": "submit to first step",
    "convergence": "ten peers",
    "failover": "the holder is killed",
    "store": "the store alone",
    "engine": "the engine beside bare trio",
    "submit": "an execution over the socket",
    "peers": "the engine beside engines from PyPI",
    "heap": "the Fibonacci heap against heapq",
}
TIMEOUT_S: Final = {Effort.QUICK: 60.0, Effort.NORMAL: 180.0, Effort.LONG: 900.0}
STOP_TIMEOUT_S: Final = 30.0
"""For a bench that took too long, to take its daemons down."""


def figures_of(name: str, effort: Effort) -> Iterator[Figure]:
    """Runs one bench. Raises BenchFailed."""
    command = [sys.executable, str(Path(__file__).with_name(f"bench_{name}.py")), "--json"]
    if effort is not Effort.NORMAL:
        command.append(f"--{effort.value}")
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        output, _ = bench.communicate(timeout=TIMEOUT_S[effort])
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"took longer than {TIMEOUT_S[effort]:g} s") from None
    finally:
        _stop(bench)
    yield from (figure_of(json.loads(line)) for line in output.splitlines())
    if bench.returncode:
        raise BenchFailed(f"ended with exit code {bench.returncode}")


class BenchFailed(Exception):
    """A bench told less than all of its figures."""


def _stop(bench: "subprocess.Popen[str]") -> None:
    if bench.poll() is not None:
        return
    bench.terminate()  # it takes down what it started
    try:
        bench.communicate(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(bench.pid, signal.SIGKILL)
        bench.communicate()


def run(names: Sequence[str], effort: Effort, as_json: bool) -> bool:
    """Runs the named benches; were all goals met?"""
    all_met = True
    for name in names:
        start = time.monotonic()
        if not as_json:
            print(f"\n{name}: {BENCHES[name]}", flush=True)
        try:
            for figure in figures_of(name, effort):
                all_met = all_met and figure.verdict != "MISS"
                text = [json.dumps({"bench": name, **document_of(figure)})] if as_json else lines_of([figure])
                print(*text, sep="\n", flush=True)
        except BenchFailed as failure:
            all_met = False
            print(f"{name}: {failure}", file=sys.stderr, flush=True)
        if not as_json:
            print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
    return all_met


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Measures what README.md promises.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all without")
    options = parse(parser, None)
    if unknown := set(options.names) - BENCHES.keys():
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    signal.signal(signal.SIGTERM, leave)
    return 0 if run(options.names or list(BENCHES), effort_of(options), options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
