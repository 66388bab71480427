"""One daemon to a data directory: two would write two histories under one key."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from coterie.disk import disk_errors
from coterie.durable_files import make_private_dir
from coterie_protocols.errors import UserError


@contextmanager
def instance_lock(data_dir: Path) -> Generator[None]:
    """Holds the directory until the context is left, or the process dies however it may. Raises UserError."""
    make_private_dir(data_dir)
    path = data_dir / "lock"
    with disk_errors(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(file, data_dir)
        with disk_errors(path):
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _take(file: int, data_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(file, 32, 0).decode(errors="replace").strip()
        raise UserError(
            f"another daemon uses {data_dir}" + (f" (pid {owner})" if owner else ""),
            "stop it, or give this one another --data-dir",
        ) from None
