"""Writes the events of a coterie, each over whatever past a test chooses."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from coterie_protocols.clock import found_coterie
from coterie_protocols.encoding import Cid, Value, cid_of_blob, encode, link
from coterie_protocols.event import DOMAIN, Event, decode_event_untrusted, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.invite import issue_certificate, join_op
from coterie_protocols.ops import (
    Cancel,
    Care,
    Certificate,
    Claim,
    Done,
    Join,
    Op,
    Placement,
    Release,
    Role,
    RunId,
    Status,
    Submit,
    TaskSpec,
)
from coterie_protocols.run import run_id

PLAN = cid_of_blob(bytes(32))
NEVER_MS = 2**50
TAIL = b"\x69signature\x58\x40"


@lru_cache(maxsize=256)
def key(number: int) -> SigningKey:
    """A peer's key, the same in every test run."""
    return SigningKey(number.to_bytes(32, "big"))


def spec(
    id: str,
    *needs: str,
    job: str = "",
    labels: Sequence[str] = (),
    conditional: bool = False,
    continue_on_error: bool = False,
    fail_fast: bool = False,
    max_parallel: int = 0,
) -> TaskSpec:
    """A task; its job is called as it is unless told otherwise."""
    return TaskSpec(id, job or id, needs, tuple(labels), conditional, continue_on_error, fail_fast, max_parallel)


def submit(
    *tasks: TaskSpec,
    priority: float = 3.0,
    retries: int = 0,
    care: Care = "normal",
    placement: Placement = "job",
    workflow: str = "ci.yml",
) -> Submit:
    """A submission, of one task `t` unless told otherwise."""
    return Submit(
        workflow=workflow,
        event="push",
        plan=PLAN,
        source=None,
        inputs={},
        priority=priority,
        placement=placement,
        care=care,
        retries=retries,
        tasks=tasks or (spec("t"),),
    )


def run_of(event: Event, index: int = 0) -> RunId:
    """The run that an event submitted."""
    return run_id(event.cid, index)


def claim(run: RunId, task: str = "t", attempt: int = 1, supersedes: Event | None = None) -> Claim:
    """A claim that consumed nothing."""
    return Claim(run, task, attempt, None if supersedes is None else supersedes.cid, {})


def done(run: RunId, claim: Event, status: Status = "success", *, task: str = "t", attempt: int = 1) -> Done:
    """The result of an attempt."""
    return Done(run, task, attempt, claim.cid, status, {"made": status}, None, 1, 2, "")


def release(run: RunId, claim: Event, *, task: str = "t", attempt: int = 1) -> Release:
    """A claim given up."""
    return Release(run, task, attempt, claim.cid, "why not")


def cancel(run: RunId) -> Cancel:
    """A wish to cancel."""
    return Cancel(run, "enough")


