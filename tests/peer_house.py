"""What the tests of one peer ask of it again and again."""

from collections.abc import Iterator
from dataclasses import replace

import trio.testing

from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.ops import RunId, Submit
from protocols.building import Pen, spec, submit
from shell_doubles import Home


def wish(home: Home, *tasks: str, retries: int = 0) -> Submit:
    """A submission whose plan is here."""
    specs = [spec(task) for task in tasks or ("t",)]
    return replace(submit(*specs, retries=retries), plan=home.blob())


def ops_of(home: Home) -> Iterator[object]:
    """Every op that is durable."""
    for data in home.store.replay():
        yield from decoded(data).ops


def decoded(data: bytes) -> Event:
    """An event of our own store."""
    return decode_event_untrusted(data)


async def ended(home: Home, run: RunId, task: str = "t") -> str:
    """The status with which a task ends."""
    async with home.peer.changes.watch() as changes:
        while (status := status_of(home, run, task)) is None:
            await anext(changes)
        return status


def status_of(home: Home, run: RunId, task: str = "t") -> str | None:
    """The status of a task, None while it has none."""
    found = home.replica.state.run(run)
    assert found is not None
    return found.view(task, home.replica.state.authority).status


async def idle() -> None:
    """Returns once everybody waits."""
    await trio.testing.wait_all_tasks_blocked()


def two_peers() -> Pen:
    """A coterie of two, who both submit and work."""
    pen = Pen()
    pen.join(2)
    return pen
