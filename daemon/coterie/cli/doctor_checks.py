"""What `coterie doctor` looks at. Each check measures one thing, judges it, and says how to mend it."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from coterie.cli.words import count
from coterie.control.client import Client, DaemonNotRunning, Document, find_client
from coterie.locations import default_data_dir
from coterie_protocols.errors import UserError

FSYNCS = 20
FSYNC_WARN_MS = 5.0
FREE_WARN_BYTES = 2 * 1024**3
FREE_FAIL_BYTES = 100 * 1024**2
OPEN_FILES_WARN = 4096
OPEN_FILES_FAIL = 256
IMPORT_TIMEOUT_S = 60.0
KEY_FILE, FOUNDING_FILE, STORE_FILE = "identity.key", "founding.cbor", "coterie.db"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, the measured value, and for all but `ok` what to do."""

    name: str
    level: Literal["ok", "warn", "fail"]
    value: str
    fix: str = ""

    def as_document(self) -> Document:
        """The finding as it stands in coterie.doctor/1."""
        return asdict(self)


def examine(socket: Path | None, data_dir: Path | None, config: Path | None) -> list[Check]:
    """All checks, the daemon's own view of its data directory first."""
    client = find_client(socket)
    status, daemon = _daemon(client)
    settings, configured = _settings(config)
    where = data_dir or (Path(status["data_dir"]) if status else configured or default_data_dir())
    return [
        settings,
        *_data(where),
        *_disk(where),
        *_socket(client, running=status is not None),
        daemon,
        *([] if status is None else _company(client, status)),
        _open_files(),
        *_tools(),
        _libp2p(),
    ]


def _settings(config: Path | None) -> tuple[Check, Path | None]:
    from coterie.settings import load_settings

    try:
        settings = load_settings(config)
    except UserError as error:
        return Check("settings", "fail", error.message.replace("\n", "; "), error.hint or "mend the file"), None
    return Check("settings", "ok", str(config) if config else "valid"), settings.data_dir


def _data(where: Path) -> Iterator[Check]:
    if not where.is_dir():
        yield Check("data directory", "warn", f"{where} does not exist", "coterie init, or coterie join TOKEN")
        return
    if not os.access(where, os.R_OK | os.W_OK | os.X_OK):
        yield Check("data directory", "fail", f"{where} can't be written", f"give it to this user: chown {where}")
        return
    yield _private("data directory", where, 0o700)
    if (where / KEY_FILE).exists():
        yield _private("key", where / KEY_FILE, 0o600)
    else:
        yield Check("key", "warn", "none yet", "coterie init, or coterie join TOKEN")
    if (where / FOUNDING_FILE).exists():
        yield Check("coterie", "ok", "belongs to one")
    else:
        yield Check("coterie", "warn", "belongs to none", "coterie init, or coterie join TOKEN")
    store = where / STORE_FILE
    size = f"{store.stat().st_size / 1024**2:.1f} MiB" if store.exists() else "none before the first start"
    yield Check("store", "ok", size)


def _private(name: str, path: Path, widest: int) -> Check:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~widest:
        return Check(name, "fail", f"{path} has mode {mode:04o}", f"chmod {widest:o} {path}")
    return Check(name, "ok", f"{path} (mode {mode:04o})")


def _disk(where: Path) -> Iterator[Check]:
    place = next(folder for folder in (where, *where.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    level: Literal["ok", "warn", "fail"] = "ok"
    if free < FREE_WARN_BYTES:
        level = "fail" if free < FREE_FAIL_BYTES else "warn"
    yield Check("disk free", level, f"{free / 1024**3:.1f} GiB", "" if level == "ok" else "free some space")
    try:
        latency_ms = _fsync_ms(place)
    except OSError as error:
        yield Check("fsync", "fail", f"{place}: {error.strerror}", "choose a writable place with --data-dir")
        return
    slow = latency_ms > FSYNC_WARN_MS
    fix = "every result waits that long: put the data directory on a faster disk" if slow else ""
    yield Check("fsync", "warn" if slow else "ok", f"{latency_ms:.2f} ms (median of {FSYNCS})", fix)


def _fsync_ms(folder: Path) -> float:
    taken: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 4096)
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begin)
    return sorted(taken)[FSYNCS // 2] * 1000


def _socket(client: Client, running: bool) -> Iterator[Check]:
    if not client.path.exists():
        return
    if not running:
        yield Check("socket", "warn", f"{client.path} is left over", "`coterie up` replaces it")
        return
    yield _private("socket", client.path, 0o600)


def _daemon(client: Client) -> tuple[Document | None, Check]:
    try:
        status = client.status()
    except DaemonNotRunning as error:
        return None, Check("daemon", "warn", error.message, "coterie up")
    except UserError as error:
        return None, Check("daemon", "fail", error.message, error.hint)
    own = version("coterie")
    if status["version"] != own:
        return status, Check("daemon", "warn", f"version {status['version']}, this is {own}", "restart the daemon")
    return status, Check("daemon", "ok", f"process {status['pid']}, version {own}")


def _company(client: Client, status: Document) -> Iterator[Check]:
    away = [each["name"] for each in client.members()["members"] if each["state"] in ("gone", "suspect")]
    told = f"{status['connected']} of {status['members'] - 1} others connected"
    if away:
        yield Check("members", "warn", f"{told}; away: {', '.join(away)}", "start them, or look at their network")
    elif status["members"] > 1 and not status["connected"]:
        yield Check("members", "warn", told, "look at firewalls, and at the addresses in `coterie status`")
    else:
        yield Check("members", "ok", told if status["members"] > 1 else "alone; bring others in with `coterie invite`")
    clock = client.clock()
    if clock["pending"]:
        yield Check(
            "clock", "warn", f"{clock['pending']} events wait for others", "see that a peer that has them is up"
        )
    else:
        yield Check("clock", "ok", f"{count(clock['events'], 'event')}, {count(len(clock['heads']), 'head')}")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= OPEN_FILES_WARN:
        return Check("open files", "ok", f"{soft} allowed")
    level: Literal["warn", "fail"] = "fail" if soft < OPEN_FILES_FAIL else "warn"
    return Check("open files", level, f"{soft} allowed", f"ulimit -n {hard}, or LimitNOFILE= in the unit")


def _tools() -> Iterator[Check]:
    for tool, fix in (
        ("sh", "install a POSIX shell"),
        ("bash", "apt install bash: it is the default shell of steps"),
        ("python3", "apt install python3: for steps with `shell: python`"),
        ("git", "apt install git: it tells what belongs to a source tree"),
    ):
        found = shutil.which(tool)
        level: Literal["ok", "warn", "fail"] = "ok" if found else ("fail" if tool in ("sh", "bash") else "warn")
        yield Check(tool, level, found or "not found", "" if found else fix)


def _libp2p() -> Check:
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import libp2p, fastecdsa.curve"],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("libp2p", "fail", f"does not load within {IMPORT_TIMEOUT_S:g} s", "see what slows this machine")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return Check("libp2p", "fail", last, "reinstall: pip install --force-reinstall coterie")
    return Check("libp2p", "ok", f"{version('libp2p')}, Python {sys.version.split()[0]}")
