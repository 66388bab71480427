"""A workflow of the engine on three real daemons: its steps go to several peers, and survive the loss of one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from coterie.client import Client
from coterie.client_run import Run, RunFailed
from coterie.engine.files.reader import read_workflow_text
from coterie.engine.spread.reading import outputs_of, results_of
from coterie.founding import found, join
from coterie_protocols.errors import UserError
from real_daemon import Daemon, until

pytestmark = pytest.mark.daemons

RUN_S_MAX = 45.0

ETL = """coterie: 1
name: ETL
inputs:
  count: {type: integer, default: 4}
  folder: {required: true}
steps:
  fetch:
    type: process
    function: flows.etl:fetch
    args: ["${{ inputs.count }}", "${{ inputs.folder }}"]
    retry: {max_attempts: 3, base_delay: 0s}
  size:
    type: conditional
    needs: fetch
    branches:
      - {name: many, if: "steps.fetch.result[1]", then: [square, count]}
      - {name: few, then: [nothing]}
  square:
    type: map
    needs: fetch
    items: ${{ steps.fetch.result }}
    step: {type: process, function: "flows.etl:square"}
  count: {type: shell, needs: fetch, run: 'echo "it is $COTERIE_RESULT_FETCH on $RUNNER_NAME"', result: text}
  nothing: {type: shell, run: exit 1}
  slow: {type: process, function: "flows.etl:slow", needs: count, args: ["${{ inputs.folder }}"]}
  report: {type: process, function: "flows.etl:report", needs: [square, nothing, slow]}
outputs:
  total: ${{ steps.report.result }}
"""

FUNCTIONS = '''
import os
import time
from pathlib import Path
from coterie.engine.context import current_context

def fetch(count, folder):
    mark = Path(folder, "fetched")
    if not mark.exists():
        mark.touch()
        raise ConnectionError("the shop is closed")
    return list(range(count))

def square(number):
    return number * number

def slow(folder):
    """Waits for the file `go`, once it has told who it is."""
    context = current_context()
    with open(Path(folder, "keys"), "a") as keys:
        keys.write(f"{context.idempotency_key} {context.attempt} {os.environ['RUNNER_NAME']}\\n")
    for _ in range(4000):
        if Path(folder, "go").exists():
            return "slept"
        time.sleep(0.01)
    raise TimeoutError("nobody let it go")

def report(square, slow):
    return {"squares": square, "slow": slow}
'''


SPEC = read_workflow_text(ETL, "etl.yml")


class Three:
    """A founder and two who joined it; all of them work."""

    def __init__(self, folder: Path) -> None:
        found(folder / "one", "three")
        self.daemons = [Daemon(folder / "one")]
        self.first.start().ready()
        for name in ("two", "three"):
            token = self.first.client.invite({"roles": ["work", "submit"], "uses": 1, "valid_s": 600.0})["token"]
            join(folder / name, token, name, (), 2)
            self.daemons.append(Daemon(folder / name).start())
        for daemon in self.daemons:
            daemon.ready()
            until(daemon.client.status, lambda it: it["connected"] == 2, 20)

    @property
    def first(self) -> Daemon:
        return self.daemons[0]

    def submit(self, tree: Path, placement: Literal["run", "job"], inputs: dict[str, Any]) -> Run:
        """The file in `tree`, with the functions beside it."""
        return Client(self.first.socket).submit(tree / "etl.yml", inputs, placement=placement, source=tree)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """Three daemons that are gone afterwards."""
    three = Three(tmp_path_factory.mktemp("three"))
    try:
        yield three
    finally:
        for daemon in three.daemons:
            daemon.end()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with the functions in a package."""
    (tmp_path / "tree" / "src" / "flows").mkdir(parents=True)
    (tmp_path / "tree" / "src" / "flows" / "etl.py").write_text(FUNCTIONS)
    (tmp_path / "tree" / "etl.yml").write_text(ETL)
    return tmp_path / "tree"


def keys_in(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "keys").read_text().splitlines()] if (folder / "keys").exists() else []


TOTAL = {"total": {"squares": [0, 1, 4, 9], "slow": "slept"}}


def test_one_peer_carries_out_all_of_it(three: Three, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    submitted = three.submit(tree, "run", {"folder": str(tmp_path)})
    run = submitted.wait(RUN_S_MAX).id
    assert submitted.outputs == TOTAL
    assert list(submitted.peers) == ["workflow"]
    assert any("[slow] completed in" in line for line in submitted.logs("workflow"))
    log = three.first.coterie("workflow", "logs", run, "workflow").stdout
    assert "[slow] completed in" in log
    assert keys_in(tmp_path)[0][:2] == [f"{run}/slow", "1"]


def test_a_failure_is_told_with_its_cause(three: Three, tree: Path, tmp_path: Path) -> None:
    run = three.submit(tree, "job", {"folder": "/nowhere"})
    with pytest.raises(RunFailed, match="fetch"):
        run.wait(RUN_S_MAX)
    assert "FileNotFoundError" in run.errors["fetch"] or "nowhere" in run.errors["fetch"]
    assert run.document["status"] == "failure"


def test_what_the_coterie_cannot_do_is_refused_with_all_reasons(three: Three, tmp_path: Path) -> None:
    file = tmp_path / "asks.yml"
    file.write_text("coterie: 1\nsteps:\n  a: {type: input, fields: [{name: x}]}\n  b: {type: wait, signal: go}\n")
    client = Client(three.first.socket)
    with pytest.raises(UserError, match=r"(?s)'a'.*'b'"):
        client.submit(file, placement="job")


def test_peers_share_the_steps_and_survive_the_loss_of_one(three: Three, tree: Path, tmp_path: Path) -> None:
    run = three.submit(tree, "job", {"folder": str(tmp_path)}).id
    (first,) = until(lambda: keys_in(tmp_path), bool, RUN_S_MAX)
    holder = next(daemon for daemon in three.daemons if daemon.data_dir.name == first[2])
    left = next(daemon for daemon in three.daemons if daemon is not holder)
    held = left.client.run(run)
    job = next(job for job in held["jobs"] if job["id"] == "slow")
    assert job["peer"] == holder.client.status()["peer"]
    os.kill(holder.pid, signal.SIGKILL)
    second = until(lambda: keys_in(tmp_path), lambda keys: len(keys) == 2, RUN_S_MAX)[1]
    (tmp_path / "go").touch()
    ended = left.finished(run, RUN_S_MAX)

    assert ended["status"] == "success", ended
    # The same key, the next attempt, another peer.
    assert (first[:2], second[:2]) == ([f"{run}/slow", "1"], [f"{run}/slow", "2"])
    assert first[2] != second[2]
    jobs = {job["id"]: job for job in ended["jobs"]}
    results = results_of(ended)
    assert {id_: job["status"] for id_, job in jobs.items() if job["status"] != "success"} == {"nothing": "skipped"}
    assert (results["fetch"], results["square"]) == ([0, 1, 2, 3], [0, 1, 4, 9])
    assert outputs_of(ended, SPEC, "job") == TOTAL
    assert results["count"].startswith("it is [0,1,2,3] on ")
    assert jobs["size"]["outputs"]["arm"] == "many"
    assert jobs["slow"]["attempt"] == 2
    assert len({job["peer"], *(each["peer"] for each in jobs.values() if each["peer"])}) >= 2
    log = left.coterie("workflow", "logs", run, "fetch")
    assert "fetch: connection: the shop is closed (attempt 1; the next in 0.0 s)" in log.stdout, log.stdout
    left.sound()
