"""The times at which something happens to an execution by itself: another try, the end of a wait for room, its own."""

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coterie.engine.performing.execution import LiveExecution

MS: Final = 1000


class Deadlines:
    """Of one execution, in Unix milliseconds."""

    def __init__(self, live: "LiveExecution") -> None:
        self._live = live
        self._queued: list[tuple[int, int]] = []  # a heap of (when the wait is over, position)

    def queued(self, position: int, timeout_s: float, now_ms: int) -> None:
        """A step waits for room, for so long at most."""
        heappush(self._queued, (now_ms + int(timeout_s * MS), position))

    def next_ms(self) -> int | None:
        """When to look again; None where there is nothing to wait for."""
        dues = [due for due in (self._live.machine.next_due_ms(), self._run_ms()) if due is not None]
        if self._queued:
            dues.append(self._queued[0][0])
        return min(dues, default=None)

    def look(self, now_ms: int) -> None:
        """Has happen what is due."""
        live = self._live
        live.machine.wake(now_ms)
        run_ms = self._run_ms()
        if run_ms is not None and run_ms <= now_ms:
            live.cancel(f"the run took more than its {live.spec.timeout_s:g} s", now_ms)
        while self._queued and self._queued[0][0] <= now_ms:
            _, position = heappop(self._queued)
            if live.machine.state(position) == "ready" and position not in live.flights:
                timeout_s = live.steps.spec(position).queue_timeout_s
                live.withdraw(position)
                live.landings.fail(position, f"waited for room for more than its {timeout_s:g} s", now_ms)

    def _run_ms(self) -> int | None:
        live = self._live
        if live.spec.timeout_s is None or live.started_ms is None or live.machine.run_state in ("cancelled", "failed"):
            return None
        return live.started_ms + int(live.spec.timeout_s * MS)
