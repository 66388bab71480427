"""Where a picture of an execution comes from: the daemon, or an engine in this process."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from coterie.cli.follow import lines_of
from coterie.control.client import Client, Document

STEPS_FIRST_MAX = 1000

OnAsk = Callable[[Document], None]
"""Answers a question: {step, form, deadline_at}."""


class ExecutionSource(Protocol):
    """Tells of one execution."""

    def events(self) -> Iterator[tuple[str, Document]]:
        """("execution", coterie.execution/1) first, then also ("step", a step), as they change, until it has ended."""
        ...

    def steps(self) -> Iterator[Document]:
        """The first of its steps as they are now, STEPS_FIRST_MAX at most."""
        ...

    def lines(self, step: str) -> Iterator[str]:
        """What the newest attempt of a step puts out, until that ends."""
        ...


class DaemonSource:
    """An execution in the daemon."""

    def __init__(self, client: Client, execution: str) -> None:
        self._client = client
        self.execution = execution

    def events(self) -> Iterator[tuple[str, Document]]:
        """As the daemon sends them. Raises StreamEnded when it goes away."""
        return self._client.execution_events(self.execution)

    def steps(self) -> Iterator[Document]:
        """Its first steps."""
        return islice(self._client.all_steps(self.execution), STEPS_FIRST_MAX)

    def lines(self, step: str) -> Iterator[str]:
        """Raises Refused where there is no log."""
        chunks = self._client.step_log(self.execution, step, None, True)
        return (line for _, line in lines_of(chunks))


def new_asks(execution: Document, asked: set[str]) -> list[Document]:
    """What is asked now and was not before; `asked` is kept up to date."""
    new = [ask for ask in execution["asks"] if ask["step"] not in asked]
    asked.clear()
    asked.update(ask["step"] for ask in execution["asks"])
    return new
