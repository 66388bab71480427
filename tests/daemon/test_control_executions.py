"""Executions over the control socket: every route, over a real Unix socket."""

import getpass
import json
import os
import socket
from collections.abc import Callable, Generator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from control_double import RUN, DaemonDouble
from coterie.control import server
from coterie.control.client import Client, Refused
from coterie.control.execution_quick import body_of_submission, missing_bytes
from coterie.executions import views
from coterie.source_tree import pack_source
from executions_house import document, served_executions, shell, step

TIMEOUT_S = 10.0
JSON = "Content-Type: application/json"


@pytest.fixture
def path(tmp_path: Path) -> Generator[Path]:
    with served_executions(tmp_path) as path:
        yield path


@pytest.fixture
def client(path: Path) -> Client:
    return Client(path)


def ended(client: Client, id_: str) -> dict[str, Any]:
    """The execution, once it is over."""
    last: dict[str, Any] = {}
    for event, told in client.execution_events(id_, TIMEOUT_S):
        last = told if event == "execution" else last
    return last


def until(client: Client, id_: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The execution, once it is as it should be."""
    for event, told in client.execution_events(id_, TIMEOUT_S):
        if event == "execution" and holds(told):
            return told
    pytest.fail("it ended before")


def execute(client: Client, *steps: dict[str, Any], **head: Any) -> dict[str, Any]:
    return client.execute({"document": document(*steps, **head)})


def exchange(connection: socket.socket, *headers: str, body: bytes, line: str = "POST /v1/executions HTTP/1.1") -> Any:
    """Status and document of one request on a connection that is kept."""
    lines = [line, "Host: x", JSON, f"Content-Length: {len(body)}", *headers]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    answer = b""
    while True:
        answer += connection.recv(65536)
        head, end, content = answer.partition(b"\r\n\r\n")
        lengths = [each for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:")]
        if end and len(content) == int(lengths[0].split(b":")[1]):
            return int(head.split()[1]), json.loads(content)


@pytest.fixture
def connection(path: Path) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        yield connection


def test_an_execution_from_its_submission_to_its_results(client: Client) -> None:
    begun = execute(client, step("a"), shell("b", "echo hello; echo ${{ steps.a.result }}", "a"), name="A flow")
    assert (begun["schema"], begun["status"], begun["name"]) == ("coterie.execution/1", "running", "A flow")
    assert begun["submitter"] == f"{os.getuid()}:{getpass.getuser()}"
    over = ended(client, begun["id"])
    assert (over["status"], over["counts"]) == ("completed", {"completed": 2})
    assert client.executions(10) == client.executions(10, "flow") == [over]
    assert client.executions(10, "other") == []
    assert client.execution("@last") == client.execution("flow") == client.execution(over["id"][:12]) == over
    steps = list(client.all_steps(over["id"]))
    assert [(each["id"], each["state"], each["needs"]) for each in steps] == [
        ("a", "completed", []),
        ("b", "completed", ["a"]),
    ]
    assert client.result("flow", "b") == "hello\ntrue"
    lines = b"".join(client.step_log("flow", "b", None, follow=True)).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["hello", "true"]
    assert b"".join(client.step_log("flow", "b", 1, False, offset=len(lines[0]) + 1)).decode() == lines[1] + "\n"


def test_what_happens_is_streamed(client: Client) -> None:
    begun = execute(client, step("w", type="wait", config={"signal": "go"}), step("b", "w"))
    events: list[tuple[str, str]] = []
    for event, told in client.execution_events(begun["id"], TIMEOUT_S):
        events.append((event, told["status" if event == "execution" else "state"]))
        if len(events) == 1:
            client.command(begun["id"], "signal", {"name": "go"})
    assert events[0] == ("execution", "running")
    assert events[-1] == ("execution", "completed")
    assert ("step", "completed") in events


def test_children_of_maps_are_steps_too(client: Client) -> None:
    child = {"type": "process", "config": {"expression": "item"}}
    begun = execute(client, step("m", type="map", config={"items": [5, 6, 7], "step": child}))
    ended(client, begun["id"])
    page = client.steps(begun["id"], 1, 2)
    assert ([each["id"] for each in page["steps"]], page["next"]) == (["m[0]", "m[1]"], 3)
    assert client.result(begun["id"], "m[2]") == 7
    assert client.result(begun["id"], "m") == [5, 6, 7]


def test_every_command(client: Client, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    held = execute(
        client, step("w", type="wait", config={"signal": "go"}), shell("b", f"test -e {flag}", "w"), step("c", "b")
    )
    id_ = held["id"]
    assert client.command(id_, "pause")["status"] == "paused"
    assert client.command(id_, "resume")["status"] == "running"
    client.command(id_, "signal", {"name": "go", "data": 1})
    assert ended(client, id_)["status"] == "failed"
    assert client.execution("@last-failed")["id"] == id_
    again = client.command(id_, "rerun", {"failed": True})
    assert (again["origin"], again["id"] != id_) == (id_, True)
    assert ended(client, again["id"])["status"] == "failed"
    flag.touch()
    assert client.command(id_, "retry")["id"] == id_
    assert ended(client, id_)["status"] == "completed"
    form = {"fields": [{"name": "ok", "type": "boolean", "required": True}]}
    asking = execute(client, step("q", type="input", config=form), shell("s", "sleep 60"), step("z", "s"))["id"]
    seen = until(client, asking, lambda told: bool(told["asks"]))
    assert seen["asks"][0]["step"] == "q"
    with pytest.raises(Refused, match="does not fit") as refused:
        client.command(asking, "answer", {"step": "q", "value": {"ok": "maybe"}})
    assert refused.value.exit_code == 65
    client.command(asking, "answer", {"step": "q", "value": {"ok": True}})
    client.command(asking, "skip", {"step": "z", "reason": "late"})
    over = client.command(asking, "cancel", {"reason": "enough"})
    assert (over["status"], over["reason"]) == ("cancelled", "enough")


def test_explanations_metrics_and_pictures(client: Client) -> None:
    begun = execute(client, step("a"), shell("b", "exit 3", "a"), step("c", "b"))
    ended(client, begun["id"])
    explained = {each["step"]: each for each in client.explain("flow")["steps"]}
    assert set(explained) == {"b", "c"}
    assert explained["b"]["history"][0]["class"] == "failure"
    assert explained["b"]["history"][0]["at"].endswith("Z")
    assert [each["step"] for each in client.explain("flow", "a")["steps"]] == ["a"]
    assert client.execution_metrics("flow")["critical_path"][-1]["step"] == "b"
    assert [bar["step"] for bar in client.timeline("flow")["bars"]] == ["a", "b"]
    assert "failed" in client.timeline_text("flow", "text")
    assert client.timeline_text("flow", "svg").startswith("<svg")


def test_plans(client: Client) -> None:
    begun = execute(client, step("a"), step("b", "a"))
    for name in ("flow", begun["id"], "@last"):
        assert client.execution_plan(name)["batches"] == [["a"], ["b"]]
    assert client.execution_plan(RUN)["batches"] == [["build"]]
    sound = client._post("/v1/workflows/flow/validate-dependencies", {})  # pyright: ignore[reportPrivateUsage]
    assert (sound["valid"], sound["batches"]) == (True, [["a"], ["b"]])
    circle = {"document": document(step("a", "b"), step("b", "a"))}
    told = client._post("/v1/workflows/any/validate-dependencies", circle)  # pyright: ignore[reportPrivateUsage]
    assert (told["valid"], told["cycles"]) == (False, [["a", "b", "a"]])
    of_run = client._post(f"/v1/workflows/{RUN}/validate-dependencies", {})  # pyright: ignore[reportPrivateUsage]
    assert of_run["batches"] == [["build"]]
    with pytest.raises(Refused) as refused:
        client.execution_plan("nothing")
    assert refused.value.problem["status"] == 404


def test_a_source_tree_comes_along(client: Client, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "greeting").write_text("hello")
    pack_source(tree, tmp_path / "tree.tar")
    name = client.upload(tmp_path / "tree.tar")
    begun = client.execute({"document": document(shell("a", "cat greeting")), "source": name})
    assert ended(client, begun["id"])["status"] == "completed"
    assert client.result(begun["id"], "a") == "hello"
    assert list((tmp_path / "incoming").iterdir()) == []
    with pytest.raises(Refused, match="no uploaded source"):
        client.execute({"document": document(step("a")), "source": name})


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("GET", "/v1/executions/ex-nothing", None, 404, "not-found"),
        ("GET", "/v1/executions/x", None, 400, "usage"),
        ("GET", "/v1/executions?limit=0", None, 422, "bad-request"),
        ("POST", "/v1/executions", {"document": {}}, 422, "invalid-workflow"),
        ("POST", "/v1/executions", {"document": document(step("a")), "surprise": 1}, 422, "bad-request"),
        ("POST", "/v1/executions", {"document": []}, 422, "bad-request"),
        ("POST", "/v1/executions/ex-nothing/cancel", {"reason": ""}, 404, "not-found"),
        ("POST", "/v1/executions/ex-nothing/skip", {}, 422, "bad-request"),
        ("GET", "/v1/executions/flow/steps/w/result", None, 404, "no-result"),
        ("GET", "/v1/executions/flow/steps/x/result", None, 404, "not-found"),
        ("GET", "/v1/executions/flow/logs/x", None, 404, "not-found"),
        ("GET", "/v1/executions/flow/timeline?format=png", None, 422, "bad-request"),
        ("POST", "/v1/executions/flow/retry", {}, 400, "not-possible"),
        ("POST", "/v1/executions/flow/answer", {"step": "w", "value": 1}, 400, "not-asked"),
        ("DELETE", "/v1/executions", None, 405, "bad-request"),
    ],
)
def test_errors_are_problem_documents(
    client: Client, connection: socket.socket, method: str, target: str, body: Any, status: int, code: str
) -> None:
    execute(client, step("w", type="wait", config={"signal": "go"}))
    raw = b"" if body is None else json.dumps(body).encode()
    got, problem = exchange(connection, body=raw, line=f"{method} {target} HTTP/1.1")
    assert (got, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["detail"]


def test_a_kept_connection_submits_and_then_asks_anything(connection: socket.socket) -> None:
    body = json.dumps({"document": document(step("a")), "inputs": {"x": 1}}).encode()
    quick = [exchange(connection, body=body) for _ in range(3)]
    wrong = exchange(connection, body=b"{}")
    status, listed = exchange(connection, body=b"", line="GET /v1/executions HTTP/1.1")
    general = exchange(connection, "X-More: 1", body=body)
    assert [each[0] for each in quick] == [201] * 3
    assert (wrong[0], wrong[1]["code"]) == (422, "bad-request")
    assert wrong[1]["detail"] == "body.document: Field required"
    assert exchange(connection, body=b"{}") == wrong
    assert (status, len(listed["executions"])) == (200, 3)
    assert general[0] == 201
    assert general[1].keys() == quick[0][1].keys()


@pytest.mark.parametrize("told", [2, 70_000])
def test_a_body_that_comes_after_its_head_is_waited_for(told: int) -> None:
    head = b"POST /v1/executions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % told
    assert missing_bytes(head) == (2 if told == 2 else 0)  # what is large goes to hypercorn
    assert missing_bytes(head + b"{") == (1 if told == 2 else 0)
    assert missing_bytes(head[:-2]) == 0
    assert body_of_submission(head + b"{") is None


def test_a_large_document_comes_in_pieces(client: Client) -> None:
    begun = execute(client, *(step(f"s{number}") for number in range(5000)))
    assert sum(begun["counts"].values()) == 5000
    assert client.command(begun["id"], "cancel", {"reason": ""})["status"] == "cancelled"


def test_silence_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT_S", 0.05)
    with served_executions(tmp_path) as path, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        assert connection.recv(1) == b""


PLAIN = b"POST /v1/executions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (PLAIN, b"{}"),
        (PLAIN.replace(b"Host", b"connection:  Keep-Alive\r\nHOST"), b"{}"),
        (PLAIN[:-1], None),
        (PLAIN + b"G", None),
        (PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), None),
        (PLAIN.replace(b"/v1/executions", b"/v1/executions/x/cancel"), None),
        (PLAIN.replace(b"Host: x\r\n", b""), None),
        (PLAIN.replace(b"Host", b"Host: y\r\nHost"), None),
        (PLAIN.replace(b"Host", b"Content-Length: 2\r\nHost"), None),
        (PLAIN.replace(b": 2", b": +2"), None),
        (PLAIN.replace(b": 2", b": 0000002"), None),
        (PLAIN.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"), None),
        (PLAIN.replace(b"Host", b"Expect: 100-continue\r\nHost"), None),
        (PLAIN.replace(b"Host", b"connection: close\r\nHost"), None),
        (PLAIN.replace(b"Host: x", b"Host: x\r\n folded"), None),
        (PLAIN.replace(b"Host: x", b"Host : x"), None),
        (PLAIN.replace(b"Host: x", b"Host: x\nEvil: 1"), None),
        (b"", None),
    ],
)
def test_only_plain_submissions_are_answered_quickly(request_bytes: bytes, body: bytes | None) -> None:
    assert body_of_submission(request_bytes) == body


def test_openapi_describes_the_routes(connection: socket.socket) -> None:
    status, described = exchange(connection, body=b"", line="GET /v1/openapi.json HTTP/1.1")
    assert status == 200
    verbs = ("cancel", "pause", "resume", "retry", "rerun", "skip", "signal", "answer")
    assert {f"/v1/executions/{{execution}}/{verb}" for verb in verbs} <= set(described["paths"])
    submit = described["paths"]["/v1/executions"]["post"]
    taken = submit["requestBody"]["content"]["application/json"]["schema"]
    assert set(taken["properties"]) == {"document", "inputs", "key", "priority", "source"}
    assert "ExecutionView" in json.dumps(submit["responses"]["201"])
    assert described["components"]["schemas"]["ExecutionView"]["properties"]["schema"]["const"] == "coterie.execution/1"


def test_every_document_names_its_schema() -> None:
    made = [each for each in vars(views).values() if isinstance(each, type) and is_dataclass(each)]
    named = [schema for each in made for field in fields(each) if (schema := field.default) and field.name == "schema"]
    assert len(named) == len(set(named)) == 8
    assert all(str(schema).startswith("coterie.") for schema in named)


def test_runs_are_served_as_before(tmp_path: Path) -> None:
    with served_executions(tmp_path, DaemonDouble()) as path:
        assert Client(path).run(RUN)["run"] == RUN
        assert Client(path).runs(5)["runs"][0]["run"] == RUN
