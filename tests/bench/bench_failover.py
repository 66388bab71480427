"""SIGKILL of the daemon that holds a task in the middle of a step, until the step begins on another peer.

Three real daemons with a lease of 3 s. From just before the kill to the first line of the second attempt, which the
step writes itself. The floor is the rule, not the machine: an observer waits 1.25 leases from the last sign of life,
and a holder gives four in a lease, so that at least a lease has yet to pass when the holder dies.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main, percentile
from bench.testnets import client_of, config_of, submit, testnet, wait_ended, wait_until
from coterie.testnet.processes import process_of, start_daemon
from coterie.testnet.state import PeerState, TestnetState
from coterie_protocols.announcer import LEASE_SIGNS
from coterie_protocols.errors import UserError
from coterie_protocols.scheduler import OBSERVER_PATIENCE

ROUNDS = {Effort.QUICK: 1, Effort.NORMAL: 10, Effort.LONG: 20}
PEERS = 3
LEASE_S = 3.0
GOAL_S = 5.0
FAILOVER_TIMEOUT_S = 30.0
# The first attempt sleeps until it is killed; the second one sees that it is the second, and ends.
SCRIPT = 'echo "$EPOCHREALTIME" >> {file}; [ "$(wc -l < {file})" -gt 1 ] || sleep 60'


def fail_over_once(state: TestnetState, number: int, wait_s: float) -> tuple[TestnetState, float]:
    """Kills the holder `wait_s` after its step began; returns the testnet, whole again, and the seconds it took."""
    file = state.dir.parent / f"attempts-{number}"
    submitter = state.peers[number % len(state.peers)]
    run = str(submit(client_of(submitter), SCRIPT.format(file=file))["run"])
    wait_until(file.exists, "the first attempt")
    time.sleep(wait_s)  # the kill falls anywhere between two signs of life
    holder_id = client_of(submitter).run(run)["jobs"][0]["peer"]
    holder = next(peer for peer in state.peers if peer.peer == holder_id)
    killed_ns = _kill(holder)
    wait_until(lambda: file.read_text().count("\n") > 1, "the second attempt", FAILOVER_TIMEOUT_S)
    again_s = float(file.read_text().split()[1])
    other = next(peer for peer in state.peers if peer.name != holder.name)
    ended = wait_ended(client_of(other), run)
    job = ended["jobs"][0]
    assert (ended["status"], job["attempt"]) == ("success", 2), ended
    assert job["peer"] != holder_id, ended
    return _restarted(state, holder), again_s - killed_ns / 1e9


def _kill(peer: PeerState) -> int:
    process = process_of(peer)
    assert process is not None, f"{peer.name} lives"
    killed_ns = time.time_ns()
    os.kill(process.pid, signal.SIGKILL)
    return killed_ns


def _restarted(state: TestnetState, killed: PeerState) -> TestnetState:
    wait_until(lambda: process_of(killed) is None, "the end of the killed daemon")
    started = start_daemon(killed, config_of(state))
    state = state.with_peer(replace(killed, pid=started.pid, started=started.started))
    wait_until(lambda: _agreed(state), "the peers to agree again", look_s=0.1)
    return state


def _agreed(state: TestnetState) -> bool:
    if not all(Path(peer.socket).exists() for peer in state.peers):
        return False
    try:
        seen = [client_of(peer).status() for peer in state.peers]
    except UserError:
        return False
    return all(each["connected"] == PEERS - 1 for each in seen) and len({each["digest"] for each in seen}) == 1


def measure(effort: Effort) -> Iterator[Figure]:
    """The longest of the rounds, which is what the goal speaks of, with the least and the median beside it."""
    random = Random(1)
    times: list[float] = []
    with testnet(PEERS, lease_s=LEASE_S) as state:
        for number in range(ROUNDS[effort]):
            state, taken = fail_over_once(state, number, random.uniform(0.1, 0.1 + LEASE_S / LEASE_SIGNS))
            times.append(taken)
    yield Figure(
        what=f"SIGKILL to restart elsewhere, worst of {len(times)}",
        value=max(times),
        unit="s",
        goal=GOAL_S,
        floor=LEASE_S * (OBSERVER_PATIENCE - 1 / LEASE_SIGNS),
        floor_is="what the rule leaves of the lease",
        note=f"min {min(times):.2f}, median {percentile(times, 50):.2f}",
    )


if __name__ == "__main__":
    main(measure)
