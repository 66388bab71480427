"""What executors share: opened when first needed, closed with the engine."""

from typing import Any, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus

from coterie.engine.settings import EngineSettings


class Resource(Protocol):
    """Something with a life of its own: a supervisor process, a pool of workers, an HTTP client."""

    def __init__(self, settings: EngineSettings) -> None: ...

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Opens it, says so by `task_status.started()`, and works until it is cancelled; cleans up then."""
        ...


R = TypeVar("R", bound=Resource)


class Resources:
    """The resources of one engine (of one `async with engine`, or of one `execute_workflow` outside of it)."""

    def __init__(self, tasks: TaskGroup, settings: EngineSettings) -> None:
        self._tasks = tasks
        self._lock = anyio.Lock()
        self._open: dict[type[Any], Any] = {}
        self.settings = settings

    async def get(self, kind: type[R]) -> R:
        """The one instance of `kind`."""
        async with self._lock:
            if kind not in self._open:
                resource = kind(self.settings)
                await self._tasks.start(resource.run, name=kind.__name__)
                self._open[kind] = resource
            opened: R = self._open[kind]
            return opened
