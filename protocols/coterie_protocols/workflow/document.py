"""The plan blob: a submission as bytes, and a plan as people and scripts read it."""

import json
from typing import Final, NoReturn

from coterie_protocols.errors import BadMessage, UserError
from coterie_protocols.fields import Fields
from coterie_protocols.workflow.document_reader import submission_untrusted
from coterie_protocols.workflow.document_writer import submission_to_value
from coterie_protocols.workflow.model import Submission
from coterie_protocols.workflow.plan_report import PLAN_SCHEMA, plan_to_json

__all__ = ["PLAN_SCHEMA", "decode_submission_untrusted", "plan_to_json", "submission_to_bytes"]

SUBMISSION_BYTES_MAX: Final = 16 * 1024 * 1024
FORMAT: Final = "coterie.submission/1"


def submission_to_bytes(submission: Submission) -> bytes:
    """The submission as canonical JSON: keys sorted, no blanks, UTF-8.

    Raises UserError where it is too large or holds what JSON cannot express (NaN, half a surrogate pair).
    """
    value = {"format": FORMAT, **submission_to_value(submission)}
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode()
    except (ValueError, RecursionError):
        message = f"{submission.plan.file}: its values cannot be written as JSON (NaN, an infinity or broken text)"
        raise UserError(message, "Look at the matrix and the payload of the event") from None
    if len(data) > SUBMISSION_BYTES_MAX:
        message = f"{submission.plan.file}: the plan has {len(data)} bytes; the limit is {SUBMISSION_BYTES_MAX}"
        raise UserError(message, "Use a smaller payload, or move long scripts into files of the source tree")
    return data


def decode_submission_untrusted(data: bytes) -> Submission:
    """The submission that `data` holds. Raises BadMessage, and nothing else, whatever the bytes."""
    if len(data) > SUBMISSION_BYTES_MAX:
        raise BadMessage(f"submission: {len(data)} bytes; the limit is {SUBMISSION_BYTES_MAX}")
    try:
        value: object = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"submission: not JSON: {str(error)[:120]}") from None
    if Fields(value, "submission").raw("format") != FORMAT:
        raise BadMessage(f"submission: not of the format {FORMAT}")
    return submission_untrusted(value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
