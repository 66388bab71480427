"""What changes on this peer, as server-sent events (html.spec.whatwg.org, section "Server-sent events")."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import trio

from coterie.control.schemas import Run, Status
from coterie.views import Daemon
from coterie_protocols.errors import NotFound

HEARTBEAT_S = 15.0
PAUSE_S = 0.05  # after each event: a burst of changes to a run reaches a client as a few, the last one surely
_HEARTBEAT = b": still here\n\n"


@asynccontextmanager
async def event_stream(daemon: Daemon, run: str | None) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Events as bytes: `run` with coterie.run/1, `coterie` with coterie.status/1, comments when nothing happens.

    With `run` (a unique prefix; raises NotFound) its present state comes first, and nothing of other runs.
    """
    only = None if run is None else daemon.run(run).run
    async with daemon.changes() as changes:
        sender, receiver = trio.open_memory_channel[str | None](0)
        async with trio.open_nursery() as nursery:
            # Reading a change must not be cancelled by the heartbeat: it would end an async generator for good.
            nursery.start_soon(_forward, changes, sender)  # pyright: ignore[reportUnknownMemberType]
            yield _encoded(daemon, receiver, only)
            nursery.cancel_scope.cancel()


async def _forward(changes: AsyncIterator[str | None], sender: trio.MemorySendChannel[str | None]) -> None:
    async with sender:
        async for change in changes:
            await sender.send(change)


async def _encoded(
    daemon: Daemon, receiver: trio.MemoryReceiveChannel[str | None], only: str | None
) -> AsyncIterator[bytes]:
    yield _event(daemon, only)
    while True:
        try:
            with trio.fail_after(HEARTBEAT_S):
                change = await receiver.receive()
        except trio.EndOfChannel:
            return
        except trio.TooSlowError:
            yield _HEARTBEAT
            continue
        if only is None or change == only:
            yield _event(daemon, change)
            await trio.sleep(PAUSE_S)


def _event(daemon: Daemon, run: str | None) -> bytes:
    if run is None:
        return _encode("coterie", Status.model_validate(daemon.status()).model_dump_json())
    try:
        return _encode("run", Run.model_validate(daemon.run(run)).model_dump_json())
    except NotFound:
        return _HEARTBEAT  # forgotten since it changed


def _encode(event: str, data: str) -> bytes:
    return f"event: {event}\ndata: {data}\n\n".encode()
