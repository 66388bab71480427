"""One task of a run: what was claimed, released and done, and what that comes to.

The records are sets that only grow; `resolve` is a pure function of them, so the order of arrival is nothing.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from coterie_protocols.assignment import claim_order
from coterie_protocols.authority import Authority
from coterie_protocols.encoding import Cid, Value
from coterie_protocols.event import Header
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import Claim, Done, Release, Status, TaskSpec

Order = tuple[int, bytes]
ATTEMPTS_LOST_MAX: Final = 20
"""A task that was released this often without a result has failed: it takes down whoever runs it."""


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A claim as it stands in the clock; `order` ranks concurrent claims of one attempt, least wins."""

    header: Header
    op: Claim
    order: Order

    @property
    def cid(self) -> Cid:
        """The claim's event: half of the fencing token."""
        return self.header.cid

    @property
    def author(self) -> PeerId:
        """Who claims."""
        return self.header.author


@dataclass(frozen=True, slots=True)
class DoneRecord:
    """A result as it stands in the clock."""

    header: Header
    op: Done


@dataclass(slots=True)
class TaskRecord:
    """All that was ever said of one task, whether it counts or not. Keyed by the event that said it.

    `rivals` has, for a claim, the other claims of its attempt that its author knew.
    """

    claims: dict[Cid, ClaimRecord] = field(default_factory=dict[Cid, ClaimRecord])
    rivals: dict[Cid, tuple[Cid, ...]] = field(default_factory=dict[Cid, tuple[Cid, ...]])
    releases: dict[Cid, tuple[Header, Release]] = field(default_factory=dict[Cid, tuple[Header, Release]])
    dones: dict[Cid, DoneRecord] = field(default_factory=dict[Cid, DoneRecord])


Phase = Literal["open", "claimed", "ended"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a task's own records come to, its needs and its run's fate left aside.

    open: attempt `attempt` may be claimed, following `claim` (None for the first). claimed: `claim` holds attempt
    `attempt`. ended: `done` is the accepted result. `failures` counts the attempts that failed and were retried.
    """

    phase: Phase
    attempt: int
    claim: ClaimRecord | None = None
    done: DoneRecord | None = None
    failures: int = 0
    lost: bool = False


OPEN: Final = Standing("open", 1)


def resolve(record: TaskRecord, retries: int, authority: Authority) -> Standing:
    """What the records come to: the accepted result, else the claim that holds, else the attempt that is open.

    Attempts are gone through in order. Of one attempt's valid claims the least in order holds it, and of its
    valid results the one whose claim is least counts; a failure counts only once `retries` are used up.
    """
    attempts = _valid_claims(record, authority)
    best_done = _best_dones(record, attempts)
    standing, failures, previous = OPEN, 0, None
    for attempt in sorted(attempts):
        winner = min(attempts[attempt].values(), key=lambda claim: claim.order)
        done = best_done.get(attempt)
        if done is not None:
            if done.op.status != "failure" or failures >= retries:
                return Standing("ended", attempt, record.claims[done.op.claim], done, failures)
            failures += 1
            standing = Standing("open", attempt + 1, winner, None, failures)
        elif _released(record, winner):
            standing = Standing("open", attempt + 1, winner, None, failures, attempt - failures >= ATTEMPTS_LOST_MAX)
            if standing.lost:
                return standing  # for good: what is claimed afterwards must not bring it back
        else:
            standing = Standing("claimed", attempt, winner, None, failures)
        previous = winner
    return standing if previous is not None else OPEN


def _valid_claims(record: TaskRecord, authority: Authority) -> dict[int, dict[Cid, ClaimRecord]]:
    attempts: dict[int, dict[Cid, ClaimRecord]] = {}
    in_causal_order = sorted(record.claims.values(), key=lambda c: (c.op.attempt, c.header.lamport, c.cid))
    for claim in in_causal_order:
        attempt = claim.op.attempt
        follows = attempt == 1 or claim.op.supersedes in attempts.get(attempt - 1, {})
        valid = attempts.setdefault(attempt, {})
        knew_better = any(rival in valid for rival in record.rivals.get(claim.cid, ()))
        if follows and not knew_better and authority.may(claim.author, "work"):
            valid[claim.cid] = claim
    return {attempt: claims for attempt, claims in attempts.items() if claims}


def _best_dones(record: TaskRecord, attempts: dict[int, dict[Cid, ClaimRecord]]) -> dict[int, DoneRecord]:
    best: dict[int, tuple[tuple[Order, Cid], DoneRecord]] = {}
    for done in record.dones.values():
        claim = attempts.get(done.op.attempt, {}).get(done.op.claim)
        if claim is None or claim.author != done.header.author:
            continue
        key = (claim.order, done.header.cid)
        if done.op.attempt not in best or key < best[done.op.attempt][0]:
            best[done.op.attempt] = (key, done)
    return {attempt: done for attempt, (_, done) in best.items()}


def _released(record: TaskRecord, claim: ClaimRecord) -> bool:
    return any(
        release.claim == claim.cid and header.author == claim.author for header, release in record.releases.values()
    )


def digest_value(record: TaskRecord, standing: Standing | None) -> Value:
    """What the state digest covers of a task: which events said what, and what that came to."""
    said: list[Value] = [sorted(record.claims), sorted(record.releases), sorted(record.dones)]
    if standing is None:
        return said
    claim = standing.claim.cid if standing.claim else None
    done = standing.done.header.cid if standing.done else None
    return [*said, standing.phase, standing.attempt, claim, done]


def new_claim(header: Header, op: Claim, combined: bytes) -> ClaimRecord:
    """A claim with its rank, from the attempt's combined hash (`assignment.combined`)."""
    return ClaimRecord(header, op, claim_order(combined, header.author))


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as everybody sees it who has the same events.

    `ready` tells that an open attempt's needs are met. `status` is set once the task ended, by its own result or
    because of its run or its needs; `done` is None in the latter case.
    """

    spec: TaskSpec
    standing: Standing
    ready: bool
    status: Status | None
    done: DoneRecord | None
    reason: str = ""
