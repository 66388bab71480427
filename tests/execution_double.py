"""A control socket that is made of tables: executions, their steps, logs and events, and runs of the coterie."""

import json
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Document = dict[str, Any]

EX = "ex-01kajq000abcdefghjkmn"
EX_2 = "ex-01kajq111abcdefghjkmn"
RUN = "abcdefghijklmnopqrstuvwxyz"
PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
OTHER = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"
T0 = "2026-11-21T12:00:00.000Z"
T1 = "2026-11-21T12:00:03.250Z"
ENDED = ("completed", "failed", "cancelled")
FORM = {
    "title": "Release?",
    "type": "object",
    "properties": {
        "ok": {"title": "Go ahead", "type": "boolean"},
        "count": {"title": "count", "type": "integer", "minimum": 1, "default": 2},
        "where": {"title": "where", "enum": ["test", "prod"]},
    },
    "required": ["ok"],
    "additionalProperties": False,
}


def execution(status: str = "completed", id_: str = EX, **changes: Any) -> Document:
    """coterie.execution/1."""
    document: Document = {
        "schema": "coterie.execution/1",
        "id": id_,
        "workflow": "etl",
        "name": "ETL pipeline",
        "status": status,
        "counts": {"completed": 2},
        "running": [],
        "created_at": T0,
        "started_at": T0,
        "ended_at": T1 if status in ENDED else None,
        "reason": "",
        "inputs": {},
        "outputs": {},
        "plan_hash": "f" * 64,
        "origin": None,
        "key": None,
        "submitter": "",
        "priority": 3.0,
        "asks": [],
        "code_changed": [],
    }
    return {**document, **changes}


def step(id_: str, position: int, state: str = "completed", **changes: Any) -> Document:
    """One of an execution's steps."""
    begun = state not in ("pending", "ready", "skipped")
    document: Document = {
        "id": id_,
        "position": position,
        "name": "",
        "type": "process",
        "state": state,
        "attempt": int(begun),
        "ready_at": T0,
        "started_at": T0 if begun else None,
        "ended_at": T1 if begun and state != "running" else None,
        "due_at": None,
        "reason": "",
        "needs": [],
    }
    return {**document, **changes}


def job(id_: str, status: str = "success", **changes: Any) -> Document:
    """One job of a run of the coterie."""
    document: Document = {
        "id": id_,
        "job": id_,
        "status": status,
        "peer": PEER if status in ("running", "success", "failure") else None,
        "attempt": 1 if status in ("running", "success", "failure") else 0,
        "started_at": T0 if status in ("running", "success", "failure") else None,
        "ended_at": T1 if status in ("success", "failure", "cancelled") else None,
        "needs": [],
        "labels": ["ubuntu-latest"],
        "step": None,
        "reason": "",
        "log": None,
        "outputs": {},
    }
    return {**document, **changes}


def run(jobs: list[Document], status: str = "running") -> Document:
    """coterie.run/1."""
    return {
        "schema": "coterie.run/1",
        "run": RUN,
        "status": status,
        "workflow": "ci.yml",
        "event": "push",
        "submitter": PEER,
        "priority": 3.0,
        "placement": "job",
        "submitted_at": T1,
        "ended_at": None,
        "jobs": jobs,
    }


def member(name: str, peer: str, **changes: Any) -> Document:
    """One member of the coterie."""
    document: Document = {
        "peer": peer,
        "name": name,
        "roles": ["work"],
        "labels": ["linux"],
        "slots": 2,
        "free": 2,
        "state": "alive",
        "connected": True,
        "seen_s": 1.0,
        "addresses": [],
    }
    return {**document, **changes}


