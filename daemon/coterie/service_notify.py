"""Tells systemd how the service is, as sd_notify(3) says: datagrams to the socket that NOTIFY_SOCKET names."""

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Final

import structlog
import trio

log = structlog.get_logger("coterie.service")

STATUS_CHARS_MAX: Final = 200
PINGS_PER_PERIOD: Final = 2
"""systemd advises to ping at half of the time that it allows."""


class ServiceNotify:
    """The way to the service manager; without one, every call does nothing.

    Nothing here waits or raises: a service manager that is gone must not take the daemon with it.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "ServiceNotify":
        """The one that systemd set up for this process; takes the variables away, so that no step inherits them."""
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usable = bool(address) and watched and microseconds.isdecimal() and int(microseconds) > 0
        return cls(address, int(microseconds) / 1e6 if usable else None)

    def ready(self, status: str) -> None:
        """The control socket answers and the network listens."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(status)}")

    def stopping(self, status: str) -> None:
        """The clean exit has begun."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    async def watchdog(self, is_healthy: Callable[[], bool]) -> None:
        """Pings while `is_healthy()`, for ever; returns at once when nobody watches.

        A blocked loop pings as little as an unhealthy peer, and systemd ends and restarts both.
        """
        if self.watchdog_s is None:
            return
        while True:
            if is_healthy():
                self._send("WATCHDOG=1")
            else:
                log.error("the peer is not healthy: the watchdog gets no sign of life", allowed_s=self.watchdog_s)
            await trio.sleep(self.watchdog_s / PINGS_PER_PERIOD)

    def close(self) -> None:
        """Ends the use of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd cannot be told", message=message.split("\n")[0], reason=str(error))


def _line(text: str) -> str:
    return " ".join(text.split())[:STATUS_CHARS_MAX]