class Pen:
    """One coterie's events in the order of writing, parents first. Authors are numbers: those of their keys."""

    def __init__(self, founder: int = 1) -> None:
        self.genesis = found_coterie(key(founder), "home", bytes(16), 0)
        self.events = [self.genesis]
        self.last: dict[PeerId, Event] = {key(founder).peer_id: self.genesis}
        self.entries: dict[int, Event] = {founder: self.genesis}

    @property
    def coterie(self) -> Cid:
        """The coterie's id."""
        return self.genesis.cid

    def heads(self) -> list[Event]:
        """The newest eight events that have no child yet."""
        named = {cid for event in self.events for cid in event.header.parents}
        return [event for event in reversed(self.events) if event.cid not in named][:8]

    def write(
        self,
        author: int,
        *ops: Op,
        parents: Sequence[Event] | None = None,
        prev: Event | None = None,
        time_ms: int = 1_000,
    ) -> Event:
        """The author's next event: over all heads and its own last event, unless told otherwise."""
        signer = key(author)
        prev = prev or self.last.get(signer.peer_id)
        over = list(dict.fromkeys(event.cid for event in (self.heads() if parents is None else parents)))
        past = [*(self.heads() if parents is None else parents), *([prev] if prev else [])]
        event = write_event(
            signer,
            coterie=self.coterie,
            seq=prev.header.seq + 1 if prev else 1,
            prev=prev.cid if prev else None,
            parents=tuple(over),
            lamport=1 + max(each.header.lamport for each in past),
            time_ms=time_ms,
            ops=ops,
        )
        self.events.append(event)
        self.last[signer.peer_id] = event
        return event

    def certificate(
        self,
        invite: int,
        roles: tuple[Role, ...] = ("submit", "work"),
        *,
        issuer: int = 1,
        uses: int = 1,
        expires_ms: int = NEVER_MS,
        labels: tuple[str, ...] = (),
        coterie: Cid | None = None,
    ) -> Certificate:
        """A certificate for the invite key of that number."""
        return issue_certificate(
            key(issuer),
            coterie=coterie or self.coterie,
            invite=key(invite).peer_id,
            roles=roles,
            labels=labels,
            expires_ms=expires_ms,
            uses=uses,
        )

    def join_with(
        self,
        newcomer: int,
        certificate: Certificate,
        invite: int,
        *,
        parents: Sequence[Event] | None = None,
        time_ms: int = 1_000,
        slots: int = 2,
        labels: tuple[str, ...] = (),
    ) -> Event:
        """A newcomer's first event, over the founder's entry unless told otherwise."""
        op: Join = join_op(
            key(invite),
            certificate,
            newcomer=key(newcomer).peer_id,
            name=f"peer {newcomer}",
            labels=labels,
            slots=slots,
        )
        self.last.pop(key(newcomer).peer_id, None)
        event = self.write(newcomer, op, parents=[self.genesis] if parents is None else parents, time_ms=time_ms)
        self.entries[newcomer] = event
        return event

    def join(
        self,
        newcomer: int,
        *roles: Role,
        issuer: int = 1,
        parents: Sequence[Event] | None = None,
        slots: int = 2,
        labels: tuple[str, ...] = (),
    ) -> Event:
        """A newcomer with an invitation of its own, from the founder unless told otherwise."""
        invite = 1_000 + newcomer
        certificate = self.certificate(invite, roles or ("submit", "work"), issuer=issuer)
        over = [self.entries[issuer]] if parents is None else parents
        return self.join_with(newcomer, certificate, invite, parents=over, slots=slots, labels=labels)


def body_of(event: Event) -> dict[str, Value]:
    """An event's map without the signature, to be spoilt."""
    header = event.header
    decoded = raw_body(event)
    assert decoded["seq"] == header.seq
    return decoded


def raw_body(event: Event) -> dict[str, Value]:
    """The decoded map behind the signed bytes."""
    import libipld

    value: dict[str, Value] = libipld.decode_dag_cbor(bytes((event.data[0] - 1,)) + event.data[1 : -len(TAIL) - 64])
    return value


def seal(signer: SigningKey, body: Mapping[str, Value], *, domain: bytes = DOMAIN) -> bytes:
    """Signs a map as it is, right or wrong, into the bytes of an event."""
    return seal_bytes(signer, encode(body), domain=domain)


def seal_bytes(signer: SigningKey, signed: bytes, *, domain: bytes = DOMAIN) -> bytes:
    """Signs bytes as they are into those of an event."""
    return bytes(((signed[0] + 1) % 256,)) + signed[1:] + TAIL + signer.sign(domain + signed)


def write_unknown(pen: Pen, author: int, ops: Sequence[Value]) -> Event:
    """An event whose ops are maps of the test's own making, over all heads."""
    model = pen.write(author)
    data = seal(key(author), {**raw_body(model), "ops": list(ops)})
    event = decode_event_untrusted(data)
    pen.events[-1] = event
    pen.last[key(author).peer_id] = event
    return event


def links(events: Sequence[Event]) -> list[Value]:
    """The events as links."""
    return [link(event.cid) for event in events]
