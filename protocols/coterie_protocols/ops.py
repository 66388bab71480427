"""The facts that an event can carry. Reading this file is reading what a coterie can know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NewType

from coterie_protocols.encoding import (
    Cid,
)
from coterie_protocols.identity import PeerId

RunId = NewType("RunId", str)
Role = Literal["admin", "submit", "work", "observe"]
ROLES: Final[frozenset[str]] = frozenset({"admin", "submit", "work", "observe"})
Status = Literal["success", "failure", "cancelled", "skipped"]
STATUSES: Final[frozenset[str]] = frozenset({"success", "failure", "cancelled", "skipped"})
Care = Literal["normal", "careful", "at-most-once"]
CARES: Final[frozenset[str]] = frozenset({"normal", "careful", "at-most-once"})
Placement = Literal["job", "run"]
PLACEMENTS: Final[frozenset[str]] = frozenset({"job", "run"})

OPS_MAX = 64
TASKS_MAX = 512
LABELS_MAX = 32
NEEDS_MAX = 512
ATTEMPT_MAX = 1_000
OUTPUTS_MAX = 256
OUTPUT_CHARS_MAX = 16_384
INPUTS_MAX = 64
REASON_CHARS_MAX = 512
MS_MAX = 2**53


@dataclass(frozen=True, slots=True)
class Genesis:
    """Founds a coterie; its author becomes admin, and its CID the coterie's id."""

    name: str
    nonce: bytes
    policy: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Certificate:
    """An admin's word that who holds the key `invite` may join. `expires_ms` is Unix milliseconds."""

    coterie: Cid
    issuer: PeerId
    invite: PeerId
    roles: tuple[Role, ...]
    labels: tuple[str, ...]
    expires_ms: int
    uses: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """The author enters with a certificate; `proof` is the invite key's signature over the author's id."""

    certificate: Certificate
    proof: bytes
    name: str
    labels: tuple[str, ...]
    slots: int


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a peer can claim: one job, or a whole run.

    `job` is the job's key in the file (several tasks of one matrix share it); `needs` are keys of jobs of the same
    run, each of which stands for all its tasks, or ids of single tasks; `conditional` tells that the job has an `if`
    of its own, so that somebody must evaluate it. With `fail_fast` a failed task of the same job cancels this one;
    `max_parallel` 0 means without limit.
    """

    id: str
    job: str
    needs: tuple[str, ...]
    labels: tuple[str, ...]
    conditional: bool = False
    continue_on_error: bool = False
    fail_fast: bool = False
    max_parallel: int = 0


@dataclass(frozen=True, slots=True)
class Submit:
    """Asks for one run. `plan` and `source` are blobs; `priority` is 1.0 (critical) to 6.0 and more."""

    workflow: str
    event: str
    plan: Cid
    source: Cid | None
    inputs: Mapping[str, str]
    priority: float
    placement: Placement
    care: Care
    retries: int
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """The author runs attempt `attempt` of a task. From attempt 2 on, `supersedes` names the claim it follows.

    `consumed` pins, for every needed task, the event of the `done` whose outputs this attempt reads.
    """

    run: RunId
    task: str
    attempt: int
    supersedes: Cid | None
    consumed: Mapping[str, Cid]


@dataclass(frozen=True, slots=True)
class Release:
    """The author gives its claim up, so that the next attempt may be claimed at once."""

    run: RunId
    task: str
    attempt: int
    claim: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class JobReport:
    """How one job of a run with placement `run` ended. Times are Unix milliseconds."""

    id: str
    status: Status
    started_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Done:
    """The result of one attempt; `claim` is the fencing token. Times are Unix milliseconds."""

    run: RunId
    task: str
    attempt: int
    claim: Cid
    status: Status
    outputs: Mapping[str, str]
    log: Cid | None
    started_ms: int
    ended_ms: int
    reason: str
    jobs: tuple[JobReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Cancel:
    """Asks that nothing more of a run be started and what runs be stopped."""

    run: RunId
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An op of a later version: kept, passed on, without effect here."""

    kind: str


Op = Genesis | Join | Submit | Claim | Release | Done | Cancel | Unknown
