"""Undoes completed steps of an execution that came to nothing: one after another, the last completed first (saga).

Garcia-Molina and Salem, "Sagas", SIGMOD 1987. Their order is that of the times at which they completed, and where these
are equal that of the needs, so that it is the same after a restart.
"""

from collections.abc import Iterable

from coterie.engine.machine.run_flow import RunFlow


class Undo:
    """`done` has how each came out, "done" or "failed"; `current` is being undone."""

    def __init__(self, flow: RunFlow, compensable: Iterable[int]) -> None:
        self._flow = flow
        self._compensable = frozenset(compensable)
        self._completed: list[tuple[int, int]] = []
        self._plan: list[int] | None = None
        self.done: dict[int, str] = {}
        self.current: int | None = None

    @property
    def begun(self) -> bool:
        """Has anything been undone, or is it being?"""
        return self.current is not None or bool(self.done)

    @property
    def left(self) -> bool:
        """Is there anything more to undo?"""
        return len(self._completed) > len(self.done)

    def completed(self, position: int, ended_ms: int) -> None:
        """A step completed; it is undone later if it is one that can be."""
        if position < self._flow.size:
            compensable = position in self._compensable
        else:
            group = self._flow.group(position)
            compensable = group is not None and group.rule.compensable
        if compensable:
            self._completed.append((ended_ms, position))

    def next(self) -> int:
        """Begins with the next one and returns it; from the first on there is no way back. Raises IndexError."""
        if self._plan is None:
            self._plan = self._in_order()
        self.current = self._plan.pop()
        return self.current

    def ended(self, ok: bool) -> None:
        """The current one came out so."""
        assert self.current is not None
        self.done[self.current] = "done" if ok else "failed"
        self.current = None

    def _in_order(self) -> list[int]:
        flow = self._flow
        rank = {position: place for place, position in enumerate(flow.graph.order())} if self._completed else {}

        def key(completion: tuple[int, int]) -> tuple[int, int, int]:
            ended_ms, position = completion
            root = position
            while (owner := flow.owner(root)) is not None:
                root = owner
            return ended_ms, rank[root], -position  # children end before their map step, and stand behind it

        return [position for _, position in sorted(self._completed, key=key) if position not in self.done]
