"""Results that are too large for a row, as content-addressed files: written before the row that names them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from coterie.engine.journal.errors import JournalDamaged, damaged
from coterie.store.upgrade import sync_directory

if TYPE_CHECKING:  # definitions of workflows never need them, and they bring trio and a decoder
    from coterie.blobs.file_blobs import FileBlobs
    from coterie_protocols.encoding import Cid

_ANY_SIZE: Final = 2**62  # the engine bounds a result before it comes here (result_bytes_max)


class BlobsPort(Protocol):
    """Content-addressed bytes. `put` returns when they outlive a power cut."""

    def put(self, data: bytes) -> "Cid":
        """Keeps bytes and names them. Raises UserError: too many, or DiskFailed."""
        ...

    def path(self, cid: "Cid") -> Path:
        """The file that holds them. Raises KeyError if they are not here."""
        ...


class ResultFiles:
    """Large results among somebody's `blobs`, or else in `folder`, which is then the journal's own.

    Only in a folder of its own does it ever remove a file.
    """

    def __init__(self, blobs: BlobsPort | None, folder: Path | None) -> None:
        self._blobs = blobs
        self._folder = folder if blobs is None else None

    @property
    def usable(self) -> bool:
        """False where there is no place for files: then results of any size stay in the rows."""
        return self._blobs is not None or self._folder is not None

    @property
    def owned(self) -> bool:
        """Are the files the journal's alone?"""
        return self._folder is not None

    def put(self, data: bytes) -> str:
        """Keeps a result durably and returns its CID. Raises DiskFailed."""
        return self._open().put(data)

    def get(self, cid: str) -> bytes:
        """What was kept under that CID. Raises JournalDamaged if it is gone or changed."""
        from coterie_protocols.encoding import cid_of_blob

        try:
            path = self._open().path(cast("Cid", cid))
            data = path.read_bytes()
        except (KeyError, FileNotFoundError):
            raise _lost(cid) from None
        if cid_of_blob(hashlib.sha256(data).digest()) != cid:
            raise damaged(str(path), "a result has other bytes than were written")
        return data

    def size(self, cid: str) -> int:
        """Bytes of a file that another execution left. Raises JournalDamaged if it is gone."""
        try:
            return self._open().path(cast("Cid", cid)).stat().st_size
        except (KeyError, FileNotFoundError):
            raise _lost(cid) from None

    def remove(self, cids: Iterable[str]) -> None:
        """Removes files of its own that nobody needs any more; those already gone are passed over."""
        for cid in cids:
            try:
                self._open().path(cast("Cid", cid)).unlink(missing_ok=True)
            except KeyError:
                continue

    def all(self) -> Iterator[str]:
        """The CIDs of all files of its own, needed or not."""
        if self._folder is not None and self._folder.is_dir():
            for path in self._folder.glob("??/*"):
                yield path.name

    def _open(self) -> "BlobsPort | FileBlobs":
        if self._blobs is None:
            from coterie.blobs.file_blobs import FileBlobs

            assert self._folder is not None
            self._blobs = FileBlobs(self._folder, _ANY_SIZE)
            sync_directory(self._folder.parent)  # the folder itself must outlive a power cut, not only what is in it
        return self._blobs


def _lost(cid: str) -> JournalDamaged:
    return JournalDamaged(
        f"the file of a large result is gone: {cid}",
        "restore it from a backup beside the journal, or run the step again (`coterie workflow rerun`)",
    )
