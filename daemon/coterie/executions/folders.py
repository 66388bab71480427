"""Where executions find their files: source trees by content, and a folder for each execution that asks for one.

    sources/<cid>       the unpacked tree of a source blob, shared by all executions that were submitted with it
    work/<execution>    made when the first step of the execution asks for it, gone with the execution

Everything here can be made again or is of no use to anybody else, so nothing is fsynced.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import trio

from coterie.disk import disk_errors
from coterie.engine.journal.port import ExecutionRecord
from coterie.executions.sweeping import DOOMED, sweep
from coterie.runner.workspace import remove_tree
from coterie.source_tree import unpack_source
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import BadMessage, UserError

SOURCE_IDLE_S: Final = 24 * 3600.0
"""A tree that nobody has used for that long is removed; an execution that needs it later unpacks it again."""
_UNFINISHED: Final = ".new-"


class SourceBlobs(Protocol):
    """Where source trees are kept."""

    def put_file(self, path: Path) -> Cid:
        """Stores a file's bytes durably. Raises UserError."""
        ...

    def path(self, cid: Cid) -> Path:
        """Where the bytes are. Raises KeyError."""
        ...


class BadSource(UserError):
    """What was uploaded is no source tree."""

    code = "bad-source"
    exit_code = 65


class SourceGone(UserError):
    """The source tree of an execution is no longer there."""

    code = "source-gone"
    exit_code = 5


class ExecutionFolders:
    """Implements `engine.submission.Folders` below `directory`."""

    def __init__(self, directory: Path, blobs: SourceBlobs) -> None:
        self._sources = directory / "sources"
        self._work = directory / "work"
        self._blobs = blobs
        self._unpacking: dict[str, trio.Event] = {}
        self._unpacked: set[str] = set()
        self._made: dict[str, Path] = {}
        with disk_errors(directory):
            for folder in (self._sources, self._work):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for leftover in self._sources.glob(f"{_UNFINISHED}*"):
                remove_tree(leftover)

    # --- what the engine asks for ---

    def source_dir(self, record: ExecutionRecord) -> Path | None:
        """The source tree that it was submitted with; `prepare` has put it there."""
        return None if record.source is None else self._sources / record.source

    def work_dir(self, record: ExecutionRecord) -> Path | None:
        """A folder of its own, made when it is first asked for. Raises DiskFailed."""
        known = self._made.get(record.id)
        if known is None:
            known = self._made[record.id] = self._work / record.id
            with disk_errors(known):
                known.mkdir(exist_ok=True, mode=0o700)
        return known

    # --- what the service asks for ---

    async def keep(self, tar: Path) -> Cid:
        """Keeps an uploaded tar file as a blob, unpacks it, and returns its name. Raises BadSource, DiskFailed."""
        cid = await trio.to_thread.run_sync(self._blobs.put_file, tar)
        await self._unpack(cid)
        return cid

    async def prepare(self, record: ExecutionRecord) -> None:
        """Puts the source tree of an execution in its place. Raises SourceGone, BadSource, DiskFailed."""
        if record.source is not None and record.source not in self._unpacked:
            await self._unpack(Cid(record.source))

    def forget(self, execution: str) -> None:
        """The execution has ended: its folder goes where no step has left anything in it."""
        place = self._made.pop(execution, None)
        if place is not None:
            with suppress(OSError):  # not empty, or gone: both are fine
                place.rmdir()

    async def sweep(self, is_known: Callable[[str], bool]) -> int:
        """Removes the folders of executions that nobody knows any more; returns how many."""
        return await sweep(self._work, is_known)

    async def sweep_sources(self, in_use: Callable[[], set[str]], now_s: float) -> int:
        """Removes source trees that were long unused; returns how many. `now_s` is Unix time."""

        def is_needed(name: str) -> bool:
            if name.startswith(DOOMED):
                return False
            recent = (self._sources / name).stat().st_mtime >= now_s - SOURCE_IDLE_S
            if recent or name in self._unpacking or name.startswith(_UNFINISHED) or name in in_use():
                return True
            self._unpacked.discard(name)
            return False

        return await sweep(self._sources, is_needed)

    async def _unpack(self, cid: Cid) -> None:
        """Once for all that want it at the same time; those who come later see whether it succeeded."""
        while (other := self._unpacking.get(cid)) is not None:
            await other.wait()
        done = self._unpacking[cid] = trio.Event()
        try:
            await trio.to_thread.run_sync(self._unpack_in_thread, cid)
            self._unpacked.add(cid)
        finally:
            del self._unpacking[cid]
            done.set()

    def _unpack_in_thread(self, cid: Cid) -> None:
        place = self._sources / cid
        with disk_errors(self._sources):
            if place.is_dir():
                os.utime(place)
                return
            beside = self._sources / f"{_UNFINISHED}{secrets.token_hex(8)}"
            try:
                unpack_source(self._blobs.path(cid), beside)
                os.utime(beside)
                beside.rename(place)
            except KeyError:
                raise SourceGone(f"the source tree {cid} is not on this peer any more", "submit it again") from None
            except BadMessage as error:
                raise BadSource(str(error), "upload a tar file as `coterie workflow submit` makes it") from None
            finally:
                remove_tree(beside)
