"""Real daemons on loopback for a bench, stopped whatever happens, and the times at which each made an event durable."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from unittest.mock import patch

import psutil

from coterie.control.client import Client, Document
from coterie.testnet import running
from coterie.testnet.processes import last_lines, stop_daemons
from coterie.testnet.state import CONFIG_FILE, PeerState, TestnetState

LOOK_S: Final = 0.002
END_TIMEOUT_S: Final = 30.0
LOG_LINES: Final = 30
_TIMED_DAEMON: Final = Path(__file__).with_name("timed_daemon.py")
_STAMPS_FILE: Final = "stamps"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a daemon noted, and when in Unix nanoseconds; timed_daemon.py tells what there is."""

    at_ns: int
    what: str
    whose: str
    facts: tuple[str, ...]


@contextmanager
def testnet(peers: int, **overrides: object) -> Generator[TestnetState]:
    """A running testnet with settings of its own; gone without a trace once the context ends."""
    with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
        directory = Path(folder) / "net"
        try:
            state = running.start(directory, peers, overrides, _say_nothing)
            try:
                yield state
            except Exception:
                _tell_logs(state)  # they go with the testnet
                raise
        finally:
            if directory.exists():
                running.stop(directory)


@contextmanager
def timed_testnet(peers: int, **overrides: object) -> Generator[TestnetState]:
    """The same with daemons that note when they made each event durable; see `stop_and_read_stamps`."""
    with patch.object(running, "start_daemon", _start_timed_daemon):
        with testnet(peers, **overrides) as state:
            yield state


def restart_timed(state: TestnetState, peer: PeerState) -> TestnetState:
    """Starts a stopped daemon again, as a timed one; returns at once."""
    return state.with_peer(_start_timed_daemon(peer, state.dir / CONFIG_FILE))


def stop_and_read_stamps(state: TestnetState) -> dict[str, list[Stamp]]:
    """Stops a timed testnet's daemons; returns what each noted, by peer id."""
    killed = stop_daemons(state.peers)
    if killed:
        raise RuntimeError(f"{', '.join(killed)} had to be killed, and left no stamps")
    return {peer.peer: _stamps_of(peer) for peer in state.peers}


def client_of(peer: PeerState) -> Client:
    """The client of a peer's daemon."""
    return Client(Path(peer.socket))


def workflow(script: str, label: str = "linux") -> str:
    """The text of a workflow with one job of one step."""
    return json.dumps({"on": "workflow_dispatch", "jobs": {"job": {"runs-on": label, "steps": [{"run": script}]}}})


def submit(client: Client, script: str, label: str = "linux") -> Document:
    """Submits such a workflow."""
    return client.submit({"file": "bench.yml", "text": workflow(script, label)})


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = END_TIMEOUT_S, look_s: float = LOOK_S) -> None:
    """Looks again and again: there is nothing to be told by that would not disturb what is measured."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(look_s)


def wait_ended(client: Client, run: str, timeout_s: float = END_TIMEOUT_S) -> Document:
    """The run, once it is over."""
    found: Document = {}

    def ended() -> bool:
        found.update(client.run(run))
        return found["status"] not in ("queued", "running")

    wait_until(ended, f"the end of run {run}", timeout_s, 0.02)
    return found


def config_of(state: TestnetState) -> Path:
    """The settings file of all daemons of a testnet."""
    return state.dir / CONFIG_FILE


def _start_timed_daemon(peer: PeerState, config: Path) -> PeerState:
    """As `coterie.testnet.processes.start_daemon`, but another program."""
    arguments = [sys.executable, str(_TIMED_DAEMON), "up", "--data-dir", peer.dir, "--socket", peer.socket]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
    with peer.log.open("ab") as log:
        process = subprocess.Popen(
            [*arguments, "--config", str(config), "--name", peer.name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    process.returncode = 0  # stopped by its pid, like every daemon of a testnet
    return replace(peer, pid=process.pid, started=psutil.Process(process.pid).create_time())


def _stamps_of(peer: PeerState) -> list[Stamp]:
    lines = (Path(peer.dir) / _STAMPS_FILE).read_text().splitlines()
    return [Stamp(at_ns, what, whose, tuple(facts)) for at_ns, what, whose, facts in map(json.loads, lines)]


def _tell_logs(state: TestnetState) -> None:
    for peer in state.peers:
        print(f"the end of {peer.log}:", *last_lines(peer, LOG_LINES), sep="\n  ", file=sys.stderr)


def _say_nothing(_: str) -> None:
    """The progress of a start is not what a bench prints."""
