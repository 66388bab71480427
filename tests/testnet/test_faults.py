"""Bad input and faults, against real daemons: one clear error each, nothing lost, nothing stuck."""

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from coterie.control.client import Document
from coterie.founding import STORE_FILE, found, join
from coterie_protocols.errors import UserError
from real_daemon import Daemon, coterie, daemons, until

pytestmark = pytest.mark.daemons

EXIT_NOT_ALLOWED, EXIT_DISK = 4, 74
QUICK = "on: push\njobs: {quick: {runs-on: ubuntu-latest, steps: [{run: echo done}]}}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory that belongs to a coterie of one."""
    found(tmp_path / "a", "home")
    return tmp_path / "a"


def flow(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def sleeping(folder: Path, name: str, seconds: int = 600) -> tuple[Path, str]:
    """A workflow whose step sleeps, and the argument by which to find its process."""
    marker = f"{seconds}.{random.randrange(10**9):09}"
    text = f"on: push\njobs: {{sleep: {{runs-on: ubuntu-latest, steps: [{{run: sleep {marker}}}]}}}}\n"
    return flow(folder, name, text), marker


def processes_with(argument: str) -> list[psutil.Process]:
    """Who has the argument on its command line."""
    holders: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if argument in process.cmdline():
                holders.append(process)
    return holders


@contextmanager
def tmpfs(path: Path, options: str) -> Generator[None]:
    """A small file system at `path`; skips where we may not mount."""
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


# -- what is in the way ---------------------------------------------------------------------------------------------


def test_one_place_one_daemon(home: Path, tmp_path: Path) -> None:
    """Directory, control socket and port each belong to one daemon; who comes second is told, and harms nobody."""
    found(tmp_path / "b", "other")
    first, same = Daemon(home), Daemon(home)
    with daemons(first):
        status = first.start().ready()
        port = int(status["addresses"][0].split("/")[4])
        with daemons(same):
            same.start().ended().refused(2, "another daemon uses", f"pid {first.pid}")
        second = Daemon(tmp_path / "b", listen=f"/ip4/127.0.0.1/tcp/{port}")
        with daemons(second):
            second.start().ended().refused(2, f"/tcp/{port}", "Address already in use")
        thief = Daemon(tmp_path / "b", options=("--socket", str(first.socket)))
        with daemons(thief):
            thief.start().ended().refused(2, "another daemon listens on", str(first.socket))
        _shout_at(first, port)
        assert first.client.status()["peer"] == status["peer"]
        first.sound()

        # Killed, it leaves a socket that nobody answers; the next start takes its place, and the same port.
        first.stop(signal.SIGKILL)
        assert first.socket.exists()
        first.coterie("status").refused(69)
        assert first.start().ready()["addresses"] == status["addresses"]
        assert first.stop().code == 0
        assert not first.socket.exists()

        # A port that the system chose is not worth dying for.
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            assert first.start().ready()["addresses"] != status["addresses"]
        assert first.stop(signal.SIGINT).code == 0


def _shout_at(daemon: Daemon, port: int) -> None:
    """Garbage at both doors: bytes at random, halves of what is right, and more than anybody may send."""
    chance = random.Random(1)
    garbage = [chance.randbytes(size) for size in (1, 100, 5_000, 200_000)]
    garbage += [
        b"GET /v1/status HTTP/1.1\r\n",
        b"POST /v1/workflows HTTP/1.1\r\ncontent-length: 99\r\n\r\n{",
        b"\0" * 9,
    ]
    garbage += [b"\x13/multistream/1.0.0\n", b"\x13/multistream/1.0.0\n\x07/noise\n" + chance.randbytes(400)]
    garbage += [b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"]
    for data in garbage:
        for family, address in ((socket.AF_UNIX, str(daemon.socket)), (socket.AF_INET, ("127.0.0.1", port))):
            with socket.socket(family) as door, contextlib.suppress(ConnectionError):
                door.connect(address)
                door.settimeout(5)
                door.sendall(data)
    assert daemon.process is not None
    assert daemon.process.poll() is None


# -- the disk -------------------------------------------------------------------------------------------------------


def test_a_read_only_directory_is_told(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "size=8m"):
        found(tmp_path / "disk" / "a", "home")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        home = tmp_path / "disk" / "a"
        config = tmp_path / "config.yaml"
        config.write_text("{}")
        up = ("up", "--data-dir", home, "--socket", tmp_path / "s", "--config", config)
        for command in (up, ("init", "--data-dir", tmp_path / "disk" / "b")):
            coterie(*command).refused(EXIT_DISK, "read-only")


def test_a_directory_of_another_user_is_told() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs another user")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # pytest's own directories let nobody else in
        found(Path(folder) / "a", "home")
        command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        stranger = Daemon(Path(folder) / "a", wrapped_in=command)
        with daemons(stranger):
            ended = stranger.start().ended()
    if "coterie" not in ended.stderr:
        pytest.skip("another user can't start this interpreter")
    ended.refused(2, "not readable")


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "size=6m"):
        found(tmp_path / "disk" / "a", "home")
        one = Daemon(tmp_path / "disk" / "a", options=("--slots", "0"))
        with daemons(one):
            one.start().ready()
            ballast = tmp_path / "disk" / "ballast"
            ballast.write_bytes(bytes(4 * 1024 * 1024))
            submitted = _submit_until_it_is_full(one)
            cancelled = _cancel_until_it_ends(one, submitted)
            one.ended().refused(EXIT_DISK, "no room is left", STORE_FILE)
            ballast.unlink()
            one.start().ready()
            for run in submitted:
                assert one.client.run(run)["status"] in (
                    ("cancelled",) if run in cancelled else ("queued", "cancelled")
                )
            one.sound()
            one.client.submit(_request(QUICK))
            assert one.stop().code == 0


def _submit_until_it_is_full(one: Daemon) -> list[str]:
    """The runs that were acknowledged before the daemon refused one, since its plan could not be kept."""
    submitted: list[str] = []
    for number in range(2_000):
        try:
            submitted.append(one.client.submit(_request(QUICK.replace("done", "x" * 8_000 + str(number))))["run"])
        except UserError as error:
            if "disk is full" in error.message:
                return submitted
            raise
    pytest.fail("the disk never was full")


def _cancel_until_it_ends(one: Daemon, runs: list[str]) -> set[str]:
    """Fills what is left, and asks for small events. Returns the runs whose cancellation was acknowledged."""
    with contextlib.suppress(OSError), (one.data_dir / "rest").open("wb", buffering=0) as rest:
        while rest.write(bytes(4096)):
            pass
    cancelled: set[str] = set()
    for run in runs:
        try:
            one.client.cancel(run, "enough")
        except UserError:  # it ended instead of answering
            (one.data_dir / "rest").unlink()
            return cancelled
        cancelled.add(run)
    pytest.fail("the store never was full")


def _request(text: str) -> Document:
    return {"file": "ci.yml", "text": text, "event": "push"}


def test_a_damaged_store_is_told_at_the_start(home: Path) -> None:
    one = Daemon(home)
    with daemons(one):
        one.start().ready()
        for _ in range(3):
            one.client.submit(_request(QUICK))
        one.stop()
        sound = (home / STORE_FILE).read_bytes()
        with sqlite3.connect(home / STORE_FILE) as database:
            (data,) = database.execute("SELECT data FROM event WHERE position = 2").fetchone()
            changed = data[:-1] + bytes([data[-1] ^ 1])  # of the signature: it decodes all the same
            database.execute("UPDATE event SET data = ? WHERE position = 2", (changed,))
        database.close()
        one.start().ended().refused(EXIT_DISK, STORE_FILE, "other bytes than were written")
        for content in (b"not a database" * 1000, sound[:5_000], sound[:4_096] + bytes(len(sound) - 4_096)):
            (home / STORE_FILE).write_bytes(content)
            one.start().ended().refused(EXIT_DISK, STORE_FILE)
        (home / STORE_FILE).write_bytes(sound)
        one.start().ready()
        one.sound()
        one.stop()


# -- sudden death ---------------------------------------------------------------------------------------------------


def test_killed_at_any_instant_it_loses_nothing_and_ends_what_it_began(home: Path, tmp_path: Path) -> None:
    text = """
on: push
jobs:
  a: {runs-on: ubuntu-latest, steps: [{run: sleep 0.3}]}
  b: {runs-on: ubuntu-latest, needs: a, steps: [{run: sleep 0.3}]}
  c: {runs-on: ubuntu-latest, needs: a, steps: [{run: sleep 0.3}]}
  d: {runs-on: ubuntu-latest, needs: [b, c], steps: [{run: echo end}]}
"""
    chance, one, acknowledged = random.Random(), Daemon(home), list[str]()
    sleeper, marker = sleeping(tmp_path, "sleep.yml")
    with daemons(one):
        for _ in range(2):
            one.start().ready()
            acknowledged.append(one.client.submit(_request(text))["run"])
            time.sleep(chance.uniform(0, 0.8))
            one.stop(signal.SIGKILL)
        one.start().ready()
        sleeping_run = one.submit(sleeper)
        until(lambda: processes_with(marker), bool, 20)
        one.stop(signal.SIGKILL)
        # No step outlives its daemon, even killed.
        until(lambda: processes_with(marker), lambda left: not left, 10)
        one.start().ready()
        for run in acknowledged:
            assert one.finished(run)["status"] == "success"
        again = one.run_until(sleeping_run, lambda it: it["jobs"][0]["status"] == "running")
        assert again["jobs"][0]["attempt"] == 2
        assert one.coterie("workflow", "cancel", sleeping_run).code == 0
        assert one.finished(sleeping_run)["status"] == "cancelled"
        until(lambda: processes_with(marker), lambda left: not left, 10)
        one.sound()
        assert one.stop().code == 0


# -- several peers --------------------------------------------------------------------------------------------------


class Coterie:
    """A founder that runs nothing, and those who join it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found(folder / "founder", "several")
        self.founder = Daemon(folder / "founder", options=("--slots", "0"))
        self.all = [self.founder]
        self.founder.start().ready()

    def newcomer(self, name: str, roles: list[str], *options: str) -> Daemon:
        token = self.founder.client.invite({"roles": roles, "uses": 1, "valid_s": 600.0})["token"]
        join(self.folder / name, token, name, (), 2)
        daemon = Daemon(self.folder / name, options=options)
        self.all.append(daemon)
        daemon.start().ready()
        until(daemon.client.status, lambda it: it["connected"] == 1 + len(self.all) - 2, 20)
        return daemon


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coterie]:
    """One founder (no slots) for the tests of this part; each brings its own workers and stops them."""
    coterie = Coterie(tmp_path_factory.mktemp("several"))
    try:
        yield coterie
    finally:
        for daemon in coterie.all:
            daemon.end()


def test_an_observer_may_look_and_not_submit_and_a_worker_with_the_label_is_waited_for(
    several: Coterie, tmp_path: Path
) -> None:
    founder = several.founder
    observer = several.newcomer("observer", ["observe"])
    observer.coterie("workflow", "submit", flow(tmp_path, "ci.yml", QUICK)).refused(EXIT_NOT_ALLOWED, "may not submit")
    wanted = flow(tmp_path, "gpu.yml", QUICK.replace("ubuntu-latest", "[self-hosted, gpu]"))
    run = founder.submit(wanted)
    job = founder.run_until(run, lambda it: it["jobs"][0]["reason"])["jobs"][0]
    assert (job["status"], job["reason"]) == ("queued", "no member offers the labels self-hosted, gpu")
    seen = until(lambda: _known(observer, run), bool, 20)
    assert seen["status"] == "queued"
    observer.coterie("workflow", "cancel", run).refused(EXIT_NOT_ALLOWED)
    worker = several.newcomer("gpu", ["work"], "--label", "gpu")
    ended = founder.finished(run)
    assert (ended["status"], ended["jobs"][0]["peer"]) == ("success", worker.client.status()["peer"])
    until(lambda: _known(observer, run), lambda it: it and it["status"] == "success", 20)
    for daemon in (observer, worker):
        assert daemon.stop().code == 0
        several.all.remove(daemon)


def _known(daemon: Daemon, run: str) -> Document | None:
    try:
        return daemon.client.run(run)
    except UserError:
        return None


def test_what_a_stopped_daemon_ran_is_finished_by_another(several: Coterie, tmp_path: Path) -> None:
    """SIGTERM in the middle of a step: the task is given back at once, not when its lease ends."""
    founder = several.founder
    workers = [several.newcomer(name, ["work"]) for name in ("one", "two")]
    sleeper, marker = sleeping(tmp_path, "sleep.yml")
    run = founder.submit(sleeper)
    job = founder.run_until(run, lambda it: it["jobs"][0]["status"] == "running")["jobs"][0]
    until(lambda: processes_with(marker), bool, 20)
    holder = next(worker for worker in workers if worker.client.status()["peer"] == job["peer"])
    began = time.monotonic()
    assert holder.stop().code == 0
    assert time.monotonic() - began < 10
    other = founder.run_until(run, lambda it: it["jobs"][0]["attempt"] == 2)["jobs"][0]
    assert other["peer"] != job["peer"]
    until(lambda: processes_with(marker), bool, 20)
    assert founder.coterie("workflow", "cancel", run).code == 0
    assert founder.finished(run)["status"] == "cancelled"
    until(lambda: processes_with(marker), lambda left: not left, 10)

    log = founder.coterie("workflow", "logs", run, "sleep")
    assert log.code == 0, log.stderr
    founder.sound()
    for worker in workers:
        worker.end()
        several.all.remove(worker)
    run = founder.submit(flow(tmp_path, "ci.yml", QUICK))
    founder.coterie("workflow", "logs", run, "quick").refused(5, "nobody has run it")
