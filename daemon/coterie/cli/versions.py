"""News that one thread writes and another one waits for."""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from coterie_protocols.errors import TryLater, UserError

T = TypeVar("T")


class Versions:
    """Counts changes. What is changed under `change` is seen whole by who has waited for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Not a Condition: a Ctrl-C inside its wait can leave the lock unheld, and the exit of `with` then fails.
        self._waiting: list[queue.SimpleQueue[None]] = []
        self._version = 1
        self._error: UserError | None = None

    def change(self, act: Callable[[], None] | None = None, error: UserError | None = None) -> None:
        """Does `act`, and wakes who waits. An error stays until the end."""
        with self._lock:
            if act is not None:
                act()
            self._error = error or self._error
            self._version += 1
            for bell in self._waiting:
                bell.put(None)
            self._waiting.clear()

    def look(self, act: Callable[[], T]) -> T:
        """What `act` sees while nothing is changed."""
        with self._lock:
            return act()

    def after(self, seen: int, timeout_s: float) -> tuple[int, UserError | None]:
        """The version once it is later than `seen`, or after `timeout_s`, and the error that ended the news."""
        bell = queue.SimpleQueue[None]()
        with self._lock:
            if self._version <= seen and self._error is None:
                self._waiting.append(bell)
            else:
                bell.put(None)
        with contextlib.suppress(queue.Empty):
            bell.get(timeout=timeout_s)
        with self._lock:
            if bell in self._waiting:
                self._waiting.remove(bell)
            return self._version, self._error

    def read(self, follow: Callable[[], None]) -> None:
        """Has a thread of its own read the news; it dies with the command, and its error is kept for who waits."""

        def run() -> None:
            try:
                follow()
            except UserError as error:
                self.change(error=error)
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits, with its traceback
                bug = TryLater(f"following the run failed: {error!r}", "this is a bug; please report it")
                bug.__cause__ = error
                self.change(error=bug)

        threading.Thread(target=run, daemon=True).start()
