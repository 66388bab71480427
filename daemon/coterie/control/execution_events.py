"""What happens to one execution, as server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import trio
from pydantic_core import to_json

from coterie.control.events import HEARTBEAT_S
from coterie.engine.model import RUN_ENDED
from coterie.executions.following import Watch
from coterie.executions.service import Executions
from coterie.executions.views import ExecutionView, StepView

_HEARTBEAT = b": still here\n\n"


@asynccontextmanager
async def execution_stream(executions: Executions, id_: str) -> AsyncGenerator[AsyncIterator[bytes]]:
    """`execution` events with coterie.execution/1, at most ten a second, and `step` events; ends with the execution.

    The present state comes first, and the last one last. Raises NotFound.
    """
    async with executions.following.watch(id_) as watch:
        yield _events(watch)


async def _events(watch: Watch) -> AsyncIterator[bytes]:
    view = watch.present()
    yield _encoded("execution", view)
    while view.status not in RUN_ENDED:
        with trio.move_on_after(HEARTBEAT_S) as patience:
            await watch.changed()
        if patience.cancelled_caught:
            yield _HEARTBEAT
            continue
        view = watch.present()
        while steps := await watch.steps():
            yield b"".join([_encoded("step", step) for step in steps])
            if view.status not in RUN_ENDED:
                break  # the rest has time
        yield _encoded("execution", view)


def _encoded(event: str, view: ExecutionView | StepView) -> bytes:
    return b"event: " + event.encode() + b"\ndata: " + to_json(view) + b"\n\n"
