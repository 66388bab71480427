"""What tests of the runner share: tasks made from workflow text, and a log in memory."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent

import psutil
import trio

from coterie.blobs import FileBlobs
from coterie.runner.process import Grace
from coterie.runner.runner import LocalRunner, RunnerSettings, passed_environment
from coterie_protocols.effects import NeedResult, StartTask
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import Placement, RunId, Status
from coterie_protocols.stimuli import TaskResult
from coterie_protocols.workflow.document import submission_to_bytes
from coterie_protocols.workflow.model import Json, Submission
from coterie_protocols.workflow.plan import plan_workflow

RUN = RunId("bafyreirun")
CLAIM = Cid("bafyreiclaim")
QUICK = Grace(interrupt_s=0.2, terminate_s=0.2, drain_s=0.2)


def wall_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class ListLog:
    """A log in memory (ports.LogWriter) that can be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._waiting: dict[str, trio.Event] = {}

    def line(self, text: str) -> None:
        self.lines.append(text)
        for wanted, event in self._waiting.items():
            if wanted in text:
                event.set()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def holds(self, wanted: str) -> None:
        """Returns once a line holds `wanted`."""
        if not any(wanted in line for line in self.lines):
            event = self._waiting.setdefault(wanted, trio.Event())
            with trio.fail_after(10):
                await event.wait()


class Bench:
    """A runner in a temporary folder."""

    def __init__(self, folder: Path, settings: RunnerSettings | None = None) -> None:
        self.folder = folder
        self.blobs = FileBlobs(folder / "blobs", 10**8)
        self.log = ListLog()
        self.reported: list[str] = []
        if settings is None:
            settings = RunnerSettings(name="here", env=passed_environment(os.environ), grace=QUICK)
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self.runner = LocalRunner(self.work, self.blobs, settings, wall_ms)

    def task(
        self,
        workflow: str,
        task: str | None = None,
        *,
        placement: Placement = "job",
        source: Cid | None = None,
        needs: Mapping[str, NeedResult] | None = None,
        ancestors: Mapping[str, Status] | None = None,
        inputs: Mapping[str, Json] | None = None,
        payload: Mapping[str, Json] | None = None,
        attempt: int = 1,
    ) -> StartTask:
        """A task of a workflow; by default its first job."""
        plan = plan_workflow("test.yml", workflow, event="push")
        git = {"sha": "a" * 40, "ref": "refs/heads/main", "ref_name": "main", "repository": "me/it", "actor": "me"}
        submission = Submission(plan=plan, event="push", payload=payload or {}, inputs=inputs or {}, git=git)
        return StartTask(
            run=RUN,
            task=task or ("run" if placement == "run" else plan.jobs[0].id),
            attempt=attempt,
            claim=CLAIM,
            placement=placement,
            workflow="test.yml",
            event="push",
            submitter=PeerId("12D3KooWsubmitter"),
            plan=self.blobs.put(submission_to_bytes(submission)),
            source=source,
            inputs={},
            needs=needs or {},
            ancestors=ancestors or {},
        )

    async def run(self, task: StartTask, seconds: float = 20) -> TaskResult:
        """Runs a task, with its output in `log`."""
        with trio.fail_after(seconds):
            return await self.runner.run(task, self.log, self.reported.append)

    async def run_steps(self, steps: str, **given: Status) -> TaskResult:
        """Runs one job made of these steps, written as YAML at the left margin."""
        return await self.run(self.task(one_job(steps)))


def one_job(steps: str, head: str = "", job: str = "") -> str:
    """A workflow of one job `it` with these steps; `head` and `job` are more keys of the file and the job."""
    top = f"on: push\n{head.strip()}\njobs:\n  it:\n    runs-on: any\n"
    return top + indent(job.strip("\n") + "\n", "    ") + "    steps:\n" + indent(steps.strip("\n"), "      ")


async def number_in(path: Path) -> int:
    """The number that a step writes to a file, once it is there."""
    file = trio.Path(path)
    with trio.fail_after(10):
        # A file that another process writes gives no event that is worth the code to wait for it.
        while not await file.exists() or not (await file.read_text()).strip():  # noqa: ASYNC110
            await trio.sleep(0.01)
        return int(await file.read_text())


def alive(pid: int) -> bool:
    """Does the process run? A zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(pid: int) -> None:
    """Returns once the process has ended."""
    with trio.fail_after(10):
        while alive(pid):  # noqa: ASYNC110
            await trio.sleep(0.01)
