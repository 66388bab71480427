"""Problem documents (RFC 9457): what the control socket answers when a request fails, and who is to blame."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from coterie.control.schemas import Problem
from coterie_protocols.errors import UserError

MEDIA_TYPE = "application/problem+json"
EXIT_INTERNAL = 70
EXIT_USAGE = 2
VALIDATION_PROBLEMS_MAX = 10
HTTP_OF_EXIT = {
    2: HTTPStatus.BAD_REQUEST,
    4: HTTPStatus.FORBIDDEN,
    5: HTTPStatus.NOT_FOUND,
    65: HTTPStatus.UNPROCESSABLE_ENTITY,
    75: HTTPStatus.SERVICE_UNAVAILABLE,
}


class RequestRefused(UserError):
    """The request itself is at fault: too large, too slow, malformed. `status` is the HTTP status to answer."""

    code = "bad-request"

    def __init__(self, status: HTTPStatus, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


def problem_of(error: UserError) -> Problem:
    """The problem document of a user's error."""
    given = error.status if isinstance(error, RequestRefused) else None
    status = given or HTTP_OF_EXIT.get(error.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return _problem(status, error.code, error.message, error.hint, error.exit_code)


def problem_of_bug() -> Problem:
    """The problem document of our own bug; what it was stands in the daemon's log alone."""
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "the daemon hit a bug of its own",
        "the daemon's log holds the traceback; please report it",
        EXIT_INTERNAL,
    )


def problem_of_status(status: int, detail: str) -> Problem:
    """The problem document of a plain HTTP error such as an unknown path."""
    return _problem(HTTPStatus(status), "bad-request", detail, "see /v1/openapi.json", EXIT_USAGE)


def sentence_of(problems: Sequence[Mapping[str, Any]]) -> str:
    """What pydantic found wrong with a request, each with its place."""
    told: list[str] = []
    for problem in problems[:VALIDATION_PROBLEMS_MAX]:
        place = cast("tuple[str | int, ...]", problem["loc"])
        told.append(f"{'.'.join(str(part) for part in place)}: {problem['msg']}")
    return "; ".join(told)


def body_of(problem: Problem) -> bytes:
    """The document as bytes."""
    return json.dumps(problem.model_dump(), ensure_ascii=False).encode()


def _problem(status: HTTPStatus, code: str, detail: str, hint: str, exit_code: int) -> Problem:
    return Problem(
        type=f"urn:coterie:problem:{code}",
        title=status.phrase,
        status=status.value,
        code=code,
        detail=detail,
        hint=hint,
        exit_code=exit_code,
    )
