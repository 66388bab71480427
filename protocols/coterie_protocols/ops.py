"""The facts that an event can carry. Reading this file is reading what a coterie can know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NewType, cast

from coterie_protocols.encoding import (
    Cid,
    Value,
    blob_cid_from_text_untrusted,
    event_cid_from_text_untrusted,
)
from coterie_protocols.errors import BadMessage
from coterie_protocols.fields import Fields
from coterie_protocols.identity import PeerId, decode_peer_id_untrusted

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


def certificate_body(certificate: Certificate) -> dict[str, Value]:
    """What the issuer signs, as a map."""
    return {
        "coterie": certificate.coterie,
        "issuer": certificate.issuer,
        "invite": certificate.invite,
        "roles": list(certificate.roles),
        "labels": list(certificate.labels),
        "expires": certificate.expires_ms,
        "uses": certificate.uses,
    }


def certificate_to_value(certificate: Certificate) -> dict[str, Value]:
    """The certificate as it travels."""
    return {**certificate_body(certificate), "signature": certificate.signature.hex()}


def certificate_untrusted(value: object) -> Certificate:
    """The certificate that `value` holds, its signature not yet checked. Raises BadMessage."""
    f = Fields(value, "certificate")
    roles = f.texts("roles", len(ROLES))
    if not roles or not set(roles) <= ROLES:
        raise BadMessage("certificate: unknown role")
    return Certificate(
        coterie=event_cid_from_text_untrusted(f.raw("coterie")),
        issuer=decode_peer_id_untrusted(f.raw("issuer")),
        invite=decode_peer_id_untrusted(f.raw("invite")),
        roles=cast(tuple[Role, ...], roles),
        labels=f.texts("labels", LABELS_MAX),
        expires_ms=f.integer("expires", 0, MS_MAX),
        uses=f.integer("uses", 1, 1_000_000),
        signature=f.hex("signature", 64),
    )


def op_to_value(op: Op) -> dict[str, Value]:
    """The map that stands for `op` in an event."""
    match op:
        case Genesis():
            return {"op": "genesis", "name": op.name, "nonce": op.nonce.hex(), "policy": dict(op.policy)}
        case Join():
            return {
                "op": "join",
                "certificate": certificate_to_value(op.certificate),
                "proof": op.proof.hex(),
                "name": op.name,
                "labels": list(op.labels),
                "slots": op.slots,
            }
        case Submit():
            return _submit_to_value(op)
        case Claim():
            return {
                **_attempt_to_value("claim", op),
                "supersedes": op.supersedes,
                "consumed": dict(op.consumed),
            }
        case Release():
            return {**_attempt_to_value("release", op), "claim": op.claim, "reason": op.reason}
        case Done():
            return _done_to_value(op)
        case Cancel():
            return {"op": "cancel", "run": op.run, "reason": op.reason}
        case Unknown():
            raise ValueError(f"an op of unknown kind {op.kind!r} can't be written")


def _attempt_to_value(kind: str, op: Claim | Release | Done) -> dict[str, Value]:
    return {"op": kind, "run": op.run, "task": op.task, "attempt": op.attempt}


def _submit_to_value(op: Submit) -> dict[str, Value]:
    tasks: list[Value] = [
        {
            "id": task.id,
            "job": task.job,
            "needs": list(task.needs),
            "labels": list(task.labels),
            **({"if": True} if task.conditional else {}),
            **({"coe": True} if task.continue_on_error else {}),
            **({"fail_fast": True} if task.fail_fast else {}),
            **({"max_parallel": task.max_parallel} if task.max_parallel else {}),
        }
        for task in op.tasks
    ]
    return {
        "op": "submit",
        "workflow": op.workflow,
        "event": op.event,
        "plan": op.plan,
        "source": op.source,
        "inputs": dict(op.inputs),
        "priority": op.priority,
        "placement": op.placement,
        "care": op.care,
        "retries": op.retries,
        "tasks": tasks,
    }


def _done_to_value(op: Done) -> dict[str, Value]:
    jobs: list[Value] = [
        {"id": j.id, "status": j.status, "started": j.started_ms, "ended": j.ended_ms} for j in op.jobs
    ]
    return {
        **_attempt_to_value("done", op),
        "claim": op.claim,
        "status": op.status,
        "outputs": dict(op.outputs),
        "log": op.log,
        "started": op.started_ms,
        "ended": op.ended_ms,
        "reason": op.reason,
        **({"jobs": jobs} if jobs else {}),
    }


def op_untrusted(value: object) -> Op:
    """The op that a decoded map holds; an unknown kind becomes `Unknown`. Raises BadMessage."""
    f = Fields(value, "op")
    kind = f.text("op", 32)
    read = _READERS.get(kind)
    return Unknown(kind) if read is None else read(Fields(value, kind))


def _genesis(f: Fields) -> Genesis:
    return Genesis(f.text("name", 64), f.hex("nonce", 16), f.text_map("policy", 32, 256))


def _join(f: Fields) -> Join:
    return Join(
        certificate=certificate_untrusted(f.raw("certificate")),
        proof=f.hex("proof", 64),
        name=f.text("name", 64),
        labels=f.texts("labels", LABELS_MAX),
        slots=f.integer("slots", 0, 10_000),
    )


def _task(value: object) -> TaskSpec:
    f = Fields(value, "task")
    return TaskSpec(
        id=f.text("id"),
        job=f.text("job"),
        needs=f.texts("needs", NEEDS_MAX),
        labels=f.texts("labels", LABELS_MAX),
        conditional=f.has("if") and f.flag("if"),
        continue_on_error=f.has("coe") and f.flag("coe"),
        fail_fast=f.has("fail_fast") and f.flag("fail_fast"),
        max_parallel=f.integer("max_parallel", 0, TASKS_MAX) if f.has("max_parallel") else 0,
    )


def _submit(f: Fields) -> Submit:
    tasks = f.items("tasks", TASKS_MAX, _task)
    ids: set[str] = set()
    jobs: set[str] = set()
    for task in tasks:
        if task.id in ids or not set(task.needs) <= ids | jobs - {task.job}:
            raise BadMessage("submit: tasks are not unique and in an order where needs come first")
        ids.add(task.id)
        jobs.add(task.job)
    if not tasks:
        raise BadMessage("submit: no tasks")
    return Submit(
        workflow=f.text("workflow"),
        event=f.text("event", 64),
        plan=blob_cid_from_text_untrusted(f.raw("plan")),
        source=None if f.raw("source") is None else blob_cid_from_text_untrusted(f.raw("source")),
        inputs=f.text_map("inputs", INPUTS_MAX, OUTPUT_CHARS_MAX),
        priority=f.number("priority", 0.0, 1000.0),
        placement=cast(Placement, f.choice("placement", PLACEMENTS)),
        care=cast(Care, f.choice("care", CARES)),
        retries=f.integer("retries", 0, 100),
        tasks=tasks,
    )


def _run_id(f: Fields) -> RunId:
    return RunId(f.text("run", 32))


def _claim(f: Fields) -> Claim:
    supersedes = f.raw("supersedes")
    return Claim(
        run=_run_id(f),
        task=f.text("task"),
        attempt=f.integer("attempt", 1, ATTEMPT_MAX),
        supersedes=None if supersedes is None else event_cid_from_text_untrusted(supersedes),
        consumed=f.mapping("consumed", NEEDS_MAX, event_cid_from_text_untrusted),
    )


def _release(f: Fields) -> Release:
    return Release(
        run=_run_id(f),
        task=f.text("task"),
        attempt=f.integer("attempt", 1, ATTEMPT_MAX),
        claim=event_cid_from_text_untrusted(f.raw("claim")),
        reason=f.text("reason", REASON_CHARS_MAX),
    )


def _job_report(value: object) -> JobReport:
    f = Fields(value, "job report")
    return JobReport(
        id=f.text("id"),
        status=cast(Status, f.choice("status", STATUSES)),
        started_ms=f.integer("started", 0, MS_MAX),
        ended_ms=f.integer("ended", 0, MS_MAX),
    )


def _done(f: Fields) -> Done:
    log = f.raw("log")
    return Done(
        run=_run_id(f),
        task=f.text("task"),
        attempt=f.integer("attempt", 1, ATTEMPT_MAX),
        claim=event_cid_from_text_untrusted(f.raw("claim")),
        status=cast(Status, f.choice("status", STATUSES)),
        outputs=f.text_map("outputs", OUTPUTS_MAX, OUTPUT_CHARS_MAX),
        log=None if log is None else blob_cid_from_text_untrusted(log),
        started_ms=f.integer("started", 0, MS_MAX),
        ended_ms=f.integer("ended", 0, MS_MAX),
        reason=f.text("reason", REASON_CHARS_MAX),
        jobs=f.items("jobs", TASKS_MAX, _job_report),
    )


def _cancel(f: Fields) -> Cancel:
    return Cancel(run=_run_id(f), reason=f.text("reason", REASON_CHARS_MAX))


_READERS: Final[dict[str, Callable[[Fields], Op]]] = {
    "genesis": _genesis,
    "join": _join,
    "submit": _submit,
    "claim": _claim,
    "release": _release,
    "done": _done,
    "cancel": _cancel,
}
