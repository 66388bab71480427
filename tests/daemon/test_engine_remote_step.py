"""A step of the engine as a step of a job: a process with what the runner hands it, and the outputs that it leaves."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from coterie.engine.files.reader import read_workflow_text
from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.remote_step import main
from coterie.engine.spread.document import spread
from coterie.engine.spread.ending import RESULT_BYTES_MAX, Ended
from coterie.engine.spread.payload import COMMAND
from coterie.engine.spread.refusals import Placement
from coterie.runner.environment_files import key_values
from coterie_protocols.ops import OUTPUT_CHARS_MAX

STEP_S_MAX = 30.0

ETL = """coterie: 1
inputs: {count: {type: integer, default: 3}}
variables: {unit: "it's ${{ this"}
steps:
  fetch:
    type: process
    function: etl:fetch
    kwargs: {count: "${{ inputs.count }}"}
    retry: {max_attempts: 2, base_delay: 0s}
  size:
    type: conditional
    needs: fetch
    branches: [{name: it's many, if: "steps.fetch.result[1]", then: [square]}, {name: few, then: [nothing]}]
  square: {type: map, needs: fetch, items: "${{ steps.fetch.result }}", step: {type: process, function: "etl:square"}}
  nothing: {type: shell, run: "true", if: vars.unit == 'no'}
  report: {type: process, function: "etl:report", needs: [square, nothing], args: [{$result: fetch}]}
  broken: {type: process, function: "etl:broken", continue_on_error: true}
outputs: {total: "${{ steps.report.result }}"}
"""

FUNCTIONS = """
import os
import time
from coterie.engine.context import current_context

def fetch(count):
    context = current_context()
    print("fetch", context.execution_id, context.attempt, context.retry_count, context.idempotency_key)
    if context.retry_count == 0:
        raise ConnectionError("refused: 100% ::of:: the time")
    return list(range(count))

def square(number):
    return number * number

def report(numbers):
    context = current_context()
    print("report", context.inputs, context.variables, context.dependencies(), context.step_data("square"))
    print(sorted(name for name in os.environ if name.startswith("GITHUB_")), os.environ.get("COTERIE_STEP"))
    return sum(context.step_data("square")) + sum(numbers)

def broken():
    raise ValueError("no good")

def large(kind):
    return {"chars": "x" * 16_383, "bytes": "😀" * 13_000, "fits": "x" * 16_382, "object": object}[kind]

def slow():
    try:
        print("sleeping", flush=True)
        time.sleep(60)
    finally:
        print("woken", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How the process ended."""

    code: int
    lines: Sequence[str]
    outputs: Mapping[str, str]

    def need(self) -> dict[str, Any]:
        """As the `needs` context of the next job has it."""
        return {"result": "success" if self.code == 0 else "failure", "outputs": dict(self.outputs)}


class Job:
    """One workflow, of which each step is carried out as a runner would."""

    def __init__(self, folder: Path, spec: WorkflowSpec, placement: Placement = "job") -> None:
        self.folder = folder
        self.checkout = folder / "it's a checkout"
        self.checkout.mkdir()
        (self.checkout / "etl.py").write_text(FUNCTIONS)
        (self.checkout / "coterie.py").write_text("raise RuntimeError('not the module that was meant')")
        (folder / "event.json").write_text(json.dumps(spread(spec, {}, placement=placement, source=True).payload))

    def environment(self, step: str, needs: Mapping[str, Any], attempt: int = 1) -> dict[str, str]:
        (self.folder / "needs.json").write_text(json.dumps(needs))
        (self.folder / "output").write_text("")
        return {
            "PATH": os.environ["PATH"],
            "COTERIE_PYTHON": sys.executable,
            "COTERIE_STEP": step,
            "COTERIE_NEEDS_PATH": str(self.folder / "needs.json"),
            "COTERIE_RUN": "bafyrun",
            "COTERIE_ATTEMPT": str(attempt),
            "GITHUB_ACTOR": "ada",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "RUNNER_TEMP": str(self.folder),
            "LC_ALL": "C",
        }

    def start(self, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", "-c", COMMAND],
            env=environment,
            cwd=self.checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def run(self, step: str, needs: Mapping[str, Any] | None = None, attempt: int = 1) -> Done:
        return self.here(self.environment(step, needs or {}, attempt))

    def here(self, environment: Mapping[str, str]) -> Done:
        """In this process, which is quicker: its functions and scripts have theirs all the same."""
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with patch.dict(os.environ, environment, clear=True), chdir(self.checkout), redirect_stdout(out):
            code = main()
        out.seek(0)
        return Done(code, out.read().splitlines(), dict(key_values((self.folder / "output").read_text())))

    def ended(self, process: "subprocess.Popen[str]") -> Done:
        out, _ = process.communicate(timeout=STEP_S_MAX)
        assert "remote_step.py" not in out, out  # no traceback of ours
        return Done(process.returncode, out.splitlines(), dict(key_values((self.folder / "output").read_text())))


@pytest.fixture
def etl(tmp_path: Path) -> Job:
    return Job(tmp_path, read_workflow_text(ETL, "etl.yml"))


COMPLETED: Mapping[str, Any] = {"result": "success", "outputs": {"state": "completed", "result": "[0, 1, 2]"}}
SKIPPED: Mapping[str, Any] = {"result": "skipped", "outputs": {}}


def test_steps_hand_on_what_they_return(etl: Job) -> None:
    fetch = etl.run("fetch")
    assert (fetch.code, fetch.outputs) == (0, {"state": "completed", "arm": "", "result": "[0,1,2]", "error": ""})
    assert fetch.lines[0] == "fetch bafyrun 1 0 bafyrun/fetch"
    assert fetch.lines[-1] == "fetch bafyrun 2 1 bafyrun/fetch"
    assert "ConnectionError: refused: 100% ::of:: the time" in fetch.lines
    assert (
        fetch.lines[-2]
        == "::warning::fetch: connection: refused: 100%25 ::of:: the time (attempt 1; the next in 0.0 s)"
    )

    size = etl.run("size", {"fetch": fetch.need()})
    assert (size.code, size.outputs["arm"], json.loads(size.outputs["result"])) == (0, "it's many", "it's many")

    square = etl.run("square", {"fetch": fetch.need(), "size": size.need()})
    assert (square.code, square.outputs["result"], square.lines) == (0, "[0,1,4]", [])

    report = etl.run("report", {"square": square.need(), "nothing": SKIPPED, "fetch": fetch.need()})
    assert (report.code, report.outputs["result"]) == (0, "8")
    assert report.lines == [
        "report {'count': 3} {'unit': \"it's ${{ this\"} ('square', 'nothing') [0, 1, 4]",
        "['GITHUB_ACTOR', 'GITHUB_EVENT_PATH'] None",
    ]
    assert etl.run("outputs", {"report": report.need()}).outputs["result"] == '{"total":8}'


def test_another_peer_goes_on_counting_with_the_same_key(etl: Job) -> None:
    again = etl.ended(etl.start(etl.environment("fetch", {}, attempt=2)))
    assert (again.code, again.outputs["result"]) == (0, "[0,1,2]")
    assert again.lines[0] == "fetch bafyrun 2 0 bafyrun/fetch"


def test_a_step_whose_condition_is_false_says_that_it_is_skipped(etl: Job) -> None:
    nothing = etl.run("nothing", {"size": COMPLETED})
    assert (nothing.code, nothing.outputs["state"], nothing.outputs["result"]) == (0, "skipped", "null")
    assert "its condition is false: vars.unit == 'no'" in nothing.lines[-1]
    report = etl.run("report", {"square": SKIPPED, "nothing": nothing.need(), "fetch": COMPLETED})
    assert (report.code, report.outputs["state"]) == (0, "skipped")


def test_a_failure_is_told_with_its_class(etl: Job) -> None:
    broken = etl.run("broken")
    assert (broken.code, broken.outputs["state"], broken.outputs["result"]) == (1, "failed", "null")
    assert broken.outputs["error"] == "failure: no good"
    assert broken.lines[-1] == "::error::failure: no good"
    assert "ValueError: no good" in broken.lines


@pytest.mark.parametrize("kind", ["fits", "chars", "bytes", "object"])
def test_what_no_output_can_hold_is_a_failure_that_says_so(tmp_path: Path, kind: str) -> None:
    config = {"function": "etl:large", "args": [kind]}
    done = Job(tmp_path, WorkflowSpec("w", steps=(StepSpec("large", "process", config=config),))).run("large")
    match kind:
        case "fits":
            assert (done.code, len(done.outputs["result"])) == (0, OUTPUT_CHARS_MAX)
        case "object":
            assert done.code == 1
            assert "JSON" in done.outputs["error"]
        case _:
            assert (done.code, done.outputs["state"], done.outputs["result"]) == (1, "failed", "null")
            assert f"a job can hand on {OUTPUT_CHARS_MAX} characters ({RESULT_BYTES_MAX} bytes)" in done.lines[-1]
            assert "placement run" in done.lines[-1]


def test_a_step_that_is_stopped_ends_in_its_own_way(tmp_path: Path) -> None:
    job = Job(tmp_path, WorkflowSpec("w", steps=(StepSpec("slow", "process", config={"function": "etl:slow"}),)))
    process = job.start(job.environment("slow", {}))
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGTERM)
    done = job.ended(process)
    assert (done.code, done.outputs["state"]) == (143, "cancelled")


def test_a_whole_workflow_tells_where_it_is(tmp_path: Path) -> None:
    job = Job(tmp_path, read_workflow_text(ETL, "etl.yml"), "run")
    done = job.run("")
    assert (done.code, done.outputs["state"], done.outputs["result"]) == (0, "completed", '{"total":8}')
    text = "\n".join(done.lines)
    for line in (
        "[fetch] started",
        "[fetch] started, attempt 2",
        "[fetch] fetch bafyrun 2 1 bafyrun/fetch",
        "[nothing] skipped: arm 'few' of size was not chosen",
        "[square[2]] started",
        "::warning::broken: failure: no good",
    ):
        assert line in done.lines, text
    assert any(line.startswith("[report] completed in ") for line in done.lines)


def test_a_whole_workflow_that_fails(tmp_path: Path) -> None:
    spec = WorkflowSpec(
        "w",
        steps=(
            StepSpec("one", "shell", config={"run": "exit 3"}),
            StepSpec("two", "shell", ("one",), config={"run": "true"}),
        ),
        outputs={"x": "1"},
    )
    done = Job(tmp_path, spec, "run").run("")
    assert (done.code, done.outputs["state"]) == (1, "failed")
    assert done.lines[-1].startswith("::error::one: the script ended with")
    assert "[two] skipped: one failed" in done.lines


def test_outside_of_a_job_there_is_nothing_to_do(etl: Job) -> None:
    environment = etl.environment("fetch", {})
    for without, told in (
        ("COTERIE_RUN", "the variable COTERIE_RUN is not set"),
        ("GITHUB_EVENT_PATH", "the variable GITHUB_EVENT_PATH is not set"),
    ):
        done = etl.here({name: value for name, value in environment.items() if name != without})
        assert (done.code, done.outputs) == (2, {})
        assert told in done.lines[0]
    for changed, told in (
        ({"COTERIE_STEP": "unheard"}, "has no step 'unheard'"),
        ({"COTERIE_STEP": "size"}, "does not tell what a need"),
        ({"GITHUB_EVENT_PATH": "/nonexistent"}, "cannot be read"),
    ):
        done = etl.here({**environment, **changed})
        assert done.code == 2
        assert told in done.lines[0]


def test_outputs_are_read_as_they_were_written(tmp_path: Path) -> None:
    ended = Ended("failed", "a=b<<c", '"x"', "one\ntwo\nend-\n" + "é" * 2000)
    ended.write(tmp_path / "output")
    read = dict(key_values((tmp_path / "output").read_text()))
    assert read == {"state": "failed", "arm": "a=b<<c", "result": '"x"', "error": ended.error[:1000]}
