"""What is started, and how it ended."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stream = Literal[1, 2]
"""The number of a descriptor: 1 is stdout, 2 is stderr."""

OnOutput = Callable[[Stream, bytes], None]
"""Told a piece of output. It is called in the event loop, so it must be quick, and it must not raise."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: `argv[0]` is a path. The environment is complete; nothing is inherited.

    `stdin` is what it can read; None is no input. With `merged` stderr comes in order with stdout, as stream 1.
    `channel` is a descriptor of ours that becomes descriptor 3 of the command; it stays open here.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdin: bytes | None = None
    merged: bool = True
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended. `code` is None where a signal ended it."""

    code: int | None
    signal: int | None = None

    @property
    def ok(self) -> bool:
        """Did it succeed?"""
        return self.code == 0

    @property
    def number(self) -> int:
        """The exit code, or the signal as a negative number: subprocess's returncode."""
        return -(self.signal or 0) if self.code is None else self.code

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {self.signal} ({signal.Signals(self.signal).name})"


class CannotStart(Exception):
    """The command could not be started: no such program, no such folder."""


class SupervisorLost(Exception):
    """The process that supervises the commands was killed; what they started has been killed."""
