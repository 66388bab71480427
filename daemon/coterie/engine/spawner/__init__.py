"""Starts processes, and leaves none behind."""

from coterie.engine.spawner.capture import HeadAndTail
from coterie.engine.spawner.command import CannotStart, Command, Exit, OnOutput, Stream, SupervisorLost
from coterie.engine.spawner.process import Process
from coterie.engine.spawner.spawner import Spawner
from coterie.lines import LineSplitter

__all__ = [
    "CannotStart",
    "Command",
    "Exit",
    "HeadAndTail",
    "LineSplitter",
    "OnOutput",
    "Process",
    "Spawner",
    "Stream",
    "SupervisorLost",
]
