"""The control socket, spoken to over a real Unix socket."""

import json
import os
import socket
import stat
from collections.abc import Generator, MutableMapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from control_double import OTHER, PEER, RUN, RUN_2, DaemonDouble, job, run, served
from coterie.control import guard, server, streams
from coterie.control.client import Client, Refused, StreamEnded

TIMEOUT_S = 10.0


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Generator[list[MutableMapping[str, object]]]:
    """What the server logs, kept from the terminal."""
    caplog.set_level("CRITICAL")
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def double() -> DaemonDouble:
    return DaemonDouble()


@pytest.fixture
def path(double: DaemonDouble, tmp_path: Path) -> Generator[Path]:
    with served(double, tmp_path) as path:
        yield path


@pytest.fixture
def client(path: Path) -> Client:
    return Client(path)


def exchange(path: Path, request: bytes) -> bytes:
    """What comes back for these bytes, until the daemon closes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def ask(path: Path, method: str, target: str, body: bytes = b"", *headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *headers]
    head, _, content = exchange(path, "\r\n".join(lines).encode() + b"\r\n\r\n" + body).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}, content


def test_the_socket_is_private_and_gone_afterwards(double: DaemonDouble, tmp_path: Path) -> None:
    with served(double, tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_every_view_names_its_schema(client: Client) -> None:
    documents = [client.status(), client.members(), client.clock(), client.runs(5), client.run(RUN), client.health()]
    names = [document["schema"] for document in documents]
    assert names == [f"coterie.{name}/1" for name in ("status", "members", "clock", "runs", "run", "health")]
    assert documents[0]["peer"] == PEER
    assert [member["peer"] for member in documents[1]["members"]] == [PEER, OTHER]
    assert documents[2]["frontier"] == {PEER: [7, "bafyreihead"]}
    assert documents[3]["runs"][0]["jobs"][0]["id"] == "build"


def test_actions_reach_the_daemon(client: Client, double: DaemonDouble) -> None:
    assert client.cancel("abc", "why not")["status"] == "cancelled"
    assert double.cancelled == [(RUN, "why not")]
    assert client.invite({"roles": ["work"], "uses": 3, "valid_s": 60.0})["token"] == "coterie-token"
    assert double.invited == [(("work",), (), 3, 60.0)]
    assert client.verify()["problems"] == []
    assert client.stop() == {"schema": "coterie.stopping/1", "pid": os.getpid()}
    client.health()
    assert double.stopped == 1


def test_a_submission_brings_its_source_tree_and_leaves_no_copy(
    client: Client, double: DaemonDouble, tmp_path: Path
) -> None:
    tar = tmp_path / "tree.tar"
    tar.write_bytes(os.urandom(300_000))
    name = client.upload(tar)
    made = client.submit({"file": "ci.yml", "text": "on: push", "source": name, "inputs": {"a": "b"}, "priority": 1})
    assert made["run"] == RUN
    assert double.sources == [tar.read_bytes()]
    assert (double.submitted[0].inputs, double.submitted[0].priority) == ({"a": "b"}, 1.0)
    assert list((tmp_path / "incoming").iterdir()) == []
    with pytest.raises(Refused, match="no uploaded source"):
        client.submit({"file": "ci.yml", "text": "on: push", "source": name})


def test_a_source_tree_that_is_too_large_is_refused_and_removed(double: DaemonDouble, tmp_path: Path) -> None:
    with served(double, tmp_path, source_bytes_max=100_000) as path:
        tar = tmp_path / "tree.tar"
        tar.write_bytes(bytes(5_000_000))
        with pytest.raises(Refused, match="more than 100000 bytes") as refused:
            Client(path).upload(tar)
        assert refused.value.problem["status"] == 413
        assert Client(path).health()["status"] == "ok"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_errors_are_problem_documents(path: Path, double: DaemonDouble) -> None:
    double.held[RUN_2] = run(RUN_2)
    double.admin = False
    for method, target, body, status, code, exit_code in (
        ("GET", "/v1/workflows/zz", b"", 404, "not-found", 5),
        ("GET", "/v1/workflows/abc", b"", 404, "not-found", 5),
        ("POST", "/v1/invites", b"{}", 403, "not-allowed", 4),
        ("GET", "/v1/workflows?limit=0", b"", 422, "bad-request", 2),
        ("POST", "/v1/invites", b'{"uses": 0}', 422, "bad-request", 2),
        ("POST", "/v1/invites", b'{"unknown": 0}', 422, "bad-request", 2),
        ("POST", "/v1/workflows", b"{", 422, "bad-request", 2),
        ("GET", "/nowhere", b"", 404, "bad-request", 2),
        ("DELETE", "/v1/status", b"", 405, "bad-request", 2),
        ("PUT", "/v1/sources", b"x" * 100_000, 405, "bad-request", 2),
    ):
        got, headers, content = ask(path, method, target, body, "Content-Type: application/json")
        problem = json.loads(content)
        assert (got, headers["content-type"]) == (status, "application/problem+json"), target
        assert (problem["status"], problem["code"], problem["exit_code"]) == (status, code, exit_code), target
        assert problem["schema"] == "coterie.problem/1"
        assert problem["type"] == f"urn:coterie:problem:{code}"
        assert problem["title"]
        assert problem["detail"]


def test_our_own_bug_is_logged_in_full_and_told_without_secrets(
    client: Client, double: DaemonDouble, logged: list[MutableMapping[str, object]]
) -> None:
    double.broken = True
    with pytest.raises(Refused) as refused:
        client.status()
    assert refused.value.problem["status"] == 500
    assert refused.value.exit_code == 70
    assert "on purpose" not in json.dumps(refused.value.problem)
    assert [(entry["event"], str(entry["exc_info"])) for entry in logged] == [("request failed", "a bug, on purpose")]
    assert client.health()["status"] == "ok"


def test_openapi_describes_the_routes(path: Path) -> None:
    _, _, content = ask(path, "GET", "/v1/openapi.json")
    document = json.loads(content)
    assert {"/v1/status", "/v1/events", "/v1/workflows/{run}/logs/{job}", "/metrics"} <= set(document["paths"])
    properties = document["components"]["schemas"]["Run"]["properties"]
    assert properties["schema"]["const"] == "coterie.run/1"


def test_metrics_are_prometheus_text(path: Path) -> None:
    status, headers, content = ask(path, "GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert b"# HELP" in content


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00" * 10,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\n" + b"X-Long: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nConnection: upgrade\r\n\r\n\xff",
        b"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    ],
)
def test_garbage_costs_the_connection_and_no_more(path: Path, client: Client, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert client.health()["status"] == "ok"


def test_a_body_that_is_too_large_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_BYTES_MAX", 1000)
    status, _, content = ask(path, "POST", "/v1/workflows", b" " * 5000)
    assert (status, json.loads(content)["code"]) == (413, "bad-request")


def test_a_body_that_never_ends_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.05)
    request = b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{"
    assert b"408" in exchange(path, request).split(b"\r\n")[0]


def test_an_idle_connection_is_closed(double: DaemonDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT_S", 0.05)
    with served(double, tmp_path) as path:
        assert exchange(path, b"GET /v1/sta") == b""


def test_more_connections_than_allowed_are_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 1)
    with socket.socket(socket.AF_UNIX) as first:
        first.settimeout(TIMEOUT_S)
        first.connect(str(path))
        first.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        with socket.socket(socket.AF_UNIX) as second:
            second.settimeout(TIMEOUT_S)
            second.connect(str(path))
            assert second.recv(100) == b""


def test_a_client_that_stops_reading_does_not_hold_up_the_exit(double: DaemonDouble, tmp_path: Path) -> None:
    double.texts["big"] = bytes(8_000_000)
    with served(double, tmp_path) as path:
        stuck = socket.socket(socket.AF_UNIX)
        stuck.settimeout(TIMEOUT_S)
        stuck.connect(str(path))
        stuck.sendall(f"GET /v1/workflows/{RUN}/logs/big HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert stuck.recv(10)
        Client(path).health()
    stuck.close()


def test_a_client_that_stops_reading_is_dropped(
    double: DaemonDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_TIMEOUT_S", 0.05)
    double.texts["big"] = bytes(8_000_000)
    with served(double, tmp_path) as path:
        chunks = Client(path).log(RUN, "big", None, False)
        next(chunks)
        while double.reading_logs:  # nothing is read meanwhile
            Client(path).health()
        with pytest.raises(StreamEnded):
            b"".join(chunks)


def test_events_begin_with_the_present_and_go_on(client: Client, double: DaemonDouble) -> None:
    events = client.events()
    assert next(events) == ("coterie", client.status())
    double.put(run(status="running"))
    name, document = next(events)
    assert (name, document["run"], document["status"]) == ("run", RUN, "running")
    double.tell(None)
    assert next(events)[0] == "coterie"
    events.close()


def test_events_of_one_run(client: Client, double: DaemonDouble) -> None:
    events = client.events("abc")
    assert next(events)[1]["status"] == "success"
    double.put(run(RUN_2, "running"))
    double.tell(None)
    double.put(run(RUN, "failure"))
    assert next(events)[1]["status"] == "failure"
    with pytest.raises(Refused, match="no run begins"):
        next(client.events("zz"))


def test_a_stream_that_the_daemon_ends_is_told(double: DaemonDouble, tmp_path: Path) -> None:
    with served(double, tmp_path) as path:
        events = Client(path).events()
        next(events)
    with pytest.raises(StreamEnded):
        next(events)


def test_a_heartbeat_when_nothing_happens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coterie.control import events

    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = b""
        while seen.count(b": still here") < 2:
            seen += connection.recv(4096)
    assert b"content-type: text/event-stream" in seen


def test_who_leaves_an_event_stream_is_forgotten(client: Client, double: DaemonDouble) -> None:
    events = client.events()
    next(events)
    assert double.listeners == 1
    events.close()
    while double.listeners:  # the daemon notices in its own time
        client.health()


def test_logs_from_an_offset(client: Client) -> None:
    assert b"".join(client.log(RUN, "build", None, False)).endswith(b"hello\n")
    assert b"".join(client.log(RUN, "build", None, False, offset=25)) == b"hello\n"
    with pytest.raises(Refused, match="no job"):
        list(client.log(RUN, "other", None, False))


def test_names_of_jobs_may_hold_anything(client: Client, double: DaemonDouble) -> None:
    name = "test (a/b, 100%, ünï?&#)"
    double.texts[name] = b"found\n"
    assert list(client.log(RUN, name, None, False)) == [b"found\n"]


def test_logs_are_followed_to_their_end(client: Client, double: DaemonDouble) -> None:
    chunks = client.log(RUN, "build", None, True)
    assert next(chunks).endswith(b"hello\n")
    double.grow_log("build", b"more\n")
    assert next(chunks) == b"more\n"
    double.grow_log("build", b"last\n", ended=True)
    assert list(chunks) == [b"last\n"]


def test_a_log_whose_peer_goes_away_breaks_off(client: Client, double: DaemonDouble) -> None:
    double.logs_fail_after = 0
    with pytest.raises(Refused, match="can't be reached") as refused:
        list(client.log(RUN, "build", None, True))
    assert (refused.value.exit_code, refused.value.problem["status"]) == (75, 503)
    double.logs_fail_after = 1
    with pytest.raises(StreamEnded):
        list(client.log(RUN, "build", None, True))


def test_an_empty_log_is_an_empty_answer(path: Path, double: DaemonDouble) -> None:
    double.texts["silent"] = b""
    status, headers, _ = ask(path, "GET", f"/v1/workflows/{RUN}/logs/silent")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")


def test_who_leaves_a_followed_log_frees_it(client: Client, double: DaemonDouble) -> None:
    chunks = client.log(RUN, "build", None, True)
    next(chunks)
    chunks.close()
    while double.reading_logs:
        client.health()


def test_a_run_with_many_jobs_passes_whole(client: Client, double: DaemonDouble) -> None:
    double.held[RUN] = run(jobs=tuple(job(f"test ({number})") for number in range(512)))
    assert len(client.run(RUN)["jobs"]) == 512


def test_the_stream_answers_carry_no_length() -> None:
    response = streams.StreamResponse(lambda: DaemonDouble().logs(RUN, "x", None, 0, False), "text/plain")
    assert "content-length" not in response.headers