class ExecutionDouble:
    """What the socket answers; `asked` is what it was asked: (method, target, body)."""

    def __init__(self) -> None:
        self.executions: dict[str, Document] = {EX: execution()}
        self.steps: list[Document] = [step("fetch", 0), step("process", 1, needs=["fetch"])]
        self.results: dict[str, Any] = {"fetch": [1, 2], "process": {"sum": 3}}
        self.logs: dict[str, bytes] = {"fetch": b"2026-11-21T12:00:01.000Z hello\n"}
        self.events: list[tuple[str, Document]] | None = None
        self.breaks_off = False
        self.hangs = threading.Event()
        self.hangs.set()
        self.explained: list[Document] = []
        self.metrics: Document = {}
        self.runs: list[Document] = []
        self.members: list[Document] = [member("alpha", PEER, state="self"), member("beta", OTHER)]
        self.asked: list[tuple[str, str, Any]] = []
        self.uploads: list[bytes] = []
        self.page = 1000

    @property
    def commands(self) -> list[tuple[str, Any]]:
        """The commands, without the questions."""
        return [(target, body) for method, target, body in self.asked if method == "POST"]

    def find(self, name: str) -> Document | None:
        """An execution as the daemon finds it."""
        if name.startswith("@"):
            return next(reversed(self.executions.values()), None)
        by_id = [held for id_, held in self.executions.items() if id_.startswith(name) and len(name) >= 4]
        return next(iter([*by_id, *(held for held in self.executions.values() if held["workflow"] == name)]), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: ExecutionDouble

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def address_string(self) -> str:
        return "client"

    def do_GET(self) -> None:
        """Answers questions."""
        target, query = self._target()
        self.double.asked.append(("GET", self.path, None))
        match target:
            case ["v1", "health"]:
                self._json({"schema": "coterie.health/1", "status": "ok"})
            case ["v1", "members"]:
                self._json({"schema": "coterie.members/1", "members": self.double.members})
            case ["v1", "workflows"]:
                self._json({"schema": "coterie.runs/1", "runs": self.double.runs})
            case ["v1", "workflows", name]:
                found = [each for each in self.double.runs if each["run"].startswith(name)]
                self._json(found[0]) if found else self._problem(404, f"no run begins with '{name}'", 5, "not-found")
            case ["v1", "executions"]:
                newest = list(reversed(self.double.executions.values()))[: int(query["limit"])]
                self._json({"schema": "coterie.executions/1", "executions": newest})
            case ["v1", "executions", name, *rest]:
                held = self.double.find(name)
                if held is None:
                    self._problem(404, f"there is no execution {name!r}", 5, "not-found")
                else:
                    self._view(held, rest, query)
            case _:
                self._problem(404, "no such path", 2, "bad-request")

    def _view(self, held: Document, rest: list[str], query: dict[str, str]) -> None:
        double = self.double
        match rest:
            case []:
                self._json(held)
            case ["steps"]:
                start, size = int(query["start"]), min(int(query["limit"]), double.page)
                following = start + size if start + size < len(double.steps) else None
                self._json({"steps": double.steps[start : start + size], "next": following})
            case ["steps", name, "result"] if name in double.results:
                self._json({"step": name, "result": double.results[name]})
            case ["logs", name] if name in double.logs:
                self._body(double.logs[name][int(query["offset"]) :], "text/plain")
            case ["explain"]:
                steps = [each for each in double.explained if query.get("step") in (None, each["step"])]
                self._json({"schema": "coterie.execution-explanation/1", "execution": held["id"], "steps": steps})
            case ["metrics"]:
                self._json(double.metrics)
            case ["timeline"] if query["format"] != "json":
                self._body(f"<{query['format']}>".encode(), "text/plain")
            case ["timeline"]:
                self._json({"schema": "coterie.execution-timeline/1", "bars": []})
            case ["events"]:
                self._stream(held)
            case _:
                self._problem(404, f"nothing at {self.path}", 5, "not-found")

    def do_POST(self) -> None:
        """Takes commands."""
        target, _ = self._target()
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if target == ["v1", "sources"]:
            self.double.uploads.append(raw)
            self._json({"schema": "coterie.source/1", "source": f"tree-{len(self.double.uploads)}", "bytes": len(raw)})
            return
        body = json.loads(raw)
        self.double.asked.append(("POST", self.path, body))
        match target:
            case ["v1", "executions"]:
                self._json(self.double.executions[EX], 201)
            case ["v1", "executions", name, "rerun"]:
                self._json(execution("running", EX_2, origin=name))
            case ["v1", "executions", name, verb]:
                status = {"cancel": "cancelled", "pause": "paused"}.get(verb, "running")
                self._json({**(self.double.find(name) or {}), "status": status, "ended_at": None})
            case ["v1", "workflows", name, "cancel"]:
                self._json({**self.double.runs[0], "status": "cancelled"})
            case _:
                self._problem(404, "no such path", 2, "bad-request")

    def _stream(self, held: Document) -> None:
        self._head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        events = self.double.events
        for event, document in [("execution", held)] if events is None else events:
            self._chunk(f"event: {event}\ndata: {json.dumps(document)}\n\n".encode())
        self.double.hangs.wait(10)
        if self.double.breaks_off:
            self.close_connection = True
        else:
            self._chunk(b"")

    def _target(self) -> tuple[list[str], dict[str, str]]:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        return [unquote(part) for part in split.path.strip("/").split("/")], query

    def _json(self, document: Document, status: int = 200) -> None:
        self._body(json.dumps(document).encode(), "application/json", status)

    def _problem(self, status: int, detail: str, exit_code: int, code: str) -> None:
        document = {"schema": "coterie.problem/1", "status": status, "code": code, "detail": detail, "hint": ""}
        self._json({**document, "exit_code": exit_code}, status)

    def _body(self, body: bytes, kind: str, status: int = 200) -> None:
        self._head(status, kind, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may leave in the middle of an answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def executions_served(double: ExecutionDouble, directory: Path) -> Generator[Path]:
    """The double behind a Unix socket; gives its path."""
    path = directory / "control.sock"
    handler: Callable[..., _Handler] = type("Handler", (_Handler,), {"double": double})
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield path
        finally:
            double.hangs.set()
            server.shutdown()
            thread.join(10)
