"""What the control socket shows, as plain data: the stable, documented shapes behind every `--json`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

RunStatus = Literal["queued", "running", "success", "failure", "cancelled"]
JobStatus = Literal["waiting", "queued", "running", "success", "failure", "cancelled", "skipped"]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job of a run. Times are RFC 3339 UTC with milliseconds; `peer` is who holds or held it."""

    id: str
    job: str
    status: JobStatus
    peer: str | None
    attempt: int
    started_at: str | None
    ended_at: str | None
    needs: tuple[str, ...]
    labels: tuple[str, ...]
    step: str | None
    reason: str
    log: str | None
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, on whatever peer one asks."""

    run: str
    status: RunStatus
    workflow: str
    event: str
    submitter: str
    priority: float
    placement: str
    submitted_at: str
    ended_at: str | None
    jobs: tuple[JobView, ...]


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of the coterie, as this peer sees it. `seen_s` is the age of its last sign of life."""

    peer: str
    name: str
    roles: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    free: int
    state: Literal["self", "alive", "suspect", "gone", "unknown"]
    connected: bool
    seen_s: float | None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClockView:
    """The Merkle clock of this peer; `digest` is the state's, `frontier` maps author to [seq, cid]."""

    coterie: str
    heads: tuple[str, ...]
    frontier: Mapping[str, tuple[int, str]]
    digest: str
    events: int
    pending: int


@dataclass(frozen=True, slots=True)
class StatusView:
    """This daemon, on one screen."""

    peer: str
    name: str
    coterie: str
    coterie_name: str
    version: str
    pid: int
    uptime_s: float
    roles: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    free: int
    addresses: tuple[str, ...]
    members: int
    connected: int
    events: int
    digest: str
    runs: Mapping[str, int]
    running: tuple[str, ...]
    data_dir: str


@dataclass(frozen=True, slots=True)
class VerifyView:
    """The outcome of rebuilding derived state from the stored events. `problems` is empty when all is well."""

    events: int
    live_digest: str
    rebuilt_digest: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InviteView:
    """A token, and what it allows."""

    token: str
    roles: tuple[str, ...]
    labels: tuple[str, ...]
    uses: int
    expires_at: str


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """A run that the user asks for: the workflow text is planned here again, never trusted from the client.

    `source` is the path of a tar file that the client made on this machine, or None. `git` holds what the client
    knows of the tree (sha, ref, ref_name, repository, actor).
    """

    file: str
    text: str
    event: str
    payload: Mapping[str, object]
    inputs: Mapping[str, str]
    priority: float
    placement: Literal["job", "run"]
    care: Literal["normal", "careful", "at-most-once"]
    retries: int
    source: str | None
    git: Mapping[str, str]


class Daemon(Protocol):
    """What the control server may ask of the peer. Ids may be unique prefixes; errors are UserErrors."""

    def status(self) -> StatusView:
        """This daemon."""
        ...

    def members(self) -> tuple[MemberView, ...]:
        """The coterie, self first."""
        ...

    def clock(self) -> ClockView:
        """Heads, frontier, digest."""
        ...

    def runs(self, limit: int) -> tuple[RunView, ...]:
        """The newest runs first."""
        ...

    def run(self, prefix: str) -> RunView:
        """One run. Raises NotFound."""
        ...

    async def submit(self, request: SubmitRequest) -> RunView:
        """Plans, stores and announces a run; returns once it is durable. Raises InvalidWorkflow, NotAllowed."""
        ...

    async def cancel(self, prefix: str, reason: str) -> RunView:
        """Records that the run is to be stopped. Raises NotFound, NotAllowed."""
        ...

    def invite(self, roles: tuple[str, ...], labels: tuple[str, ...], uses: int, valid_s: float) -> InviteView:
        """A token for newcomers. Raises NotAllowed where this peer is no admin."""
        ...

    async def verify(self) -> VerifyView:
        """Checks every stored event again and compares digests."""
        ...

    def metrics(self) -> bytes:
        """What this daemon counts, in the text format of Prometheus."""
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[str | None]]:
        """Run ids as they change, None for anything else; a slow reader misses repetitions, never the last word."""
        ...

    def logs(
        self, prefix: str, job: str, attempt: int | None, offset: int, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A job's output from whichever peer has it; `attempt` None is the one that counts. Raises NotFound."""
        ...

    def stop(self) -> None:
        """Begins a clean exit."""
        ...
