"""Steps that ask a web server: `type: http`."""

import base64
import json as json_text
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from coterie.engine.failures import ValidationFailure
from coterie.engine.model import Json
from coterie.engine.quantities import PositiveDuration, Size
from coterie.engine.steps.executor import StepCall, StepExecutor
from coterie.engine.steps.http_client import HttpClient, refusal, timeout_of

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing, so they need no idempotency key (RFC 9110, 9.2.1)."""

Text = str | int | float | bool
Status = int | Literal["1xx", "2xx", "3xx", "4xx", "5xx"]

_JSON_TYPE: Final = re.compile(r"application/([\w.+-]+\+)?json")
_TEXT_TYPE: Final = re.compile(r"text/|application/(xml|javascript|x-www-form-urlencoded|yaml|[\w.-]+\+xml)")


class HttpConfig(BaseModel):
    """How an `http` step is configured."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        "GET", description="The method."
    )
    url: str = Field(description="An absolute http or https URL.")
    headers: dict[str, Text] = Field(default_factory=dict, description="Headers of the request.")
    query: dict[str, Text | list[Text] | None] = Field(default_factory=dict, description="Added to the URL's query.")
    json_: Any = Field(None, alias="json", description="A body, sent as JSON.")
    body: str | None = Field(None, description="A body, sent as it is, in UTF-8.")
    form: dict[str, Text] | None = Field(None, description="A body, sent as a web form.")
    expect_status: Status | list[Status] = Field(
        "2xx", description="The status codes that are a success: 200, 2xx, or a list of such."
    )
    result: Literal["auto", "json", "text", "full"] = Field(
        "auto",
        description="What the step returns of the answer: its body as JSON, as text, by its content type (auto), or"
        " status, headers, url and body together (full).",
    )
    max_bytes: Size = Field(BODY_BYTES_MAX, description="The most that the answer's body may have, unpacked.")
    follow_redirects: bool = Field(True, description="Whether redirects are followed, up to 10.")
    connect_timeout: PositiveDuration = Field(10.0, description="How long connecting may take.")
    read_timeout: PositiveDuration = Field(60.0, description="How long the server may be silent.")

    @field_validator("url")
    @classmethod
    def _absolute(cls, url: str) -> str:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"is no URL: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError(f"should begin with http:// or https:// and a host, not {url!r}")
        return url

    @field_validator("headers")
    @classmethod
    def _one_line(cls, headers: dict[str, Text]) -> dict[str, Text]:
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise ValueError(f"cannot have the header {name!r}: that is no name of a header")
            if re.search(r"[\r\n\0]", str(value)):
                raise ValueError(f"cannot have the header '{name}' with a line break in it")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> "HttpConfig":
        given = [
            name for name in ("json", "body", "form") if getattr(self, "json_" if name == "json" else name) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"'{given[0]}' and '{given[1]}' are both given; a request has one body")
        if given and self.method in ("GET", "HEAD", "OPTIONS"):
            raise ValueError(f"'{given[0]}' is given, but a {self.method} has no body; did you mean 'method: POST'?")
        return self

    def request(self, idempotency_key: str) -> dict[str, Any]:
        """The arguments of `HttpClient.stream`."""
        headers = {name: _text(value) for name, value in self.headers.items()}
        given = {name.lower() for name in headers}
        if self.method not in SAFE_METHODS and "idempotency-key" not in given:
            headers["Idempotency-Key"] = idempotency_key
        request: dict[str, Any] = {
            "method": self.method,
            "url": httpx.URL(self.url).copy_merge_params(_query(self.query)) if self.query else self.url,
            "follow_redirects": self.follow_redirects,
            "timeout": timeout_of(self.connect_timeout, self.read_timeout),
        }
        if self.json_ is not None:
            request["content"] = json_text.dumps(self.json_, ensure_ascii=False, allow_nan=False).encode()
            headers = headers if "content-type" in given else {**headers, "Content-Type": "application/json"}
        elif self.body is not None:
            request["content"] = self.body.encode()
        elif self.form is not None:
            request["data"] = {name: _text(value) for name, value in self.form.items()}
        return {**request, "headers": headers}

    def expects(self, status: int) -> bool:
        """Is that status a success?"""
        expected = self.expect_status if isinstance(self.expect_status, list) else [self.expect_status]
        return status in expected or f"{status // 100}xx" in expected


class HttpExecutor(StepExecutor[HttpConfig]):
    """Sends one request. Raises StepFailed for an answer with an unexpected status, with its Retry-After."""

    config_model: ClassVar[type[BaseModel]] = HttpConfig

    async def execute(self, call: StepCall[HttpConfig]) -> Json:
        """What `result` asks for of the answer."""
        config = call.config
        client = await self.services.resources.get(HttpClient)
        async with client.stream(config.request(call.idempotency_key)) as response:
            if not config.expects(response.status_code):
                raise await refusal(response)
            body = await _body(response, config.max_bytes, call)
        return _result(config, response, body)


async def _body(response: httpx.Response, bytes_max: int, call: StepCall[HttpConfig]) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > bytes_max:
            raise ValidationFailure(f"the answer has more than {bytes_max} bytes (max_bytes)", detail="")
        call.progress(f"{len(body)} bytes")
    return bytes(body)


def _result(config: HttpConfig, response: httpx.Response, body: bytes) -> Json:
    match config.result:
        case "json":
            return _json(body)
        case "text":
            return _decoded(response, body)
        case "auto":
            return _by_type(response, body)
        case "full":
            return {
                "status": response.status_code,
                "headers": dict(response.headers),
                "url": str(response.url),
                "body": _by_type(response, body),
            }


def _by_type(response: httpx.Response, body: bytes) -> Json:
    content_type = response.headers.get("Content-Type", "").lower()
    if not body:
        return None
    if _JSON_TYPE.match(content_type):
        return _json(body)
    if _TEXT_TYPE.match(content_type) or not content_type:
        return _decoded(response, body)
    return {"base64": base64.b64encode(body).decode()}


def _json(body: bytes) -> Json:
    try:
        return json_text.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValidationFailure(f"the answer is not JSON: {error}", _start(body)) from None


def _decoded(response: httpx.Response, body: bytes) -> str:
    try:
        return body.decode(response.charset_encoding or "utf-8", "replace")
    except LookupError:  # a charset that nobody knows
        return body.decode("utf-8", "replace")


def _start(body: bytes) -> str:
    return body[:2000].decode("utf-8", "replace")


def _text(value: Text) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _query(query: Mapping[str, Text | list[Text] | None]) -> httpx.QueryParams:
    pairs: list[tuple[str, Text | None]] = []
    for name, value in query.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        pairs += [(name, _text(one)) for one in values]
    return httpx.QueryParams(pairs)
