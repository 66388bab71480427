"""Takes submissions of executions: what the body of a request must be, and who is at the other end."""

import os
import pwd
from contextvars import ContextVar
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import trio
from pydantic import ValidationError
from pydantic_core import to_json

from coterie.control.execution_schemas import ExecutionBody
from coterie.control.problems import RequestRefused, sentence_of
from coterie.control.uploads import Uploads
from coterie.executions.service import Executions, Submission

EXECUTIONS_PATH: Final = "/v1/executions"
LARGE_BODY_BYTES: Final = 256 * 1024
"""A body of more than that is read in a thread."""

PEER_UID: ContextVar[int] = ContextVar("coterie_control_peer_uid")
"""The user at the other end of the connection that is being served."""


class Submitting:
    """Submits what clients send."""

    def __init__(self, executions: Executions, uploads: Uploads) -> None:
        self._executions = executions
        self._uploads = uploads

    async def submit(self, raw: bytes) -> bytes:
        """Accepts and begins what the body of a request asks for; returns coterie.execution/1.

        Raises RequestRefused for a body of another form, and what `Executions.submit` raises.
        """
        if len(raw) > LARGE_BODY_BYTES:
            body = await trio.to_thread.run_sync(read_body, raw)
        else:
            body = read_body(raw)
        source = None if body.source is None else self._uploads.take(body.source)
        try:
            view = await self._executions.submit(
                Submission(body.document, body.inputs, body.key, body.priority, submitter(), source)
            )
        finally:
            if source is not None:
                source.unlink(missing_ok=True)
        return to_json(view)


def read_body(raw: bytes) -> ExecutionBody:
    """The body of a request. Raises RequestRefused."""
    try:
        return ExecutionBody.model_validate_json(raw)
    except ValidationError as error:
        problems = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, sentence_of(problems)) from None


def submitter() -> str:
    """Who is at the other end: `uid:NAME`."""
    uid = PEER_UID.get(os.geteuid())
    return f"{uid}:{_name_of(uid)}"


@lru_cache(maxsize=16)
def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
