"""Real daemons for tests of faults: each `coterie up` in a process of its own, and the command line beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from coterie.control.client import Client, Document
from coterie_protocols.errors import UserError

START_S_MAX = 30.0
STOP_S_MAX = 10.0
COMMAND_S_MAX = 30.0
LOOK_S = 0.05
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
# Short enough for a takeover to be watched; a machine that is busy with other tests must still keep its leases.
SETTINGS = {"lease_s": 3.0, "presence_interval_s": 1.0, "stagger_s": 0.2, "grace_s": 1.0, "slots": 2}


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that is no more."""

    code: int
    stdout: str
    stderr: str

    def refused(self, code: int, *mentions: str) -> None:
        """It ended with one clear sentence and a hint, not with a traceback."""
        errors = [line for line in self.stderr.splitlines() if line.startswith("error:")]
        assert (self.code, len(errors)) == (code, 1), self.stderr
        assert "Traceback" not in self.stderr
        assert "hint:" in self.stderr
        for mention in mentions:
            assert mention in self.stderr


def environment(home: Path) -> dict[str, str]:
    """What the processes of a test see: nothing of the user's own daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COTERIE_", "XDG_"))}
    return {**kept, "HOME": str(home)}


def coterie(*arguments: str | Path, socket: Path | None = None, home: Path = Path("/nonexistent")) -> Ended:
    """Runs one command as a user would."""
    chosen = ["--socket", str(socket)] if socket else []
    command = [sys.executable, "-m", "coterie.cli", *chosen, *map(str, arguments)]
    ended = subprocess.run(
        command, env=environment(home), capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@dataclass(slots=True)
class Daemon:
    """`coterie up` on a directory; `wrapped_in` is a command that starts it."""

    data_dir: Path
    listen: str = LOOPBACK
    wrapped_in: Sequence[str] = ()
    options: Sequence[str] = ()
    process: "subprocess.Popen[bytes] | None" = None
    _stderr: Path = field(default=Path())

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.data_dir / "s"

    @property
    def client(self) -> Client:
        """Asks it."""
        return Client(self.socket)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> "Daemon":
        """Starts it, without waiting."""
        config = self.data_dir.parent / f"{self.data_dir.name}.yaml"
        config.write_text(json.dumps({**SETTINGS, "listen": [self.listen]}))
        command = [*self.wrapped_in, sys.executable, "-m", "coterie.cli", "up", "--data-dir", str(self.data_dir)]
        command += ["--socket", str(self.socket), "--config", str(config), "--name", self.data_dir.name, *self.options]
        self._stderr = self.data_dir.parent / f"{self.data_dir.name}.log"
        with self._stderr.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=log, env=environment(self.data_dir.parent)
            )
        return self

    def ready(self) -> Document:
        """Its status, once it answers."""
        return until(self._status, lambda status: status is not None, START_S_MAX) or {}

    def _status(self) -> Document | None:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"the daemon has ended: {self.ended().stderr}")
        try:
            return self.client.status()
        except UserError:
            return None

    def stop(self, by: signal.Signals = signal.SIGTERM) -> Ended:
        """Ends it by a signal."""
        assert self.process is not None
        self.process.send_signal(by)
        return self.ended(STOP_S_MAX)

    def ended(self, timeout_s: float = START_S_MAX) -> Ended:
        """How it ended by itself."""
        assert self.process is not None
        code = self.process.wait(timeout_s)
        return Ended(code, "", self._stderr.read_text(errors="replace"))

    def coterie(self, *arguments: str | Path) -> Ended:
        """A command for this daemon."""
        return coterie(*arguments, socket=self.socket)

    def submit(self, file: Path) -> str:
        """A run's id."""
        ended = self.coterie("workflow", "submit", file, "--json", "--no-source")
        assert ended.code == 0, ended.stderr
        run: str = json.loads(ended.stdout)["run"]
        return run

    def run_until(self, run: str, holds: Callable[[Document], bool], timeout_s: float = 30.0) -> Document:
        """The run, once it is as it should be."""
        seen: Document = until(lambda: self.client.run(run), holds, timeout_s)
        return seen

    def finished(self, run: str, timeout_s: float = 30.0) -> Document:
        """The run, once it is over."""
        return self.run_until(run, lambda it: it["status"] not in ("queued", "running"), timeout_s)

    def sound(self) -> None:
        """`coterie store verify` finds nothing."""
        ended = self.coterie("store", "verify")
        assert ended.code == 0, ended.stdout + ended.stderr

    def end(self) -> None:
        """Nothing is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()


@contextmanager
def daemons(*all_of_them: Daemon) -> Generator[None]:
    """Daemons that are gone afterwards."""
    try:
        yield
    finally:
        for each in all_of_them:
            each.end()


def until(look: Callable[[], Any], holds: Callable[[Any], bool], timeout_s: float) -> Any:
    """What `look` sees, once it holds: other processes have no other way to tell us."""
    limit = time.monotonic() + timeout_s
    while not holds(seen := look()):
        if time.monotonic() > limit:
            pytest.fail(f"after {timeout_s:g} s still: {seen}")
        time.sleep(LOOK_S)
    return seen
