"""One daemon's control socket as a client speaks to it: standard library only, so that a command answers at once."""

import http.client
import json
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, cast
from urllib.parse import quote, urlencode

from coterie_protocols.errors import TryLater, UserError

Document = dict[str, Any]
"""A JSON object as the daemon sent it; `schema` names its shape."""

REQUEST_TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 45.0  # three heartbeats of /v1/events
TIMEOUT_S_MIN = 0.001  # 0 would mean not to wait at all
ANSWER_BYTES_MAX = 64 * 1024 * 1024
CHUNK_BYTES = 64 * 1024


class DaemonNotRunning(UserError):
    """Nobody answers on the control socket."""

    code = "no-daemon"
    exit_code = 69


class Refused(UserError):
    """The daemon answered with a problem document (RFC 9457), kept whole in `problem`."""

    def __init__(self, problem: Document) -> None:
        super().__init__(str(problem.get("detail", "the daemon refused")), str(problem.get("hint", "")))
        self.problem = problem
        self.code = str(problem.get("code", "internal"))
        self.exit_code = int(problem.get("exit_code", 70))


class StreamEnded(TryLater):
    """A stream broke off before its end: the daemon has stopped or is too busy."""


class _Response(http.client.HTTPResponse):
    channel: socket.socket | None = None  # whose timeout can be set while the answer is read

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.channel = sock


class _UnixConnection(http.client.HTTPConnection):
    response_class = _Response

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(os.fspath(self._path))
        except OSError:
            self.sock.close()
            raise


class Connection:
    """Requests to one daemon. Every call raises `DaemonNotRunning`, `Refused` or another UserError."""

    def __init__(self, path: Path, tried: tuple[Path, ...] = ()) -> None:
        self.path = path
        self._tried = tried or (path,)

    def _get(self, target: str, **query: object) -> Document:
        return self._call("GET", _with_query(target, query))

    def _post(self, target: str, document: Mapping[str, object], timeout_s: float = REQUEST_TIMEOUT_S) -> Document:
        body = json.dumps(document).encode()
        return self._call("POST", target, body, {"Content-Type": "application/json"}, timeout_s)

    def _text(self, target: str, **query: object) -> str:
        """An answer that is no JSON."""
        with self._answered("GET", _with_query(target, query)) as response:
            return _whole(response).decode()

    def _events(self, target: str, within_s: float | None = None) -> Generator[tuple[str, Document]]:
        """Server-sent events as (event, document), until the daemon ends the stream. Raises TimeoutError.

        That is after `within_s`, where it is given; a daemon without heartbeats is StreamEnded.
        """
        until = None if within_s is None else monotonic() + within_s
        timeout_s = STREAM_TIMEOUT_S if within_s is None else _bounded(within_s)
        with self._open("GET", target, timeout_s=timeout_s) as response:
            try:
                yield from _server_sent_events(response, until)
            except TimeoutError:
                if until is not None and monotonic() >= until:
                    raise
                raise self._stopped() from None

    def _log(self, target: str, attempt: int | None, follow: bool, offset: int) -> Generator[bytes]:
        """A log from byte `offset` on, in chunks; a silent stretch of one that is followed reconnects where it was."""
        while True:
            query = {"offset": offset, "follow": follow, "attempt": attempt}
            try:
                with self._open("GET", _with_query(target, query), timeout_s=STREAM_TIMEOUT_S) as response:
                    for chunk in _chunks(response):
                        offset += len(chunk)
                        yield chunk
                    return
            except TimeoutError:
                if not follow:
                    raise StreamEnded("the daemon sent no more of the log", "try again in a moment") from None

    def _stopped(self) -> StreamEnded:
        hint = f"see whether it still runs: coterie --socket {self.path} status"
        return StreamEnded("the daemon has stopped", hint)

    def _call(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Document:
        with self._answered(method, target, body, headers, timeout_s) as response:
            return _document(response)

    @contextmanager
    def _answered(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Generator[_Response]:
        try:
            with self._open(method, target, body, headers, timeout_s) as response:
                yield response
        except TimeoutError:
            raise TryLater(
                f"the daemon on {self.path} did not answer within {timeout_s:g} s", "see its log, or try again"
            ) from None

    @contextmanager
    def _open(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Generator[_Response]:
        with closing(_UnixConnection(self.path, timeout_s)) as connection:
            try:
                connection.connect()
            except OSError as error:
                raise _not_running(self._tried, error) from None
            try:
                response = _exchange(connection, method, target, body, headers or {})
                if response.status >= 400:
                    raise Refused(_document(response))
                yield response
            except TimeoutError:
                raise
            except (http.client.HTTPException, ConnectionError) as error:
                what = type(error).__name__
                raise StreamEnded(f"the daemon on {self.path} broke the connection ({what})", "see its log") from None


def _exchange(
    connection: _UnixConnection, method: str, target: str, body: Any, headers: Mapping[str, str]
) -> _Response:
    try:
        connection.request(method, target, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        # The daemon refuses a body that is too large before it has read it all: its answer says why.
        return cast("_Response", connection.getresponse())
    return cast("_Response", connection.getresponse())


def _not_running(tried: tuple[Path, ...], error: OSError) -> UserError:
    where = " and ".join(str(path) for path in tried)
    if isinstance(error, PermissionError):
        hint = "run the command as the user of the daemon, or as root"
        return DaemonNotRunning(f"no permission to speak to the daemon on {where}", hint)
    return DaemonNotRunning(
        f"no daemon answers on {where}", "start it with `coterie up`, or name its socket with --socket PATH"
    )


def _document(response: http.client.HTTPResponse) -> Document:
    raw = _whole(response)
    try:
        value: object = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return {"detail": f"what answers on the socket is no Coterie daemon (HTTP {response.status})", "exit_code": 69}
    return value  # pyright: ignore[reportUnknownVariableType]  # json.loads makes string keys


def _whole(response: http.client.HTTPResponse) -> bytes:
    raw = response.read(ANSWER_BYTES_MAX)
    if response.length:  # fewer bytes than announced, or more than is sane
        raise http.client.IncompleteRead(raw, response.length)
    return raw


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read1(CHUNK_BYTES):  # raises IncompleteRead where the stream breaks off
        yield chunk


def _server_sent_events(response: _Response, until: float | None) -> Iterator[tuple[str, Document]]:
    event, data = "message", ""
    while raw := _line(response, until):
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ")
        elif not line and data:
            yield event, json.loads(data)
            event, data = "message", ""


def _line(response: _Response, until: float | None) -> bytes:
    if until is not None and response.channel is not None:
        left_s = until - monotonic()
        if left_s <= 0:
            raise TimeoutError
        response.channel.settimeout(_bounded(left_s))
    return response.readline()


def _bounded(seconds: float) -> float:
    return min(max(seconds, TIMEOUT_S_MIN), STREAM_TIMEOUT_S)


def segment(text: str) -> str:
    """One segment of a path, whatever is in it."""
    return quote(text, safe="")


def _with_query(target: str, query: Mapping[str, object]) -> str:
    """Adds what is not None; booleans as JSON has them."""
    words = {True: "true", False: "false"}
    given = {
        key: words[value] if isinstance(value, bool) else value for key, value in query.items() if value is not None
    }
    return f"{target}?{urlencode(given)}" if given else target
