"""The processes of a testnet: started in sessions of their own, stopped without a trace."""

import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from coterie.testnet.state import PeerState

TERM_TIMEOUT_S = 12.0  # a clean stop takes less than ten
KILL_TIMEOUT_S = 5.0
START_TOLERANCE_S = 1.0


def neutral_environment() -> dict[str, str]:
    """The environment less the settings of the user's own daemon, which must not reach these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}


@contextmanager
def neutral_settings() -> Generator[None]:
    """Settings that are loaded in this context see the neutral environment."""
    before = dict(os.environ)
    for name in before.keys() - neutral_environment().keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)


def start_daemon(peer: PeerState, config: Path) -> PeerState:
    """Starts `coterie up` for a peer, its output in the peer's log; returns the peer with its pid."""
    arguments = [sys.executable, "-m", "coterie.cli", "up", "--data-dir", peer.dir, "--socket", peer.socket]
    arguments += ["--config", str(config), "--name", peer.name]
    with peer.log.open("ab") as log:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=neutral_environment(),
            start_new_session=True,
        )
    process.returncode = 0  # it outlives this command on purpose: nobody is to wait for it or warn about it
    return replace(peer, pid=process.pid, started=psutil.Process(process.pid).create_time())


def process_of(peer: PeerState) -> psutil.Process | None:
    """The living process of a peer; None if it has ended, also when its pid has been given to another."""
    if not peer.pid:
        return None
    try:
        process = psutil.Process(peer.pid)
        same = abs(process.create_time() - peer.started) < START_TOLERANCE_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def stop_daemons(peers: Sequence[PeerState]) -> tuple[str, ...]:
    """Stops all, by TERM and where that does not help by KILL, with all that they had started.

    Returns the names of those that had to be killed.
    """
    daemons = {peer.name: process for peer in peers if (process := process_of(peer)) is not None}
    family = [child for process in daemons.values() for child in _children(process)]
    for process in daemons.values():
        _signal(process, kill=False)
    _, stuck = psutil.wait_procs(list(daemons.values()), timeout=TERM_TIMEOUT_S)
    left = [*stuck, *(child for child in family if child.is_running())]
    for process in left:
        _signal(process, kill=True)
    psutil.wait_procs(left, timeout=KILL_TIMEOUT_S)
    return tuple(name for name, process in daemons.items() if process in stuck)


def last_lines(peer: PeerState, count: int) -> list[str]:
    """The end of a peer's log."""
    try:
        return peer.log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass  # gone by itself
