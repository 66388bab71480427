"""Serves the control socket: HTTP/1.1 on a Unix socket, by hypercorn's protocol code on our own connections.

hypercorn's listener is not used, because its sends are shielded from cancellation: a client that stops reading
would hold up the daemon's exit for ever, and there would be no place to look at who connects.
"""

import logging
import os
import socket
from pathlib import Path
from typing import Any, Final, cast

import structlog
import trio
from fastapi import FastAPI
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from coterie.control.execution_quick import answer_submissions
from coterie.control.execution_submit import PEER_UID, Submitting
from coterie.control.routes import create_app
from coterie.control.socket_file import CREDENTIALS_BYTES, uid_of_credentials
from coterie.control.uploads import Uploads
from coterie.executions.service import Executions
from coterie.views import Daemon

CONNECTIONS_MAX: Final = 128
SEND_TIMEOUT_S: Final = 20.0
IDLE_TIMEOUT_S: Final = 10.0
HEADERS_BYTES_MAX: Final = 16 * 1024

_log = structlog.get_logger("coterie.control")


async def serve(
    listener: socket.socket,
    daemon: Daemon,
    *,
    incoming_dir: Path,
    source_bytes_max: int,
    version: str,
    executions: Executions | None = None,
) -> None:
    """Serves `daemon` and its `executions` on a listening Unix socket (see `control_socket`) until cancelled.

    Uploaded source trees wait in `incoming_dir`, each of `source_bytes_max` bytes at most.
    """
    uploads = Uploads(incoming_dir, source_bytes_max)
    uploads.clear()
    submitting = None if executions is None else Submitting(executions, uploads)
    app = create_app(daemon, uploads, version, executions, submitting)
    await _Server(app, submitting).run(listener)


class _Server:
    def __init__(self, app: FastAPI, submitting: Submitting | None) -> None:
        self._submitting = submitting
        self._app = ASGIWrapper(cast("Any", app))
        self._config = _configuration()
        self._context = WorkerContext(None)
        self._connections: set[_Connection] = set()

    async def run(self, listener: socket.socket) -> None:
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        async with trio.open_nursery() as nursery:
            try:
                await trio.serve_listeners(self._serve, [accepting], handler_nursery=nursery)
            finally:
                for connection in self._connections:
                    connection.abort()  # wakes the shielded sends too

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = _Connection(stream)
        if self._refuses(connection):
            connection.abort()
            return
        self._connections.add(connection)
        PEER_UID.set(connection.uid())
        try:
            if self._submitting is not None:
                connection.unread = await answer_submissions(connection, self._submitting, IDLE_TIMEOUT_S)
                if not connection.unread:
                    return
            state = ConnectionState({})
            await TCPServer(self._app, self._config, self._context, state, cast("Any", connection)).run()
        except Exception:  # noqa: BLE001 - whatever a client sends costs it its connection, and us nothing but a line in the log
            _log.exception("a connection to the control socket failed")
        finally:
            self._connections.discard(connection)
            connection.abort()

    def _refuses(self, connection: "_Connection") -> bool:
        uid = connection.uid()
        if uid not in (os.geteuid(), 0):
            _log.warning("refused a user at the control socket", uid=uid)
            return True
        if len(self._connections) >= CONNECTIONS_MAX:
            _log.warning("too many connections to the control socket", limit=CONNECTIONS_MAX)
            return True
        return False


class _Connection:
    """The part of a trio stream that hypercorn uses, with sends that give up. `unread` is received first."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.unread = b""
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(SEND_TIMEOUT_S) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            self.abort()
            raise trio.BrokenResourceError(f"a client read nothing for {SEND_TIMEOUT_S:g} s")

    async def receive_some(self, bytes_max: int) -> bytes:
        if self.unread:
            unread, self.unread = self.unread, b""
            return unread
        return bytes(await self._stream.receive_some(bytes_max))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def uid(self) -> int:
        return uid_of_credentials(self._stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES))

    def abort(self) -> None:
        self._stream.socket.close()


def _configuration() -> Config:
    config = Config()
    config.errorlog = logging.getLogger("coterie.control.http")
    config.keep_alive_timeout = IDLE_TIMEOUT_S
    config.h11_max_incomplete_size = HEADERS_BYTES_MAX
    config.include_server_header = False
    return config
