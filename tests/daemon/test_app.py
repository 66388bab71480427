"""A daemon in a process of its own: what it keeps over restarts, and what keeps it from starting."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from coterie.control.client import Client, Document
from coterie.founding import found
from coterie_protocols.errors import UserError

START_S_MAX = 30.0
STOP_S_MAX = 10.0

pytestmark = pytest.mark.daemons


@dataclass(frozen=True, slots=True)
class Ended:
    """A daemon that is no more."""

    code: int
    stderr: str


@dataclass(slots=True)
class Daemon:
    """`coterie up` on a directory."""

    data_dir: Path
    listen: str = "/ip4/127.0.0.1/tcp/0"
    process: "subprocess.Popen[str] | None" = None

    @property
    def client(self) -> Client:
        return Client(self.data_dir / "s")

    def start(self, *options: str) -> "Daemon":
        """Starts it, without waiting."""
        command = [sys.executable, "-m", "coterie.cli", "up", "--data-dir", str(self.data_dir)]
        command += ["--socket", str(self.data_dir / "s"), "--listen", self.listen, "--name", "box", *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
        environment["HOME"] = str(self.data_dir)
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        return self

    def ready(self) -> Document:
        """Its status, once it answers."""
        assert self.process is not None
        limit = time.monotonic() + START_S_MAX
        while self.process.poll() is None and time.monotonic() < limit:
            try:
                return self.client.status()
            except UserError:
                time.sleep(0.05)
        pytest.fail(f"the daemon did not start: {self.ended()}")

    def stop(self, with_signal: int = signal.SIGTERM) -> Ended:
        assert self.process is not None
        self.process.send_signal(with_signal)
        return self.ended(STOP_S_MAX)

    def ended(self, timeout_s: float = START_S_MAX) -> Ended:
        """How it ended by itself."""
        assert self.process is not None
        _, stderr = self.process.communicate(timeout=timeout_s)
        return Ended(self.process.returncode, stderr)


@contextmanager
def daemon(data_dir: Path, listen: str = "/ip4/127.0.0.1/tcp/0") -> Iterator[Daemon]:
    """A daemon that is gone afterwards."""
    one = Daemon(data_dir, listen)
    try:
        yield one
    finally:
        if one.process is not None:
            if one.process.poll() is None:
                one.process.kill()
            one.process.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found(tmp_path, "home")
    return tmp_path


def refused(ended: Ended, code: int, *mentions: str) -> None:
    """One clear sentence and a hint, and no traceback."""
    assert ended.code == code, ended.stderr
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, ended.stderr
    for mention in mentions:
        assert mention in errors[0]
    assert "hint:" in ended.stderr


def test_the_port_is_kept_over_restarts_and_given_up_when_it_is_taken(home: Path) -> None:
    with daemon(home) as one:
        (address,) = one.start().ready()["addresses"]
        assert one.stop() == Ended(0, one_of(address))
        (again,) = one.start().ready()["addresses"]
        assert again == address
        one.stop()
        with socket.socket() as thief:
            thief.bind(("127.0.0.1", int(address.split("/")[4])))
            thief.listen()
            (other,) = one.start().ready()["addresses"]
            assert other != address
        one.stop()
        assert one.start().ready()["addresses"] == [other]
        one.stop()


def one_of(address: str) -> str:
    """Equal to whatever the daemon logged on its way."""

    class Anything(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return "Traceback" not in str(other)

        __hash__ = str.__hash__

    return Anything(address)
