"""Blobs as files: `blobs/ab/<cid>`, where `ab` are the last two letters of the CID (the first are all alike).

A blob enters under its name by rename, after its bytes are fsynced: what is there is whole.
"""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from coterie.disk import disk_errors
from coterie_protocols.encoding import Cid, cid_of_blob
from coterie_protocols.errors import BadMessage, UserError

CHUNK_BYTES = 256 * 1024
_CID_CHARS = 59
_INCOMING = "incoming"


class FileBlobs:
    """The blobs below `directory`, none larger than `blob_bytes_max`.

    The synchronous methods may be called from threads. Raises DiskFailed where the disk refuses.
    """

    def __init__(self, directory: Path, blob_bytes_max: int) -> None:
        self._directory = directory
        self._incoming = directory / _INCOMING
        self._blob_bytes_max = blob_bytes_max
        with disk_errors(directory):
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync_directory(directory.parent)  # or a power cut may take the whole new folder
            for leftover in self._incoming.iterdir():
                leftover.unlink()

    def has(self, cid: Cid) -> bool:
        """Is the whole blob here?"""
        return self._place(cid).is_file()

    def path(self, cid: Cid) -> Path:
        """Where the blob's bytes are. Raises KeyError if it is not here."""
        place = self._place(cid)
        if not place.is_file():
            raise KeyError(cid)
        return place

    def put(self, data: bytes) -> Cid:
        """Stores bytes durably and names them. Raises UserError if they are too many."""
        return self._put(iter((data,)), "these bytes")

    def put_file(self, path: Path) -> Cid:
        """Stores a file's bytes durably, in constant memory. Raises UserError if they are too many."""
        return self._put(_chunks_of(path), str(path))

    async def receive(self, cid: Cid, chunks: AsyncIterator[bytes]) -> None:
        """Stores what arrives if it hashes to `cid`. Raises BadMessage if it does not or is too large."""
        if self.has(cid):
            return
        digest, size = hashlib.sha256(), 0
        with self._temporary() as (file, name):
            async for chunk in chunks:
                size += len(chunk)
                if size > self._blob_bytes_max:
                    raise BadMessage(f"blob {cid} is larger than {self._blob_bytes_max} bytes")
                digest.update(chunk)
                with disk_errors(self._directory):
                    _write_all(file, chunk)
            if cid_of_blob(digest.digest()) != cid:
                raise BadMessage(f"{size} bytes do not hash to {cid}")
            await trio.to_thread.run_sync(self._keep, file, name, cid)

    def _put(self, chunks: Iterator[bytes], what: str) -> Cid:
        digest, size = hashlib.sha256(), 0
        with disk_errors(self._directory), self._temporary() as (file, name):
            for chunk in chunks:
                size += len(chunk)
                if size > self._blob_bytes_max:
                    raise UserError(
                        f"{what}: larger than {self._blob_bytes_max} bytes, the limit for a blob",
                        "raise blob_bytes_max on every peer, or leave large files out",
                    )
                digest.update(chunk)
                _write_all(file, chunk)
            cid = cid_of_blob(digest.digest())
            if not self.has(cid):
                self._keep(file, name, cid)
        return cid

    @contextmanager
    def _temporary(self) -> Generator[tuple[int, Path]]:
        """A new file that is gone afterwards, unless `_keep` gave it its name."""
        with disk_errors(self._directory):
            file, name = tempfile.mkstemp(dir=self._incoming)
        try:
            yield file, Path(name)
        finally:
            os.close(file)
            Path(name).unlink(missing_ok=True)

    def _keep(self, file: int, name: Path, cid: Cid) -> None:
        place = self._place(cid)
        with disk_errors(self._directory):
            if not place.parent.is_dir():
                place.parent.mkdir(exist_ok=True, mode=0o700)
                _sync_directory(self._directory)
            os.fsync(file)
            name.replace(place)
            _sync_directory(place.parent)

    def _place(self, cid: Cid) -> Path:
        # A CID from a peer is checked where it is decoded; this only makes sure that no caller can name another path.
        if len(cid) != _CID_CHARS or not cid.isalnum():
            raise KeyError(cid)
        return self._directory / cid[-2:] / cid


def _chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
