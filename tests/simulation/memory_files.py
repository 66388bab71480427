"""The `Blobs` and `Logs` ports in memory, and what a machine serves of them."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import assert_never

from coterie.ports import LogWriter, Serve
from coterie_protocols.encoding import Cid, cid_of_blob
from coterie_protocols.errors import BadMessage, NotFound
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import BlobRequest, LogRequest, decode_request_untrusted
from coterie_protocols.ops import RunId


class MemoryFiles:
    """One machine's blobs and logs; `put_file` takes the paths that `finished` gives out."""

    def __init__(self) -> None:
        self._blobs: dict[Cid, bytes] = {}
        self._logs: dict[Path, bytes] = {}
        self._closed: set[Path] = set()

    # -- blobs ----------------------------------------------------------------------------------------------------

    def has(self, cid: Cid) -> bool:
        """Is the blob here?"""
        return cid in self._blobs

    def path(self, cid: Cid) -> Path:
        """A name for the blob."""
        if cid not in self._blobs:
            raise KeyError(cid)
        return Path(cid)

    def put(self, data: bytes) -> Cid:
        """Keeps bytes and names them."""
        cid = cid_of_blob(hashlib.sha256(data).digest())
        self._blobs[cid] = data
        return cid

    def put_file(self, path: Path) -> Cid:
        """Keeps the bytes of a log."""
        return self.put(self._logs[path])

    async def receive(self, cid: Cid, chunks: AsyncIterator[bytes]) -> None:
        """Keeps what arrives if it hashes to `cid`."""
        data = b"".join([chunk async for chunk in chunks])
        if cid_of_blob(hashlib.sha256(data).digest()) != cid:
            raise BadMessage("not the blob that was asked for")
        self._blobs[cid] = data

    def blob(self, cid: Cid) -> bytes:
        """The bytes of a blob. Raises BadMessage if it is not here."""
        if cid not in self._blobs:
            raise BadMessage("no such blob here")
        return self._blobs[cid]

    # -- logs -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, run: RunId, task: str, attempt: int) -> AsyncGenerator[LogWriter]:
        """A new log."""
        path = _path(run, task, attempt)
        self._logs[path] = b""
        try:
            yield _Writer(self._logs, path)
        finally:
            self._closed.add(path)

    def finished(self, run: RunId, task: str, attempt: int) -> Path | None:
        """The name of a closed log."""
        path = _path(run, task, attempt)
        return path if path in self._closed else None

    async def read(self, run: RunId, task: str, attempt: int, offset: int, follow: bool) -> AsyncIterator[bytes]:
        """What the log holds now."""
        path = _path(run, task, attempt)
        if path not in self._logs:
            raise NotFound("no such log")
        yield self._logs[path][offset:]


class _Writer:
    def __init__(self, logs: dict[Path, bytes], path: Path) -> None:
        self._logs, self._path = logs, path

    def line(self, text: str) -> None:
        self._logs[self._path] += f"{text}\n".encode()


def _path(run: RunId, task: str, attempt: int) -> Path:
    return Path(run) / task.replace("/", "_") / str(attempt)


def server_of(files: MemoryFiles) -> Serve:
    """Answers requests for blobs; logs are read from their blobs here."""

    @asynccontextmanager
    async def serve(peer: PeerId, data: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        request = decode_request_untrusted(data)
        match request:
            case BlobRequest():
                yield _once(files.blob(request.blob))
            case LogRequest():
                yield files.read(request.run, request.task, request.attempt, request.offset, request.follow)
            case _:
                assert_never(request)

    return serve


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
