"""Keeps what this peer writes within what all accept: an event that others refuse would end its log for ever."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from coterie_protocols.encoding import decode_value_untrusted, encode
from coterie_protocols.errors import BadMessage
from coterie_protocols.op_reading import op_untrusted
from coterie_protocols.op_writing import op_to_value
from coterie_protocols.ops import MS_MAX, OPS_MAX, REASON_CHARS_MAX, Cancel, Claim, Done, Op, Release

OP_BYTES_MAX: Final = 48 * 1024
BATCH_BYTES: Final = 48 * 1024


def objection(op: Op) -> str:
    """Why others would refuse an event with this op, in words for the user; empty if they would not."""
    try:
        data = encode(op_to_value(op))
    except ValueError:
        return "it holds text that is not Unicode, or a number too large"
    if len(data) > OP_BYTES_MAX:
        return f"it takes {len(data)} bytes in the clock; the limit is {OP_BYTES_MAX}"
    try:
        op_untrusted(decode_value_untrusted(data, OP_BYTES_MAX))
    except BadMessage as error:
        return str(error)
    return ""


def acceptable(op: Op) -> Op:
    """The op as others will take it: reasons are cut, and a result that does not fit is a failure that says so.

    A claim whose needs have so many results that naming them does not fit names none of them.
    """
    match op:
        case Release() | Cancel():
            return replace(op, reason=sayable(op.reason))
        case Claim() if objection(op):
            return replace(op, consumed={})
        case Done():
            op = replace(op, reason=sayable(op.reason))
            why = objection(op)
            return _unrecordable(op, why) if why else op
        case _:
            return op


def sayable(reason: str) -> str:
    """A reason as an op can carry it."""
    return reason.encode(errors="replace").decode()[:REASON_CHARS_MAX]


def _unrecordable(op: Done, why: str) -> Done:
    return replace(
        op,
        status="failure",
        outputs={},
        started_ms=min(max(op.started_ms, 0), MS_MAX),
        ended_ms=min(max(op.ended_ms, 0), MS_MAX),
        reason=sayable(f"the result can't be recorded: {why}"),
        jobs=(),
    )


def batches(ops: Iterable[Op]) -> Iterator[tuple[Op, ...]]:
    """Puts ops, made acceptable, into as few events as they fit in; a claim is named by its event, so there is one to
    an event."""
    batch: list[Op] = []
    size = claims = 0
    for op in map(acceptable, ops):
        op_bytes, op_claims = len(encode(op_to_value(op))), int(isinstance(op, Claim))
        if batch and (len(batch) == OPS_MAX or size + op_bytes > BATCH_BYTES or claims + op_claims > 1):
            yield tuple(batch)
            batch, size, claims = [], 0, 0
        batch.append(op)
        size, claims = size + op_bytes, claims + op_claims
    if batch:
        yield tuple(batch)
