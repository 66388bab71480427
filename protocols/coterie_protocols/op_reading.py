"""Ops and certificates as they arrive: from maps to dataclasses, every field checked. Raises BadMessage alone."""

from collections.abc import Callable
from typing import Final, cast

from coterie_protocols.encoding import blob_cid_from_text_untrusted, event_cid_from_text_untrusted
from coterie_protocols.errors import BadMessage
from coterie_protocols.fields import Fields
from coterie_protocols.identity import decode_peer_id_untrusted
from coterie_protocols.ops import (
    ATTEMPT_MAX,
    CARES,
    INPUTS_MAX,
    LABELS_MAX,
    MS_MAX,
    NEEDS_MAX,
    OUTPUT_CHARS_MAX,
    OUTPUTS_MAX,
    PLACEMENTS,
    REASON_CHARS_MAX,
    ROLES,
    STATUSES,
    TASKS_MAX,
    Cancel,
    Care,
    Certificate,
    Claim,
    Done,
    Genesis,
    JobReport,
    Join,
    Op,
    Placement,
    Release,
    Role,
    RunId,
    Status,
    Submit,
    TaskSpec,
    Unknown,
)


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
