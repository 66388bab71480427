"""Ops and certificates as they travel: from dataclasses to maps."""

from coterie_protocols.encoding import Value
from coterie_protocols.ops import Cancel, Certificate, Claim, Done, Genesis, Join, Op, Release, Submit, Unknown


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
