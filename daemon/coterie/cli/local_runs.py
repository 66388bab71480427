"""Where `coterie workflow run` keeps what it does: a folder for each run, so that several can be under way.

<state directory>/local/<time>-<chance>/    engine.db, logs/, work/, and `execution`: its id, and whether it ended
"""

import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from coterie.locations import user_data_dir
from coterie_protocols.errors import NotFound

ENDED_KEPT_MAX = 20
"""So many runs that have ended can be looked at; those that have not stay until they are resumed."""

PREFIX_CHARS_MIN = 4
_NAME = "execution"
_ENDED = "ended"


def runs_dir() -> Path:
    """The folder of all of them."""
    return user_data_dir() / "local"


def new_folder() -> Path:
    """A folder for a new run; the oldest that have ended make room."""
    top = runs_dir()
    top.mkdir(parents=True, exist_ok=True, mode=0o700)
    ended = [folder for folder in _folders(top) if _marked(folder)[1]]
    for folder in ended[ENDED_KEPT_MAX - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)  # somebody else may be removing it too
    folder = top / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    return folder


def mark(folder: Path, execution: str, ended: bool) -> None:
    """Notes which execution the folder holds, and whether it has ended well."""
    (folder / _NAME).write_text(f"{execution}\n{_ENDED if ended else ''}\n")


def find_folder(name: str) -> tuple[Path, str]:
    """(folder, execution) of a run: `last`, or an id or its beginning. Raises NotFound."""
    top = runs_dir()
    for folder in _folders(top):
        execution, _ = _marked(folder)
        if execution and (name == "last" or (len(name) >= PREFIX_CHARS_MIN and execution.startswith(name))):
            return folder, execution
    if name == "last":
        raise NotFound(f"nothing has been run from {top} yet", "run a file: coterie workflow run FILE")
    raise NotFound(f"no run in {top} begins with {name!r}", "the newest is `last`; runs of the daemon are not here")


def _folders(top: Path) -> Iterator[Path]:
    """The newest first."""
    return iter(sorted(top.iterdir(), reverse=True)) if top.is_dir() else iter(())


def _marked(folder: Path) -> tuple[str, bool]:
    try:
        execution, ended, *_ = (folder / _NAME).read_text().split("\n")
    except (OSError, ValueError):
        return "", False
    return execution, ended == _ENDED
