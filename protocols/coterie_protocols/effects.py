"""What a replica asks for. The shell saves first, and only then shows anything to anybody."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Frontier
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import Placement, RunId, Status


@dataclass(frozen=True, slots=True)
class Save:
    """Make `event` durable before performing any other effect of the same batch."""

    event: Event


@dataclass(frozen=True, slots=True)
class Send:
    """Send one frame to a connected peer; if it can't be delivered, forget it."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class SendEvents:
    """Stream to `peer` all stored events that are not covered by `have`, then a `SyncDone`."""

    peer: PeerId
    have: Frontier
    reply_wanted: bool


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Publish an announcement by gossip."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NeedResult:
    """What a needed job came to, as the `needs` context shows it."""

    result: Status
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StartTask:
    """Run an attempt. `(attempt, claim)` is the fencing token; `needs` maps job keys to results.

    `ancestors` has the result of every job that this one depends on, directly or not: what `failure()` looks at.
    """

    run: RunId
    task: str
    attempt: int
    claim: Cid
    placement: Placement
    workflow: str
    event: str
    submitter: PeerId
    plan: Cid
    source: Cid | None
    inputs: Mapping[str, str]
    needs: Mapping[str, NeedResult]
    ancestors: Mapping[str, Status] = field(default_factory=dict[str, Status])


@dataclass(frozen=True, slots=True)
class StopTask:
    """Kill the attempt that `claim` stands for; its `TaskEnded` follows."""

    run: RunId
    task: str
    claim: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class FetchBlobs:
    """Keep a copy of these blobs; `sources` are the peers to ask first."""

    blobs: tuple[Cid, ...]
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Remember:
    """A member says that it can be reached there: keep connected to it. Addresses are multiaddr texts."""

    peer: PeerId
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection to a peer that misbehaves or does not belong, and refuse it for a while."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: the run it made or touched, or an error for the user."""

    request: int
    run: RunId | None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """The view of `run` changed; None means members, liveness or the clock did."""

    run: RunId | None


Effect = (
    Save | Send | SendEvents | Broadcast | StartTask | StopTask | FetchBlobs | Remember | Disconnect | Answer | Changed
)
