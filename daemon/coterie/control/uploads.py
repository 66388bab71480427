"""Source trees on their way in: the daemon may run as another user or with its own /tmp, so clients send the bytes."""

import os
import secrets
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import IO

import trio

from coterie.control.problems import RequestRefused
from coterie_protocols.errors import NotFound, TryLater

PENDING_MAX = 16
CHUNK_TIMEOUT_S = 30.0


class Uploads:
    """Uploaded tar files in `directory`, each at most `bytes_max` long, until a submission takes them."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._pending: dict[str, Path] = {}

    def clear(self) -> None:
        """Makes the directory, and removes what an earlier daemon left in it."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._directory.glob("*.tar"):
            left.unlink()

    async def receive(self, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        """Stores an upload and returns (name, bytes). Raises RequestRefused, and TryLater when the disk is full."""
        name = secrets.token_hex(16)
        path = self._directory / f"{name}.tar"
        try:
            size = await self._write(path, chunks)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        while len(self._pending) >= PENDING_MAX:
            self._pending.pop(next(iter(self._pending))).unlink(missing_ok=True)
        self._pending[name] = path
        return name, size

    def take(self, name: str) -> Path:
        """The file of an upload, now the caller's to remove. Raises NotFound."""
        if name not in self._pending:
            raise NotFound(f"no uploaded source {name!r}", "upload it to /v1/sources first; each serves one submission")
        return self._pending.pop(name)

    async def _write(self, path: Path, chunks: AsyncIterator[bytes]) -> int:
        size = 0
        with _private_file(path) as file:
            while (chunk := await _next(chunks)) is not None:
                size += len(chunk)
                if size > self._bytes_max:
                    raise RequestRefused(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"the source tree has more than {self._bytes_max} bytes",
                        "leave large files out with .gitignore, or raise blob_bytes_max",
                    )
                try:
                    file.write(chunk)
                except OSError as error:
                    raise TryLater(f"the source tree can't be stored: {error.strerror}", "free some space") from error
        return size


def _private_file(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", buffering=0)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        with trio.fail_after(CHUNK_TIMEOUT_S):
            return await anext(chunks, None)
    except trio.TooSlowError:
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "the upload stood still for too long") from None
