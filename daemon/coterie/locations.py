"""Where a daemon keeps its data and its control socket when nobody says otherwise.

Shared by daemon and clients, so it imports nothing that takes time to load. systemd hands the directories of a unit
over as STATE_DIRECTORY and RUNTIME_DIRECTORY; https://specifications.freedesktop.org/basedir-spec says the rest.
"""

import os
from collections.abc import Mapping
from pathlib import Path

SOCKET_NAME = "control.sock"
SOCKET_PATH_BYTES_MAX = 107  # sun_path of AF_UNIX has room for 108 bytes with its closing zero
SYSTEM_DATA_DIR = Path("/var/lib/coterie")
SYSTEM_SOCKET = Path("/run/coterie") / SOCKET_NAME


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The data directory of the service that this process is or would be."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return SYSTEM_DATA_DIR if os.geteuid() == 0 else user_data_dir(environ)


def default_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """The control socket of the service that this process is or would be."""
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0]) / SOCKET_NAME
    return SYSTEM_SOCKET if os.geteuid() == 0 else user_socket(environ)


def user_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The data directory of a user's own daemon."""
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "coterie"


def user_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """The control socket of a user's own daemon; beside the data where the session has no runtime directory."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) / "coterie" if runtime.startswith("/") else user_data_dir(environ)
    return base / SOCKET_NAME


def client_sockets(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The sockets at which a client looks for its daemon, best first: as told, COTERIE_SOCKET, else the defaults."""
    if explicit is not None:
        return (explicit,)
    if given := environ.get("COTERIE_SOCKET"):
        return (Path(given),)
    return tuple(dict.fromkeys((default_socket(environ), user_socket(environ), SYSTEM_SOCKET)))
