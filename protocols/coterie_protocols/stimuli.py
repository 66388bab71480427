"""What can happen to a replica. With `effects`, this is the whole vocabulary between core and shell."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import JobReport, RunId, Status, Submit


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A verified connection to `peer` stands."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The last connection to `peer` is gone."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """Bytes came on a stream from `peer`, unchecked."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class GossipReceived:
    """An announcement signed by `peer` came by gossip; its content is unchecked."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class RunSubmitted:
    """The user asks for a run; answered by `Answer(request, …)`."""

    request: int
    submit: Submit


@dataclass(frozen=True, slots=True)
class RunCancelled:
    """The user asks to stop a run; answered by `Answer(request, …)`."""

    request: int
    run: RunId
    reason: str


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How an attempt ended on this machine. Times are Unix milliseconds."""

    status: Status
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    log: Cid | None = None
    started_ms: int = 0
    ended_ms: int = 0
    reason: str = ""
    jobs: tuple[JobReport, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """The runner ended the attempt that `claim` stands for. `result` is None when it was stopped unfinished."""

    run: RunId
    task: str
    claim: Cid
    result: TaskResult | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StopBegan:
    """The daemon is about to exit: claim nothing more, and release what runs or, with `finish`, let it end."""

    finish: bool = False


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time that `Replica.deadline()` named has come."""


Stimulus = (
    PeerConnected
    | PeerDisconnected
    | FrameReceived
    | GossipReceived
    | RunSubmitted
    | RunCancelled
    | TaskEnded
    | StopBegan
    | DeadlineReached
)
