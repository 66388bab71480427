"""Finds what commands left behind by a variable in their environment, where the process tree no longer tells.

The supervisor makes this the second line of defence: for engines whose supervisor was killed too. A process that
hides its environment from proc(5) and lost its supervisor is not found.
"""

import hashlib
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import anyio

from coterie.engine.spawner.supervisor import TRACKING_VARIABLE

SUPERVISOR_VARIABLE: Final = "COTERIE_SUPERVISOR_ID"
SUPERVISORS_S_MAX: Final = 8.0
_ROUNDS_MAX: Final = 100
_numbers: Final = count(1)


def tracking_prefix(work_dir: Path | None) -> str:
    """What the tracking ids of all commands of engines with that folder begin with; of its own where there is none."""
    name = os.fsencode(work_dir.resolve()) if work_dir is not None else os.urandom(16)
    return hashlib.sha256(name).hexdigest()[:16]


def new_spawner_id(prefix: str) -> str:
    """A name for a supervisor that no other has: it tells the engine's process, by pid and time of start."""
    return f"{prefix}-{os.getpid()}.{_start_of(os.getpid())}.{next(_numbers)}"


def kill_tracked(spawner: str) -> int:
    """Kills every process that a spawner started, until none is found; returns how many there were."""
    killed: set[int] = set()
    for _ in range(_ROUNDS_MAX):
        found = {pid for pid, value in _processes_with(TRACKING_VARIABLE, spawner) if _spawner_of(value) == spawner}
        if not found:
            break
        for pid in found:
            _kill(pid)
        killed |= found
    return len(killed)


async def kill_orphans(prefix: str) -> int:
    """Ends what engines that died left behind; returns how many processes were killed.

    Their supervisors get SUPERVISORS_S_MAX seconds to do it first. Engines that live are left alone.
    """
    with anyio.move_on_after(SUPERVISORS_S_MAX):
        for pid, value in list(_processes_with(SUPERVISOR_VARIABLE, prefix)):
            if not _engine_lives(value):
                await _ended(pid)
    for pid, value in _processes_with(SUPERVISOR_VARIABLE, prefix):
        if not _engine_lives(value):
            _kill(pid)
    left = {_spawner_of(value) for _, value in _processes_with(TRACKING_VARIABLE, prefix) if not _engine_lives(value)}
    return sum(kill_tracked(spawner) for spawner in left)


async def _ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def _spawner_of(tracking_id: str) -> str:
    """`prefix-pid.start.number-command`, without the command."""
    return "-".join(tracking_id.split("-")[:2])


def _engine_lives(tracking_id: str) -> bool:
    process = tracking_id.split("-")[1].split(".") if "-" in tracking_id else []
    return len(process) == 3 and process[0].isdigit() and process[1] == _start_of(int(process[0]))


def _start_of(pid: int) -> str:
    """When a process was started, in ticks since boot; empty for none. proc(5)"""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _processes_with(variable: str, prefix: str) -> Iterator[tuple[int, str]]:
    name = f"{variable}=".encode()
    start = name + prefix.encode()
    own = os.getpid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == own:
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                environment = file.read()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if start not in environment:
            continue
        for line in environment.split(b"\0"):
            if line.startswith(start):
                yield int(entry), line[len(name) :].decode("utf-8", "replace")
