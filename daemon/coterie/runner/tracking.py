"""Finds processes of jobs by a variable in their environment, where the process tree no longer tells.

The supervisor makes this the second line of defence: for jobs whose supervisor was killed too. A process that hides
its environment from proc(5) and lost its supervisor is not found.
"""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import trio

from coterie.runner.supervisor import send

TRACKING_VARIABLE = "COTERIE_TRACKING_ID"
SUPERVISOR_VARIABLE = "COTERIE_SUPERVISOR_ID"
SUPERVISORS_S_MAX = 8.0
_POLL_S = 0.02
_ROUNDS_MAX = 100


def tracking_prefix(work_dir: Path) -> str:
    """What the tracking ids of all jobs of one daemon begin with: other daemons on this machine have other ones."""
    return hashlib.sha256(os.fsencode(work_dir.resolve())).hexdigest()[:16]


def kill_tracked(tracking_id: str) -> int:
    """Kills every process whose tracking id begins so, until none is found; returns how many there were."""
    killed: set[int] = set()
    for _ in range(_ROUNDS_MAX):
        found = set(_processes_with(TRACKING_VARIABLE, tracking_id))
        if not found:
            break
        for pid in found:
            send(pid, signal.SIGKILL)
        killed |= found
    return len(killed)


async def kill_orphans(prefix: str) -> int:
    """Ends what an earlier daemon left: waits for its supervisors to do it, then kills what is still there."""
    with trio.move_on_after(SUPERVISORS_S_MAX):
        # Polled: processes that are not our children give no event.
        while any(_processes_with(SUPERVISOR_VARIABLE, prefix)):  # noqa: ASYNC110
            await trio.sleep(_POLL_S)
    for pid in _processes_with(SUPERVISOR_VARIABLE, prefix):
        send(pid, signal.SIGKILL)
    return kill_tracked(prefix)


def _processes_with(variable: str, prefix: str) -> Iterator[int]:
    start = f"{variable}={prefix}".encode()
    own = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if environment.startswith(start) or b"\0" + start in environment:
            yield int(name)
