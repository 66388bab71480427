"""The client of the control socket: standard library only, so that a command answers at once."""

import http.client
import json
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from coterie.locations import client_sockets
from coterie_protocols.errors import TryLater, UserError

Document = dict[str, Any]
"""A JSON object as the daemon sent it; `schema` names its shape."""

REQUEST_TIMEOUT_S = 30.0
VERIFY_TIMEOUT_S = 1800.0  # every stored event is checked again
UPLOAD_TIMEOUT_S = 120.0
STREAM_TIMEOUT_S = 45.0  # three heartbeats of /v1/events
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


class _UnixConnection(http.client.HTTPConnection):
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


class Client:
    """Speaks to one daemon. Every call raises `DaemonNotRunning`, `Refused` or another UserError."""

    def __init__(self, path: Path, tried: tuple[Path, ...] = ()) -> None:
        self.path = path
        self._tried = tried or (path,)

    def status(self) -> Document:
        """This daemon (coterie.status/1)."""
        return self._call("GET", "/v1/status")

    def health(self) -> Document:
        """Answers as soon as the daemon serves (coterie.health/1)."""
        return self._call("GET", "/v1/health")

    def members(self) -> Document:
        """The coterie as this peer sees it (coterie.members/1)."""
        return self._call("GET", "/v1/members")

    def clock(self) -> Document:
        """Heads, frontier and digest (coterie.clock/1)."""
        return self._call("GET", "/v1/clock")

    def runs(self, limit: int) -> Document:
        """The newest runs first (coterie.runs/1)."""
        return self._call("GET", f"/v1/workflows?limit={limit}")

    def run(self, prefix: str) -> Document:
        """One run (coterie.run/1)."""
        return self._call("GET", f"/v1/workflows/{_segment(prefix)}")

    def upload(self, tar: Path) -> str:
        """Hands a source tree to the daemon and returns the name by which `submit` can refer to it, once."""
        with tar.open("rb") as body:
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(tar.stat().st_size)}
            answer = self._call("POST", "/v1/sources", body, headers, UPLOAD_TIMEOUT_S)
        return str(answer["source"])

    def submit(self, request: Mapping[str, object]) -> Document:
        """Submits a run (coterie.run/1); the keys are those of `SubmitBody` in coterie.control.schemas."""
        return self._post("/v1/workflows", request)

    def cancel(self, prefix: str, reason: str) -> Document:
        """Asks for the end of a run (coterie.run/1)."""
        return self._post(f"/v1/workflows/{_segment(prefix)}/cancel", {"reason": reason})

    def invite(self, request: Mapping[str, object]) -> Document:
        """A token for newcomers (coterie.invite/1); the keys are those of `InviteBody` in coterie.control.schemas."""
        return self._post("/v1/invites", request)

    def verify(self) -> Document:
        """Rebuilds derived state from the stored events and compares (coterie.verify/1)."""
        return self._post("/v1/store/verify", {}, VERIFY_TIMEOUT_S)

    def stop(self) -> Document:
        """Asks the daemon to exit cleanly (coterie.stopping/1)."""
        return self._post("/v1/stop", {})

    def events(self, run: str | None = None) -> Generator[tuple[str, Document]]:
        """What changes, as (event, document), without end; with `run` its present state comes first.

        Raises StreamEnded when the daemon goes away.
        """
        query = "" if run is None else f"?{urlencode({'run': run})}"
        with self._open("GET", f"/v1/events{query}", timeout_s=STREAM_TIMEOUT_S) as response:
            yield from _server_sent_events(response)
        raise StreamEnded("the daemon has stopped", f"see whether it still runs: coterie --socket {self.path} status")

    def log(self, run: str, job: str, attempt: int | None, follow: bool, offset: int = 0) -> Generator[bytes]:
        """A job's output in chunks, with `follow` until it ends; a silent stretch reconnects where it was."""
        target = f"/v1/workflows/{_segment(run)}/logs/{quote(job, safe='')}"
        while True:
            query: dict[str, object] = {"offset": offset, "follow": "true" if follow else "false"}
            if attempt is not None:
                query["attempt"] = attempt
            try:
                with self._open("GET", f"{target}?{urlencode(query)}", timeout_s=STREAM_TIMEOUT_S) as response:
                    for chunk in _chunks(response):
                        offset += len(chunk)
                        yield chunk
                    return
            except TimeoutError:
                if not follow:
                    raise StreamEnded("the daemon sent no more of the log", "try again in a moment") from None

    def _post(self, target: str, document: Mapping[str, object], timeout_s: float = REQUEST_TIMEOUT_S) -> Document:
        body = json.dumps(document).encode()
        return self._call("POST", target, body, {"Content-Type": "application/json"}, timeout_s)

    def _call(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Document:
        try:
            with self._open(method, target, body, headers or {}, timeout_s) as response:
                return _document(response)
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
    ) -> Generator[http.client.HTTPResponse]:
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


def find_client(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> Client:
    """The client of the daemon at `explicit`, else COTERIE_SOCKET, else the user's or the system's service."""
    tried = client_sockets(explicit, environ)
    path = next((path for path in tried if path.exists()), tried[0])
    return Client(path, tried)


def _exchange(
    connection: _UnixConnection, method: str, target: str, body: Any, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    try:
        connection.request(method, target, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        # The daemon refuses a body that is too large before it has read it all: its answer says why.
        return connection.getresponse()
    return connection.getresponse()


def _not_running(tried: tuple[Path, ...], error: OSError) -> UserError:
    where = " and ".join(str(path) for path in tried)
    if isinstance(error, PermissionError):
        hint = "run the command as the user of the daemon, or as root"
        return DaemonNotRunning(f"no permission to speak to the daemon on {where}", hint)
    return DaemonNotRunning(
        f"no daemon answers on {where}", "start it with `coterie up`, or name its socket with --socket PATH"
    )


def _document(response: http.client.HTTPResponse) -> Document:
    raw = response.read(ANSWER_BYTES_MAX)
    if response.length:  # fewer bytes than announced, or more than is sane
        raise http.client.IncompleteRead(raw, response.length)
    try:
        value: object = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return {"detail": f"what answers on the socket is no Coterie daemon (HTTP {response.status})", "exit_code": 69}
    return value  # pyright: ignore[reportUnknownVariableType]  # json.loads makes string keys


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read1(CHUNK_BYTES):  # raises IncompleteRead where the stream breaks off
        yield chunk


def _server_sent_events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Document]]:
    event, data = "message", ""
    while raw := response.readline():
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ")
        elif not line and data:
            yield event, json.loads(data)
            event, data = "message", ""


def _segment(text: str) -> str:
    return quote(text, safe="")
