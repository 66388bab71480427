"""A web server of a few lines, on a free port of the loopback, that answers as a test says."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import h11
from anyio.abc import SocketStream


@dataclass
class Asked:
    """One request. The names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """One answer, in pieces; `breaks_off` leaves out its end."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: tuple[bytes, ...] = ()
    breaks_off: bool = False


@dataclass
class WebDouble:
    """What was asked of it, and how it answers."""

    answer: Callable[[Asked], Reply]
    asked: list[Asked] = field(default_factory=list[Asked])
    url: str = ""

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            asked = await _request(connection, stream)
            if asked is None:
                return
            self.asked.append(asked)
            reply = self.answer(asked)
            headers = {"Transfer-Encoding": "chunked", "Connection": "close", **reply.headers}
            await stream.send(_bytes(connection, h11.Response(status_code=reply.status, headers=list(headers.items()))))
            if asked.method == "HEAD":
                return
            for piece in reply.pieces:
                await stream.send(_bytes(connection, h11.Data(data=piece)))
            if not reply.breaks_off:
                await stream.send(_bytes(connection, h11.EndOfMessage()))


async def _request(connection: h11.Connection, stream: SocketStream) -> Asked | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return None
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            break
    if head is None:
        return None
    headers = {bytes(name).decode().lower(): bytes(value).decode() for name, value in head.headers}
    return Asked(bytes(head.method).decode(), bytes(head.target).decode(), headers, body)


def _bytes(connection: h11.Connection, event: Any) -> bytes:
    return bytes(cast(Any, connection).send(event) or b"")


@asynccontextmanager
async def web_double(answer: Callable[[Asked], Reply]) -> AsyncGenerator[WebDouble]:
    """A server while the block runs."""
    web = WebDouble(answer)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        web.url = f"http://127.0.0.1:{port}"
        tasks.start_soon(listener.serve, web.serve)
        yield web
        tasks.cancel_scope.cancel()
