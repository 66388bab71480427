"""From `workflow submit` to the first line that the first step writes: three real daemons on loopback.

Measured from just before the client's POST to a line that the step itself writes, with bash's own clock, to a file;
both are this machine's wall clock. Submissions go to the peers in turn, one at a time, with stable views. The floor is
what starting a step costs without any coterie: a bare `python -I -S` (as the job's supervisor) that runs bash.

Where the time goes is told by stamps of the daemons (see timed_daemon.py), which cost them a microsecond each.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main, percentile
from bench.testnets import Stamp, client_of, stop_and_read_stamps, submit, timed_testnet, wait_ended, wait_until
from coterie.testnet.state import TestnetState

SUBMISSIONS = {Effort.QUICK: 15, Effort.NORMAL: 100, Effort.LONG: 300}
PEERS = 3
CALM_S = 5.0
PAUSE_S = 0.15
"""Between the end of a run and the next submission: no announcement is then held back by the one before."""
FLOOR_ROUNDS = 20
GOAL_P50_MS = 100.0
GOAL_P99_MS = 500.0


@dataclass(frozen=True, slots=True)
class Start:
    """One submission. Times are Unix nanoseconds; `submitter` and `worker` are peer ids."""

    run: str
    submitter: str
    worker: str
    posted_ns: int
    answered_ns: int
    began_ns: int

    @property
    def ms(self) -> float:
        """From the POST to the step's first line."""
        return (self.began_ns - self.posted_ns) / 1e6


def start_one(state: TestnetState, number: int) -> Start:
    """Submits a run and waits for its end."""
    peer = state.peers[number % len(state.peers)]
    client, began = client_of(peer), state.dir.parent / f"began-{number}"
    posted_ns = time.time_ns()
    run = str(submit(client, f'echo "$EPOCHREALTIME" > {began}')["run"])
    answered_ns = time.time_ns()
    wait_until(began.exists, "the first step")
    job = wait_ended(client, run)["jobs"][0]
    seconds, micros = began.read_text().split(".")
    began.unlink()
    return Start(run, peer.peer, job["peer"], posted_ns, answered_ns, (int(seconds) * 10**6 + int(micros)) * 1000)


def floor_ms(folder: Path) -> float:
    """The median of starting bash below a bare interpreter, until its first line."""
    code = "import os,sys; os.execv('/bin/bash', ['bash', '-c', sys.argv[1]])"
    times: list[float] = []
    for number in range(FLOOR_ROUNDS):
        began = folder / f"floor-{number}"
        start_ns = time.time_ns()
        script = f'echo "$EPOCHREALTIME" > {began}'
        subprocess.run([sys.executable, "-I", "-S", "-c", code, script], check=True, timeout=30)
        times.append((float(began.read_text()) * 1e9 - start_ns) / 1e6)
        began.unlink()
    return percentile(times, 50)


def parts_of(start: Start, stamps: dict[str, list[Stamp]]) -> dict[str, float]:
    """Where the milliseconds of one start went, in their order."""

    def at(peer: str, what: str) -> int:
        return min(stamp.at_ns for stamp in stamps[peer] if stamp.what == what and start.run in stamp.facts)

    worker = start.worker
    times = {
        "POST until the submission is durable": at(start.submitter, "submit"),
        "gossip until the worker has it": at(worker, "submit"),
        "until the worker's claim is durable": at(worker, "claim"),
        "until the plan is here and the runner called": at(worker, "run"),
        "workspace, supervisor, shell, first line": start.began_ns,
    }
    before = [start.posted_ns, *times.values()]
    return {name: (at_ns - earlier) / 1e6 for (name, at_ns), earlier in zip(times.items(), before, strict=False)}


def measure(effort: Effort) -> Iterator[Figure]:
    """p50 and p99, then the median of each part, for runs that another peer than the submitter ran and for the rest."""
    with timed_testnet(PEERS) as state:
        floor = floor_ms(state.dir.parent)
        time.sleep(CALM_S)
        starts: list[Start] = []
        for number in range(SUBMISSIONS[effort]):
            starts.append(start_one(state, number))
            time.sleep(PAUSE_S)
        stamps = stop_and_read_stamps(state)
    times = [start.ms for start in starts]
    away = [start for start in starts if start.worker != start.submitter]
    here = [start for start in starts if start.worker == start.submitter]
    note = f"{len(starts)} submissions, {len(away)} of them run by another peer"
    floor_is = "bare python and bash, p50"
    for percent, goal in ((50, GOAL_P50_MS), (99, GOAL_P99_MS)):
        value = percentile(times, percent)
        yield Figure(
            what=f"submit to first step, p{percent}",
            value=value,
            unit="ms",
            goal=goal,
            floor=floor,
            floor_is=floor_is,
            note=note,
        )
    yield from _parts("run by the submitter", here, stamps)
    yield from _parts("run by another peer", away, stamps)


def _parts(which: str, starts: Sequence[Start], stamps: dict[str, list[Stamp]]) -> Iterator[Figure]:
    if not starts:
        return
    yield Figure(what=f"p50, {which}", value=percentile([start.ms for start in starts], 50), unit="ms")
    parts = [parts_of(start, stamps) for start in starts]
    for name in parts[0]:
        values = [part[name] for part in parts]
        yield Figure(
            what=f"  {name}", value=percentile(values, 50), unit="ms", note=f"p90 {percentile(values, 90):.0f}"
        )


if __name__ == "__main__":
    main(measure)
