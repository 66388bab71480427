"""Answers without a known end: server-sent events, and logs that grow.

The source is opened, read and closed in one task, since it may hold a nursery of its own.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Source = Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]

EVENT_STREAM: Final = "text/event-stream"


class StreamResponse(Response):
    """Sends what `source` yields until it ends or the client leaves.

    An error of the source before its first chunk becomes a problem document; a later one breaks the stream off.
    """

    def __init__(self, source: Source, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        started = False
        async with trio.open_nursery() as nursery:
            gone = partial(_cancel_when_gone, receive, nursery.cancel_scope)
            nursery.start_soon(gone)  # pyright: ignore[reportUnknownMemberType]
            async with self._source() as source, _closing(source) as chunks:
                async for chunk in chunks:
                    if not started:
                        await send(start)
                        started = True
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            nursery.cancel_scope.cancel()
        if not started:
            await send(start)
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes]) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Ends an async generator here and now: left to the garbage collector it would end in no task at all."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
