"""The file of the control socket: whose it is, and whether somebody listens there already."""

import os
import socket
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from coterie.locations import SOCKET_PATH_BYTES_MAX
from coterie_protocols.errors import UserError

BACKLOG = 64
PROBE_TIMEOUT_S = 1.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
CREDENTIALS_BYTES = _CREDENTIALS.size


@contextmanager
def control_socket(path: Path) -> Generator[socket.socket]:
    """The listening control socket of this process; its file is gone when the context ends. Raises UserError."""
    listener = _bind(path)
    try:
        yield listener
    finally:
        path.unlink(missing_ok=True)  # while we still listen, nobody can have taken the path over
        listener.close()


def _bind(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, mode 0600; a socket that a dead daemon left is replaced.

    Raises UserError where another daemon listens, where something else lies, or where the directory can't be written.
    """
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_BYTES_MAX:
        raise UserError(
            f"the socket path {path} has {length} bytes; the system allows {SOCKET_PATH_BYTES_MAX}",
            "choose a shorter one with --socket or COTERIE_SOCKET",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_dead(path)
        os.fchmod(listener.fileno(), 0o600)  # on Linux the file is made with the mode of the socket: never wider
        listener.bind(os.fspath(path))
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot make the control socket {path}: {error.strerror or error}",
            "choose a place that can be written with --socket or COTERIE_SOCKET",
        ) from error
    except UserError:
        listener.close()
        raise
    return listener


def uid_of_credentials(raw: bytes) -> int:
    """The user in a `struct ucred`, which SO_PEERCRED tells of who is at the other end (unix(7))."""
    return int(_CREDENTIALS.unpack(raw)[1])


def _remove_dead(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(f"{path} exists and is no socket", "move it away, or choose another path with --socket")
    if _is_alive(path):
        raise UserError(
            f"another daemon listens on {path}",
            "stop it with `coterie down`, or give this one its own --socket and --data-dir",
        )
    path.unlink(missing_ok=True)


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True  # somebody holds a full queue of connections: stuck, yet alive
        return True
