"""Answers submissions of executions straight off the socket: the one request that is in a hurry.

What hypercorn and FastAPI do for a request takes longer than to plan, store and begin a small workflow. So a connection
is looked at first here: as long as nothing but plain submissions come, one at a time, they are answered here. With
the first request that is anything else the connection goes to hypercorn for good, the bytes of that request included.
What is plain is told narrowly: whoever sends more than the few headers below is served by the whole HTTP there.
"""

from http import HTTPStatus
from typing import Final, Protocol

import trio

from coterie.control.execution_submit import EXECUTIONS_PATH, Submitting
from coterie.control.guard import problem_in
from coterie.control.problems import MEDIA_TYPE, body_of

REQUEST_BYTES_MAX: Final = 64 * 1024
REQUEST_LINE: Final = f"POST {EXECUTIONS_PATH} HTTP/1.1\r\n".encode()
PASSED_OVER: Final = frozenset({b"content-type", b"accept", b"accept-encoding", b"user-agent"})
"""Headers that change nothing here."""
LENGTH_DIGITS_MAX: Final = 6


class Channel(Protocol):
    """A connection."""

    async def receive_some(self, bytes_max: int) -> bytes:
        """What has come, empty at the end."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Sends it, or gives up."""
        ...


async def answer_submissions(channel: Channel, submitting: Submitting, idle_s: float) -> bytes:
    """Answers plain submissions for as long as they come; returns the bytes of what came instead.

    Empty where the client has left, or said nothing for `idle_s` seconds.
    """
    while True:
        data = b""
        with trio.move_on_after(idle_s):
            data = await channel.receive_some(REQUEST_BYTES_MAX)
            while more := missing_bytes(data):  # many clients send the head and the body one after the other
                piece = await channel.receive_some(more)
                if not piece:
                    return b""
                data += piece
        body = body_of_submission(data)
        if body is None:
            return data
        await channel.send_all(await _answer(submitting, body))


async def _answer(submitting: Submitting, body: bytes) -> bytes:
    try:
        return _response(HTTPStatus.CREATED, "application/json", await submitting.submit(body))
    except Exception as error:  # noqa: BLE001 - the border between requests, as in guard.py
        problem = problem_in(error, "POST", EXECUTIONS_PATH)
        return _response(HTTPStatus(problem.status), MEDIA_TYPE, body_of(problem))


def body_of_submission(data: bytes) -> bytes | None:
    """The body, if the bytes are one whole plain submission and nothing more."""
    found = _plain(data)
    return None if found is None or found[0] != len(found[1]) else found[1]


def missing_bytes(data: bytes) -> int:
    """How much of its body is still to come, if the bytes begin a plain submission that is small enough; else 0."""
    found = _plain(data)
    if found is None or len(data) - len(found[1]) + found[0] > REQUEST_BYTES_MAX:
        return 0
    return max(0, found[0] - len(found[1]))


def _plain(data: bytes) -> tuple[int, bytes] | None:
    """The length that is told, and as much of the body as there is, if the head is whole and that of a submission."""
    if not data.startswith(REQUEST_LINE):
        return None
    head, end, body = data[len(REQUEST_LINE) :].partition(b"\r\n\r\n")
    if not end:
        return None
    lengths: list[bytes] = []
    hosts = 0
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or b"\n" in value or b"\r" in value or b"\0" in value:
            return None
        if name == b"content-length":
            lengths.append(value.strip(b" \t"))
        elif name == b"host":
            hosts += 1
        elif name == b"connection" and value.strip(b" \t").lower() == b"keep-alive":
            continue
        elif name not in PASSED_OVER:
            return None
    if hosts != 1 or len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > LENGTH_DIGITS_MAX:
        return None
    return int(lengths[0]), body


def _response(status: HTTPStatus, media_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status.value} \r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
