"""Answers what members ask for by `fetch`: blobs, and the logs of attempts that ran here."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, assert_never

import trio

from coterie.ports import Blobs, Logs, Serve
from coterie_protocols.errors import BadMessage, NotFound
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import BlobRequest, LogRequest, decode_request_untrusted

CHUNK_BYTES: Final = 64 * 1024


def server_of(blobs: Blobs, logs: Logs) -> Serve:
    """What the network calls for every request of a member."""

    @asynccontextmanager
    async def serve(peer: PeerId, data: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        del peer  # every member may read: the network lets in nobody else
        request = decode_request_untrusted(data)
        match request:
            case BlobRequest():
                if not blobs.has(request.blob):
                    raise BadMessage("no such blob here")
                async with aclosing(read_file(blobs.path(request.blob), 0)) as chunks:
                    yield chunks
            case LogRequest():
                async with aclosing(_log(logs, request)) as chunks:
                    yield chunks
            case _:
                assert_never(request)

    return serve


async def _log(logs: Logs, request: LogRequest) -> AsyncGenerator[bytes]:
    log = logs.read(request.run, request.task, request.attempt, request.offset, request.follow)
    try:
        async with closing(log):
            async for chunk in log:
                yield chunk
    except NotFound:
        raise BadMessage("no such log here") from None


async def read_file(path: Path, offset: int) -> AsyncGenerator[bytes]:
    """A file's bytes from `offset` on, chunk by chunk."""
    async with await trio.open_file(path, "rb") as file:
        await file.seek(offset)
        while chunk := await file.read(CHUNK_BYTES):
            yield chunk


@asynccontextmanager
async def closing(chunks: AsyncIterator[bytes]) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Ends a generator that was left unfinished here and now, not when the garbage collector comes by."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
