"""`coterie.Client`: what it sends, and what its handles tell."""

import importlib
import subprocess
import sys
import tarfile
import threading
from collections.abc import Generator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coterie import Client, Execution, Result, Task, Workflow, WorkflowFailed, task, workflow
from coterie.client_request import needs_source, prepare, root_of
from coterie.control.connection import DaemonNotRunning, Refused, StreamEnded
from coterie.engine.model import StepSpec, WorkflowSpec
from coterie_protocols.errors import UserError
from execution_double import EX, EX_2, FORM, ExecutionDouble, execution, executions_served, step

MODULE = """
def fetch(day):
    return [day]

def total(numbers):
    return len(numbers)
"""
FILE = """
coterie: 1
id: nightly
steps:
  fetch: {type: process, function: "jobs:fetch", args: [1]}
"""


@pytest.fixture
def double() -> ExecutionDouble:
    return ExecutionDouble()


@pytest.fixture
def client(double: ExecutionDouble, tmp_path: Path) -> Generator[Client]:
    with executions_served(double, tmp_path) as path:
        yield Client(path)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[ModuleType]:
    """A module of functions in a source tree of its own."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "jobs_of_a_test.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield importlib.import_module("jobs_of_a_test")
    del sys.modules["jobs_of_a_test"]


def built(jobs: ModuleType) -> Workflow:
    etl = Workflow("etl")
    etl.add_task(Task("fetch", jobs.fetch, args=[1], compensate=jobs.total))
    etl.add_task(Task("total", jobs.total, dependencies=["fetch"]))
    return etl


def sent(double: ExecutionDouble) -> Any:
    """The one submission."""
    [(target, body)] = double.commands
    assert target == "/v1/executions"
    return body


def names_in(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=BytesIO(tar)) as file:
        return sorted(file.getnames())


# --- submitting ---


def test_a_workflow_is_sent_with_import_paths_and_its_tree(
    client: Client, double: ExecutionDouble, jobs: ModuleType
) -> None:
    run = client.submit(built(jobs), {"day": 1}, key="nightly", priority=2.0)
    assert isinstance(run, Execution)
    assert (run.id, run.workflow, run.status, run.done) == (EX, "etl", "completed", True)
    body = sent(double)
    assert (body["inputs"], body["key"], body["priority"], body["source"]) == ({"day": 1}, "nightly", 2.0, "tree-1")
    steps = body["document"]["steps"]
    assert steps[0]["config"] == {"function": "jobs_of_a_test:fetch", "args": [1]}
    assert steps[0]["compensate"]["config"]["function"] == "jobs_of_a_test:total"
    assert steps[1]["config"] == {"function": "jobs_of_a_test:total"}
    assert "jobs_of_a_test.py" in names_in(double.uploads[0])


def test_a_decorated_workflow_is_sent_with_what_its_maps_run(
    client: Client, double: ExecutionDouble, jobs: ModuleType
) -> None:
    fetch, total = task(jobs.fetch), task(name="sum-up")(jobs.total)

    @workflow
    def etl(days: list[int]) -> Any:
        return total(fetch.map(days))

    client.submit(etl.build([1, 2]), source=False)
    body = sent(double)
    assert "source" not in body
    mapped = body["document"]["steps"][0]
    assert mapped["config"]["step"]["config"]["function"] == "jobs_of_a_test:fetch"
    assert double.uploads == []
    with pytest.raises(UserError, match="with its arguments") as error:
        client.submit(etl)  # type: ignore[call-overload]  # pyright: ignore
    assert "etl.build(...)" in error.value.hint


def test_a_spec_without_files_needs_no_tree(client: Client, double: ExecutionDouble) -> None:
    client.submit(WorkflowSpec("pause", steps=(StepSpec("nap", "wait", config={"seconds": 1}),)))
    assert "source" not in sent(double)


def test_a_file_is_sent_with_the_tree_around_it(client: Client, double: ExecutionDouble, tmp_path: Path) -> None:
    file = tmp_path / "flow" / "nightly.yaml"
    file.parent.mkdir()
    file.write_text(FILE)
    (file.parent / "jobs.py").write_text(MODULE)
    client.submit(str(file))
    assert sent(double)["document"]["id"] == "nightly"
    assert names_in(double.uploads[0]) == ["jobs.py", "nightly.yaml"]


def test_a_tree_can_be_named(client: Client, double: ExecutionDouble, jobs: ModuleType, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.txt").write_text("x")
    client.submit(built(jobs), source=other)
    assert names_in(double.uploads[0]) == ["data.txt"]


def test_what_is_left_out_of_the_tree_is_told(client: Client, jobs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tree" / "away").symlink_to("/etc/hostname")
    with pytest.warns(UserWarning, match="left out of the source tree: away"):
        client.submit(built(jobs))


def test_modules_in_src_and_in_packages_belong_to_the_work_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "shop_of_a_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def here(): ...\n")
    (package / "flows.py").write_text("def fetch(): ...\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "src"), *sys.path])
    flows = importlib.import_module("shop_of_a_test.flows")
    assert root_of([flows.fetch]) == tmp_path / "src"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert root_of([flows.fetch, sys.modules["shop_of_a_test"].here]) == tmp_path
    for name in ("shop_of_a_test", "shop_of_a_test.flows"):
        del sys.modules[name]


def test_a_file_in_a_folder_of_a_work_tree_finds_its_modules(tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "nightly.yaml").write_text(FILE)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert prepare(folder / "nightly.yaml").root == tmp_path
    (folder / "jobs.py").write_text(MODULE)
    assert prepare(folder / "nightly.yaml").root == folder
    (tmp_path / "src" / "jobs").mkdir(parents=True)
    assert prepare(folder / "nightly.yaml").root == tmp_path
    assert prepare(folder / "nightly.yaml", folder).root == folder


def nested() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: 1, "it is a lambda"),
        (nested(), "defined within another function"),
        ("fetch", "the daemon knows no function 'fetch'"),
    ],
)
def test_functions_that_no_other_process_finds(client: Client, function: Any, words: str) -> None:
    etl = Workflow("etl")
    etl.add_task(Task("fetch", function))
    with pytest.raises(UserError, match=words) as error:
        client.submit(etl, source=False)
    assert error.value.hint


def test_functions_from_two_trees(client: Client, jobs: ModuleType) -> None:
    etl = built(jobs)
    etl.add_task(Task("mine", sent))
    with pytest.raises(UserError, match="one source tree goes along"):
        client.submit(etl)


def test_what_the_coterie_cannot_do(client: Client, jobs: ModuleType) -> None:
    with pytest.raises(UserError, match="has a compensation"):
        client.submit(built(jobs), placement="job")
    with pytest.raises(UserError, match="has no key"):
        client.submit(built(jobs), key="once", placement="job")  # type: ignore[call-overload]  # pyright: ignore


def test_what_is_no_workflow(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a int can't be submitted"):
        client.submit(7)  # type: ignore[call-overload]  # pyright: ignore
    with pytest.raises(UserError, match="cannot be read"):
        client.submit(tmp_path / "none.yaml")
    (tmp_path / "ci.yml").write_text("on: push\njobs: {}\n")
    with pytest.raises(UserError):
        client.submit(tmp_path / "ci.yml")


def test_no_daemon_is_told_before_a_tree_is_packed(tmp_path: Path, jobs: ModuleType) -> None:
    with pytest.raises(DaemonNotRunning):
        Client(tmp_path / "none.sock").submit(built(jobs))


@pytest.mark.parametrize(
    ("type_", "config", "needed"),
    [
        ("process", {"function": "a:b"}, True),
        ("process", {"expression": "1"}, False),
        ("shell", {"run": "make"}, True),
        ("http", {"url": "http://x"}, False),
        ("data_validation", {"model": "a:B"}, True),
        ("data_validation", {"schema": {}}, False),
        ("their_own", {}, True),
        ("map", {"step": {"type": "shell", "config": {"run": "x"}}}, True),
        ("map", {"step": {"type": "http", "config": {}}}, False),
        ("workflow", {"document": {"id": "w", "steps": [{"id": "s", "type": "shell"}]}}, True),
        ("workflow", {"id": "w"}, False),
    ],
)
def test_which_steps_look_at_the_source_tree(type_: str, config: dict[str, Any], needed: bool) -> None:
    assert needs_source({"steps": [{"id": "s", "type": type_, "config": config}]}) is needed


def test_results_and_plain_values_stay_what_they_are(jobs: ModuleType) -> None:
    etl = Workflow("etl")
    etl.add_task(Task("a", jobs.fetch, args=[{"function": "x"}]))
    etl.add_task(Task("b", jobs.total, dependencies=["a"], kwargs={"numbers": Result("a")}))
    steps = prepare(etl).document["steps"]
    assert steps[0]["config"]["args"] == [{"function": "x"}]
    assert steps[1]["config"]["kwargs"] == {"numbers": {"$result": "a"}}


# --- handles ---


def test_a_handle_tells_what_was_known_and_asks_again(client: Client, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running", counts={"running": 1}, asks=[{"step": "a", "form": FORM}])
    run = client.execution("@last")
    assert (run.status, run.done, run.counts, run.reason) == ("running", False, {"running": 1}, "")
    assert [ask["step"] for ask in run.asks] == ["a"]
    assert repr(run) == f"<Execution {EX} of etl: running>"
    double.executions[EX] = execution("completed", outputs={"total": 3})
    assert run.status == "running"
    assert run.refresh().status == "completed"
    assert run.outputs == {"total": 3}
    assert [each.id for each in client.executions()] == [EX]


def test_waiting_for_the_end(client: Client, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running")
    run = client.execution(EX)
    double.events = [("execution", execution("running")), ("execution", execution(outputs={"total": 3}))]
    result = run.wait()
    assert (result.ok, result.outputs, result.execution_time) == (True, {"total": 3}, 3.25)
    assert dict(result.results) == {"fetch": [1, 2], "process": {"sum": 3}}
    assert len(result.results) == 2
    with pytest.raises(KeyError):
        result.results["nope"]
    asked = len(double.asked)
    assert run.wait(0).ok
    assert len(double.asked) == asked


def test_what_did_not_complete_is_raised(client: Client, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("failed", counts={"completed": 1, "failed": 1})
    double.steps[1] = step("process", 1, "failed", reason="no such table")
    with pytest.raises(WorkflowFailed, match="process: no such table") as error:
        client.execution(EX).wait()
    assert error.value.result.errors == {"process": "no such table"}


def test_waiting_has_an_end(client: Client, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running")
    double.hangs.clear()
    with pytest.raises(TimeoutError, match=r"is running after 0\.05 s"):
        client.execution(EX).wait(0.05)
    with pytest.raises(TimeoutError):
        client.execution(EX).wait(0)


def test_a_daemon_that_goes_away_while_one_waits(client: Client, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running")
    with pytest.raises(StreamEnded):
        client.execution(EX).wait(5)


def test_steps_results_and_logs(client: Client, double: ExecutionDouble) -> None:
    double.page = 1
    double.logs["fetch"] = b"one\ntwo"
    run = client.execution(EX)
    assert [each["id"] for each in run.steps()] == ["fetch", "process"]
    assert run.result("process") == {"sum": 3}
    with pytest.raises(Refused):
        run.result("nope")
    assert list(run.logs("fetch", follow=True)) == ["one", "two"]
    double.explained = [{"step": "fetch", "state": "failed", "why": "x", "attempt": 1, "history": []}]
    assert run.explain("fetch")[0]["why"] == "x"
    assert run.explain("process") == []
    double.metrics = {"steps": 2}
    assert run.metrics() == {"steps": 2}
    assert [event for event, _ in run.events()] == ["execution"]


def test_every_command_is_sent(client: Client, double: ExecutionDouble) -> None:
    double.executions[EX] = execution("running")
    run = client.execution(EX)
    assert run.pause().status == "paused"
    assert run.status == "paused"
    assert run.resume() is run
    run.retry().retry("fetch").skip("fetch", "by hand").signal("go", {"by": "ada"}).answer("ask", {"ok": True})
    again = run.rerun(step="fetch")
    assert (again.id, again.document["origin"]) == (EX_2, EX)
    run.rerun(failed=True)
    assert run.cancel("wrong").status == "cancelled"
    assert [(target.removeprefix(f"/v1/executions/{EX}/"), body) for target, body in double.commands] == [
        ("pause", {}),
        ("resume", {}),
        ("retry", {}),
        ("retry", {"step": "fetch"}),
        ("skip", {"step": "fetch", "reason": "by hand"}),
        ("signal", {"name": "go", "data": {"by": "ada"}}),
        ("answer", {"step": "ask", "value": {"ok": True}}),
        ("rerun", {"failed": False, "step": "fetch"}),
        ("rerun", {"failed": True}),
        ("cancel", {"reason": "wrong"}),
    ]


def test_one_client_serves_several_threads(client: Client) -> None:
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(client.execution(EX).id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [EX] * 4
