"""Steps of which only one may run at a time, because they name the same key."""

from coterie.engine.admission.wants import Line, Want


class KeyLine:
    """The wants of one execution for one key. At most one of them, `candidate`, waits for its turn like any other."""

    __slots__ = ("candidate", "line")

    def __init__(self) -> None:
        self.candidate: Want | None = None
        self.line = Line()


class Key:
    """Who holds a key, and who waits for it.

    While the key is free each execution that waits for it has one candidate among those that wait for their turn, so
    that turns decide who gets it, and no want is looked at again before the key is free again.
    """

    __slots__ = ("holder", "lines", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder: Want | None = None
        self.lines: dict[str, KeyLine] = {}

    @property
    def idle(self) -> bool:
        """Nobody holds it and nobody waits for it."""
        return self.holder is None and not self.lines

    def offer(self, want: Want) -> None:
        """It waits for the key from now on."""
        line = self.lines.get(want.execution)
        if line is None:
            line = self.lines[want.execution] = KeyLine()
        sooner = line.candidate
        if sooner is not None and want.order < sooner.order:
            self._park(line, sooner)
        line.line.push(want)
        self._propose(line)

    def withdraw(self, want: Want) -> None:
        """It waits no more."""
        line = self.lines[want.execution]
        if line.candidate is want:
            line.candidate = None
            want.lane.withdraw(want)
        else:
            line.line.withdraw(want)
        self._propose(line)
        self._tidy(want.execution, line)

    def park(self, want: Want) -> None:
        """A candidate whose turn has come while another holds the key."""
        self._park(self.lines[want.execution], want)

    def take(self, want: Want) -> None:
        """A candidate, which waits no more, starts."""
        line = self.lines[want.execution] = self.lines.pop(want.execution)  # the others are before it next time
        line.candidate = None
        self.holder = want
        self._tidy(want.execution, line)

    def release(self) -> None:
        """Its holder ended: O(executions that wait for this key)."""
        self.holder = None
        for line in self.lines.values():
            self._propose(line)

    def _park(self, line: KeyLine, candidate: Want) -> None:
        line.candidate = None
        candidate.lane.withdraw(candidate)
        line.line.push(candidate)

    def _propose(self, line: KeyLine) -> None:
        if self.holder is None and line.candidate is None and line.line.waiting:
            line.candidate = line.line.first()
            line.line.take(line.candidate)
            line.candidate.lane.push(line.candidate)

    def _tidy(self, execution: str, line: KeyLine) -> None:
        if line.candidate is None and line.line.waiting == 0:
            del self.lines[execution]
