"""Answers of OpenAI-compatible servers (`/chat/completions`), whole or as a stream of pieces."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httpx

from coterie.engine.failures import ErrorClass, StepFailed, ValidationFailure
from coterie.engine.model import Json
from coterie.engine.steps.event_stream import EventStream, EventTooLarge

DETAIL_CHARS_MAX: Final = 2000
DONE: Final = "[DONE]"

Object = Mapping[str, Any]


@dataclass(slots=True)
class Answer:
    """One answer as far as it has come. `usage` is the server's count of tokens, None where it does not count."""

    pieces: list[str] = field(default_factory=list[str])
    size: int = 0
    finish_reason: str = ""
    model: str = ""
    usage: Json = None

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self.pieces)

    def add(self, piece: str, chars_max: int) -> None:
        """Takes a further piece. Raises ValidationFailure where it becomes too much."""
        self.size += len(piece)
        if self.size > chars_max:
            raise ValidationFailure(f"the answer has more than {chars_max} characters", detail="")
        self.pieces.append(piece)


def not_understood(what: str, text: str) -> StepFailed:
    """The server sent what no such server sends: perhaps a proxy's page, so another try may help."""
    return StepFailed(f"the server's answer {what}", "server", detail=text[:DETAIL_CHARS_MAX])


async def read_whole(response: httpx.Response, chars_max: int) -> Answer:
    """An answer that comes in one piece. Raises StepFailed."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > chars_max:
            raise ValidationFailure(f"the answer has more than {chars_max} bytes", detail="")
    document = _object(body.decode("utf-8", "replace"))
    answer = Answer()
    choice = _take(answer, document)
    content = _map(choice.get("message")).get("content")
    if not isinstance(content, str):
        refusal = _map(choice.get("message")).get("refusal")
        if isinstance(refusal, str):
            raise ValidationFailure(f"the model refuses: {refusal}", detail="")
        raise not_understood("has no text in choices[0].message.content", body.decode("utf-8", "replace"))
    answer.add(content, chars_max)
    return answer


async def read_stream(response: httpx.Response, answer: Answer, told: Callable[[str], None], chars_max: int) -> None:
    """Takes a streamed answer into `answer`, each piece to `told` as it comes. Raises StepFailed.

    A stream that ends before the server said that it was finished is a lost connection.
    """
    events = EventStream()
    done = False
    try:
        async for piece in response.aiter_bytes():
            for data in events.feed(piece):
                done = done or data.strip() == DONE
                if not done and data.strip():  # an empty one is a sign of life
                    _take_event(answer, data, told, chars_max)
    except EventTooLarge as error:
        raise not_understood(f"is no stream: {error}", "") from None
    if not (done or answer.finish_reason):
        raise StepFailed("the answer's stream broke off before its end", "connection", detail=answer.text[-2000:])


def _take_event(answer: Answer, data: str, told: Callable[[str], None], chars_max: int) -> None:
    choice = _take(answer, _object(data))
    content = _map(choice.get("delta")).get("content")
    if isinstance(content, str) and content:
        answer.add(content, chars_max)
        told(content)


def _take(answer: Answer, document: Object) -> Object:
    """The first choice; what stands beside it goes into the answer. Raises StepFailed for an error."""
    if document.get("error"):
        raise _error(document["error"])
    if isinstance(document.get("model"), str):
        answer.model = document["model"]
    if document.get("usage"):
        answer.usage = document["usage"]
    choices = document.get("choices")
    choice: Object = _map(cast(list[object], choices)[0]) if isinstance(choices, list) and choices else {}
    if isinstance(choice.get("finish_reason"), str):
        answer.finish_reason = choice["finish_reason"]
    return choice


def _error(error: object) -> StepFailed:
    """What a server says within an answer of status 200."""
    told = _map(error)
    message = str(told.get("message") or error)[:DETAIL_CHARS_MAX]
    code = told.get("code") or told.get("type")
    kind: ErrorClass = "temporary" if code in (429, "rate_limit_exceeded") else "server"
    if code in (400, "invalid_request_error", "context_length_exceeded"):
        kind = "validation"
    return StepFailed(f"the server says: {message}", kind, detail="")


def _object(text: str) -> Object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise not_understood("is not JSON", text) from None
    if not isinstance(value, dict):
        raise not_understood("is no JSON object", text)
    return cast(Object, value)


def _map(value: object) -> Object:
    return cast(Object, value) if isinstance(value, dict) else {}
