"""The way to the service manager: real datagrams to a real socket, and no harm where there is none."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from coterie.service_notify import ServiceNotify


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages: list[str] = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"coterie-test-{os.getpid()}-{tmp_path.name}"
    manager = Manager(f"@{name}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_systemd_hears_the_states_of_a_service(manager: Manager) -> None:
    notify = ServiceNotify.from_environment({"NOTIFY_SOCKET": manager.address})
    notify.ready("3 peers\nREADY=0")
    notify.status("running 2 tasks")
    notify.stopping("told to")
    notify.close()
    notify.status("after the end")
    assert manager.heard() == [
        "READY=1\nSTATUS=3 peers READY=0",
        "STATUS=running 2 tasks",
        "STOPPING=1\nSTATUS=told to",
    ]


def test_no_child_inherits_the_way_to_systemd(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    ServiceNotify.from_environment(environ).close()
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_who_is_watched(environ: dict[str, str], watchdog_s: float | None) -> None:
    notify = ServiceNotify.from_environment({"NOTIFY_SOCKET": "/nowhere", **environ})
    assert notify.watchdog_s == watchdog_s
    notify.close()


def test_a_service_manager_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    notify = ServiceNotify(str(tmp_path / "gone"))
    notify.ready("nobody hears this")
    notify.close()


async def test_without_a_watchdog_there_is_nothing_to_do() -> None:
    notify = ServiceNotify.from_environment({})
    notify.ready("nobody is there")
    with trio.fail_after(1):
        await notify.watchdog(lambda: True)


async def test_only_a_healthy_peer_gives_signs_of_life(manager: Manager, autojump_clock: MockClock) -> None:
    notify = ServiceNotify(manager.address, watchdog_s=10.0)
    healthy = True

    def is_healthy() -> bool:
        return healthy

    async def watch() -> None:
        await notify.watchdog(is_healthy)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.sleep(21)
        assert manager.heard() == ["WATCHDOG=1"] * 5
        healthy = False
        await trio.sleep(20)
        assert manager.heard() == []
        nursery.cancel_scope.cancel()
    notify.close()
