"""Removes folders that nobody needs any more, a few at a time, while others go on using their neighbours."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from coterie.runner.workspace import remove_tree

BATCH_MAX: Final = 64
DOOMED: Final = ".gone-"
"""What stands before the name of a folder that is being removed."""


async def sweep(folder: Path, needed: Callable[[str], bool]) -> int:
    """Removes what lies in `folder` and is not needed, by name; returns how many.

    Each goes under another name first, at once: whoever wants it from then on finds nothing, and never half of it.
    """
    names = sorted(os.listdir(folder))
    removed = 0
    for start in range(0, len(names), BATCH_MAX):
        doomed = [_doomed(folder, name) for name in names[start : start + BATCH_MAX] if not needed(name)]
        if doomed:
            await trio.to_thread.run_sync(_remove, doomed)
        else:
            await trio.lowlevel.checkpoint()
        removed += len(doomed)
    return removed


def _doomed(folder: Path, name: str) -> Path:
    if name.startswith(DOOMED):
        return folder / name
    return (folder / name).rename(folder / f"{DOOMED}{name}")


def _remove(paths: list[Path]) -> None:
    for path in paths:
        remove_tree(path)
