"""One workflow that the coterie carries out, as a handle: `Client().submit(..., placement="job")`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from coterie.client_log import lines_of
from coterie.control.client import Client, Document

if TYPE_CHECKING:
    from coterie.engine.model import WorkflowSpec

ENDED: Final = frozenset({"success", "failure", "cancelled"})


class RunFailed(Exception):
    """A run did not succeed; `run` has the rest."""

    def __init__(self, run: "Run") -> None:
        told = "; ".join(f"{step}: {message}" for step, message in list(run.errors.items())[:5])
        super().__init__(f"{run.id} {run.status}: {told or 'see its log'}")
        self.run = run


class Run:
    """What was known of it when it was last asked for; `refresh()` and commands ask again.

    `document` is coterie.run/1 as the daemon sent it. `notes` tell what is done differently than the workflow asks.
    """

    def __init__(
        self,
        calls: Client,
        document: Document,
        spec: "WorkflowSpec",
        placement: Literal["run", "job"],
        notes: tuple[str, ...],
    ) -> None:
        self._calls = calls
        self._spec = spec
        self._placement: Literal["run", "job"] = placement
        self.document = document
        self.notes = notes

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self._spec.id}: {self.status}>"

    @property
    def id(self) -> str:
        """Its id, the same on every peer."""
        return str(self.document["run"])

    @property
    def status(self) -> str:
        """queued, running, success, failure or cancelled."""
        return str(self.document["status"])

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.status in ENDED

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What the workflow gives, as far as it is known."""
        from coterie.engine.spread.reading import outputs_of

        return outputs_of(self.document, self._spec, self._placement)

    @property
    def results(self) -> Mapping[str, Any]:
        """What its steps returned, those that completed, by id."""
        from coterie.engine.spread.reading import results_of

        return results_of(self.document)

    @property
    def errors(self) -> Mapping[str, str]:
        """What its steps failed with, by id."""
        jobs: list[Document] = self.document["jobs"]
        return {
            str(job["id"]): str(job["outputs"].get("error") or job["reason"])
            for job in jobs
            if job["status"] == "failure"
        }

    @property
    def peers(self) -> Mapping[str, str]:
        """Who ran or runs each step, by id."""
        jobs: list[Document] = self.document["jobs"]
        return {str(job["id"]): str(job["peer"]) for job in jobs if job["peer"]}

    def refresh(self) -> "Run":
        """Asks the daemon again, and returns itself."""
        self.document = self._calls.run(self.id)
        return self

    def wait(self, timeout: float | None = None) -> "Run":
        """Waits for its end, without polling, and returns itself. `timeout` is in seconds.

        Raises RunFailed where it did not succeed, TimeoutError, and StreamEnded when the daemon goes away.
        """
        try:
            for event, document in self._calls.events(self.id, timeout):
                if event == "run":
                    self.document = document
                if self.done:
                    break
        except TimeoutError:
            raise TimeoutError(f"{self.id} is {self.status} after {timeout:g} s") from None
        if self.status != "success":
            raise RunFailed(self)
        return self

    def cancel(self, reason: str = "") -> "Run":
        """Asks that nothing more of it be started, and what runs be stopped."""
        self.document = self._calls.cancel(self.id, reason)
        return self

    def logs(self, step: str, *, attempt: int | None = None, follow: bool = False) -> Iterator[str]:
        """The lines that a step put out, on whichever peer; with `follow` until it ends."""
        return lines_of(self._calls.log(self.id, step, attempt, follow))
