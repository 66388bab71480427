"""Stands between the socket and the routes: bounds every request, and turns every error into a problem document."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, cast

import structlog
import trio

from coterie.control.problems import MEDIA_TYPE, RequestRefused, body_of, problem_of, problem_of_bug
from coterie.control.schemas import Problem
from coterie_protocols.errors import UserError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX = 4 * 1024 * 1024
BODY_TIMEOUT_S = 10.0

_log = structlog.get_logger("coterie.control")


class Guard:
    """ASGI middleware. A POST to a path in `streamed` reads its body itself, within bounds of its own.

    `large` has the bytes that a body may have at those paths where that is more than BODY_BYTES_MAX.
    """

    def __init__(self, app: Application, streamed: frozenset[str], large: Mapping[str, int]) -> None:
        self._inner = app
        self._streamed = streamed
        self._large = large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return  # no websockets, no lifespan: hypercorn closes what is not answered
        response = _Response(send)
        try:
            streamed = scope["method"] == "POST" and scope["path"] in self._streamed
            bounded = receive if streamed else await _whole_body(receive, self._bytes_max(scope))
            await self._inner(scope, bounded, response.send)
        except Exception as error:  # noqa: BLE001 - the border between requests: ours go to the log, the user's to the user
            await self._fail(scope, receive, response, error)

    def _bytes_max(self, scope: Scope) -> int:
        return self._large.get(scope["path"], BODY_BYTES_MAX)

    async def _fail(self, scope: Scope, receive: Receive, response: "_Response", error: Exception) -> None:
        problem = problem_in(error, scope["method"], scope["path"])
        if response.started:
            # Too late for a document. An answer that is left unfinished makes hypercorn break the connection off.
            _log.info("stream broken off", path=scope["path"], reason=str(error))
            return
        await _send_problem(receive, response, problem)


def problem_in(error: Exception, method: str, path: str) -> Problem:
    """What a request is answered with that raised `error`; our own bugs go to the log."""
    told = user_error_in(error)
    if told is None:
        _log.error("request failed", method=method, path=path, exc_info=error)
        return problem_of_bug()
    return problem_of(told)


class _Response:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        self.started = True
        await self._send(message)


def user_error_in(error: BaseException) -> UserError | None:
    """The user's error that `error` is, or that it wraps as the only one of a nursery."""
    if isinstance(error, BaseExceptionGroup):
        wrapped = cast("tuple[BaseException, ...]", error.exceptions)  # pyright: ignore[reportUnknownMemberType]
        return user_error_in(wrapped[0]) if len(wrapped) == 1 else None
    return error if isinstance(error, UserError) else None


async def _whole_body(receive: Receive, bytes_max: int) -> Receive:
    """Reads the body to its end and returns a `receive` that gives it in one piece, then waits for the end."""
    body = bytearray()
    more = True
    with trio.move_on_after(BODY_TIMEOUT_S) as patience:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > bytes_max:
                raise RequestRefused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request has more than {bytes_max} bytes"
                )
    if patience.cancelled_caught:
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT, f"the request took longer than {BODY_TIMEOUT_S:g} s")
    waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _send_problem(receive: Receive, response: _Response, problem: Problem) -> None:
    body = body_of(problem)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    async with trio.open_nursery() as nursery:
        # hypercorn waits for room in the queue of a body that nobody reads: keep it empty.
        nursery.start_soon(_discard, receive)  # pyright: ignore[reportUnknownMemberType]
        await response.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await response.send({"type": "http.response.body", "body": body})
        nursery.cancel_scope.cancel()


async def _discard(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
