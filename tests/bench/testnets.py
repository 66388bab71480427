"""Real daemons on loopback for a bench, stopped whatever happens, and the times at which each made an event durable."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest.mock import patch

from coterie.control.client import Client, Document
from coterie.testnet import processes, running
from coterie.testnet.state import PeerState, TestnetState
from coterie_protocols.encoding import Cid

STAMPS_FILE: Final = "stamps"
LOOK_S: Final = 0.002
END_TIMEOUT_S: Final = 30.0
_TIMED_DAEMON: Final = Path(__file__).with_name("timed_daemon.py")
_DAEMON_OF_PRODUCT: Final = ["-m", "coterie.cli"]


@contextmanager
def testnet(peers: int, **overrides: object) -> Generator[TestnetState]:
    """A running testnet with settings of its own; without a trace once the context ends."""
    with tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
        directory = Path(folder) / "net"
        try:
            yield running.start(directory, peers, overrides, _say_nothing)
        finally:
            if directory.exists():
                running.stop(directory)


@contextmanager
def timed_testnet(peers: int, **overrides: object) -> Generator[TestnetState]:
    """The same with daemons that note when they made each event durable: see `stop_and_read_stamps`."""
    with patch.object(running, "start_daemon", start_timed_daemon):
        with testnet(peers, **overrides) as state:
            yield state


def start_timed_daemon(peer: PeerState, config: Path) -> PeerState:
    """`coterie up` for a peer, by way of timed_daemon.py."""
    popen = subprocess.Popen

    def start(arguments: list[str], **options: object) -> object:
        at = arguments.index("-m")
        assert arguments[at : at + 2] == _DAEMON_OF_PRODUCT
        return popen([*arguments[:at], str(_TIMED_DAEMON), *arguments[at + 2 :]], **options)  # type: ignore[call-overload]  # pyright: ignore

    with patch.object(processes.subprocess, "Popen", start):
        return processes.start_daemon(peer, config)
