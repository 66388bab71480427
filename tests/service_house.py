"""A peer with its service, for tests of what its user sees."""

from pathlib import Path

import trio

from coterie.blobs.file_blobs import FileBlobs
from coterie.runner.logs import FileLogs
from coterie.service import Service
from coterie.views import RunView, SubmitRequest
from coterie.wall_clock import unix_ms
from protocols.building import Pen, key
from shell_doubles import Home

OTHER = key(2).peer_id
FLOW = """
name: ci
on: {workflow_dispatch: {inputs: {target: {type: choice, options: [test, prod], default: test}}}, push: {}}
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: make}]}
  test:
    needs: build
    runs-on: ubuntu-latest
    strategy: {matrix: {os: [a, b]}}
    steps: [{run: make test}]
"""
REQUEST = SubmitRequest("ci.yml", FLOW, "push", {}, {}, 3.0, "job", "normal", 0, None, {})
BROKEN = "on: push\njobs: {build: {steps: 7}}\n"


class House:
    """A peer with its service; blobs and logs are real files."""

    def __init__(self, tmp_path: Path, pen: Pen | None = None, number: int = 1, slots: int = 1) -> None:
        blobs = FileBlobs(tmp_path / "blobs", 10_000_000)
        logs = FileLogs(tmp_path / "logs", 1_000_000, unix_ms)
        self.home = Home(pen, number, slots=slots, labels=("ubuntu-latest",), blobs=blobs, logs=logs)
        self.blobs, self.stopping = blobs, trio.Event()
        self.service = Service(
            key=self.home.key,
            name="home",
            data_dir=tmp_path,
            peer=self.home.peer,
            store=self.home.store,
            network=self.home.network,
            blobs=blobs,
            logs_here=logs,
            copies=self.home.copies,
            stopping=self.stopping,
            started_at=0.0,
        )

    async def log(self, run: str, job: str, attempt: int | None = None, offset: int = 0, follow: bool = False) -> bytes:
        async with self.service.logs(run, job, attempt, offset, follow) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def until(self, run: str, status: str) -> RunView:
        """The run, once it has that status."""
        async with self.service.changes() as changes:
            while (view := self.service.run(run)).status != status:
                await anext(changes)
            return view


def shared(tmp_path: Path, slots: int = 0) -> tuple[Pen, House]:
    """A coterie of two, of which this peer runs nothing."""
    pen = Pen()
    pen.join(2)
    return pen, House(tmp_path, pen, slots=slots)
