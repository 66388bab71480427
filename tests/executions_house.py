"""Executions behind a real control socket, for tests of what the daemon does with the engine."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from control_double import DaemonDouble
from coterie.blobs.file_blobs import FileBlobs
from coterie.control.server import serve
from coterie.control.socket_file import control_socket
from coterie.engine.performing.core import Observer
from coterie.executions.service import Executions, ExecutionsSettings, Submission
from coterie.executions.views import ExecutionView

SERVED_S_MAX = 60.0
ENDED_S_MAX = 20.0
ENV = {"PATH": "/usr/bin:/bin"}
BLOB_BYTES_MAX = 100_000_000


def step(id_: str, *needs: str, type: str = "process", **fields: Any) -> dict[str, Any]:
    """A step; without a config it computes `true`."""
    config = fields.pop("config", {"expression": "true"} if type == "process" else {})
    made = {"id": id_, "type": type, "config": config, **fields}
    return {**made, "needs": list(needs)} if needs else made


def shell(id_: str, run: str, *needs: str, **fields: Any) -> dict[str, Any]:
    """A shell step."""
    return step(id_, *needs, type="shell", config={"run": run}, **fields)


def document(*steps: dict[str, Any], id: str = "flow", **head: Any) -> dict[str, Any]:
    """A workflow of these steps."""
    return {"schema": "coterie.workflow/1", "id": id, "steps": list(steps), **head}


def executions_in(directory: Path, *observers: Observer, **changes: Any) -> Executions:
    """The executions of a daemon whose data lies in `directory`."""
    settings = replace(ExecutionsSettings(directory, env=ENV, grace_s=0.5), **changes)
    return Executions(settings, FileBlobs(directory / "blobs", BLOB_BYTES_MAX), observers)


async def until(executions: Executions, id_: str, holds: Callable[[ExecutionView], bool]) -> ExecutionView:
    """The execution, once it is as it should be."""
    with trio.fail_after(ENDED_S_MAX):
        async with executions.following.watch(id_) as watch:
            while not holds(view := watch.present()):
                await watch.changed()
    return view


async def ended(executions: Executions, id_: str) -> ExecutionView:
    """The execution, once it is over."""
    return await until(executions, id_, lambda view: view.status in ("completed", "failed", "cancelled"))


async def done(executions: Executions, *steps: dict[str, Any], **head: Any) -> ExecutionView:
    """A workflow of these steps, executed to its end."""
    begun = await executions.submit(Submission(document(*steps, **head)))
    return await ended(executions, begun.id)


@contextmanager
def served_executions(directory: Path, double: DaemonDouble | None = None, **changes: Any) -> Generator[Path]:
    """The path of a control socket that serves executions, in a thread with a loop of its own."""
    ready, failure = threading.Event(), list[BaseException]()
    path, stop = directory / "s", list[Callable[[], object]]()

    async def main() -> None:
        executions = executions_in(directory, **changes)
        with trio.fail_after(SERVED_S_MAX), control_socket(path) as listener:
            async with executions.opened(), trio.open_nursery() as nursery:
                token = trio.lowlevel.current_trio_token()
                stop.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
                nursery.start_soon(_serve, listener, double or DaemonDouble(), directory, executions)
                ready.set()

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(SERVED_S_MAX)
    try:
        yield path
    finally:
        if stop:
            stop[0]()
        thread.join(SERVED_S_MAX)
        if failure:
            raise failure[0]


async def _serve(listener: Any, double: DaemonDouble, directory: Path, executions: Executions) -> None:
    await serve(
        listener,
        double,
        incoming_dir=directory / "incoming",
        source_bytes_max=BLOB_BYTES_MAX,
        version="0.1.0",
        executions=executions,
    )
