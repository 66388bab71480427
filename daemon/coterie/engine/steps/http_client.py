"""The HTTP client that steps share, and what an answer that is no success means for a step."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx
from anyio.abc import TaskStatus

from coterie.engine.failures import ErrorClass, StepFailed, class_of_status, parse_retry_after
from coterie.engine.settings import EngineSettings

CONNECTIONS_MAX: Final = 100
IDLE_CONNECTIONS_MAX: Final = 20
IDLE_S: Final = 30.0
REDIRECTS_MAX: Final = 10
REFUSAL_BYTES_MAX: Final = 16 * 1024
"""How much of the body of a refusal is read, to be shown."""
USER_AGENT: Final = "coterie"


class HttpClient:
    """One pool of connections. It keeps no cookies, as the workflows of an engine must not see each other's.

    TLS is verified. Proxies are those of the engine's `env` (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self._client: httpx.AsyncClient | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Opens the pool, and closes it when cancelled."""
        verify = httpx.create_ssl_context()
        limits = httpx.Limits(
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=IDLE_CONNECTIONS_MAX,
            keepalive_expiry=IDLE_S,
        )
        async with httpx.AsyncClient(
            verify=verify,
            limits=limits,
            max_redirects=REDIRECTS_MAX,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": USER_AGENT},
            mounts=_proxies(self.settings, limits, verify),
        ) as client:
            self._client = client
            task_status.started()
            await anyio.sleep_forever()

    @asynccontextmanager
    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[httpx.Response]:
        """The answer to a request (the arguments of `httpx.AsyncClient.stream`), its body not yet read."""
        assert self._client is not None, "resources are opened before they are handed out"
        async with self._client.stream(**request) as response:
            yield response


def timeout_of(connect_s: float, read_s: float) -> httpx.Timeout:
    """Limits for connecting, and for each wait while sending or reading; the step's own timeout bounds the whole."""
    return httpx.Timeout(connect=connect_s, read=read_s, write=read_s, pool=None)


async def refusal(response: httpx.Response, error_class: ErrorClass | None = None) -> StepFailed:
    """The failure that an answer stands for, with the beginning of its body and its Retry-After."""
    body = await _beginning(response)
    status = f"{response.status_code} {response.reason_phrase}".strip()
    url = response.request.url.copy_with(query=None, username=None, password=None)
    if error_class is None:
        error_class = class_of_status(response.status_code) if response.status_code >= 300 else "validation"
    return StepFailed(
        f"{response.request.method} {url} answered {status}", error_class, _retry_after_s(response), detail=body
    )


async def _beginning(response: httpx.Response) -> str:
    body = bytearray()
    try:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > REFUSAL_BYTES_MAX:
                break
    except httpx.TransportError as error:
        return f"(its body could not be read: {error})"
    return bytes(body[:REFUSAL_BYTES_MAX]).decode("utf-8", "replace")


def _retry_after_s(response: httpx.Response) -> float | None:
    """A date in Retry-After is by the server's clock, and so is `Date`."""
    header = response.headers.get("Retry-After")
    if header is None:
        return None
    try:
        now = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        now = datetime.now(UTC)
    return parse_retry_after(header, now.timestamp())


def _proxies(settings: EngineSettings, limits: httpx.Limits, verify: Any) -> dict[str, httpx.AsyncHTTPTransport | None]:
    env = {name.lower(): value for name, value in settings.env.items() if value}
    mounts: dict[str, httpx.AsyncHTTPTransport | None] = {}
    for scheme in ("http", "https"):
        proxy = env.get(f"{scheme}_proxy") or env.get("all_proxy")
        if proxy:
            mounts[f"{scheme}://"] = httpx.AsyncHTTPTransport(proxy=proxy, limits=limits, verify=verify)
    if mounts:
        for host in filter(None, (part.strip() for part in env.get("no_proxy", "").split(","))):
            mounts["all://" if host == "*" else f"all://*{host}" if host.startswith(".") else f"all://{host}"] = None
    return mounts
