"""What can go wrong with a step, and which of it is worth another try."""

import errno
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from coterie.engine.error_classes import (
    DETAIL_CHARACTERS_MAX,
    ERROR_CLASSES,
    MESSAGE_CHARACTERS_MAX,
    RETRY_AFTER_S_MAX,
    ConfigurationFailure,
    ErrorClass,
    ExitFailed,
    StepFailed,
    TemporaryFailure,
    ValidationFailure,
    class_of_exit,
    class_of_status,
    parse_retry_after,
    shortened,
)
from coterie_protocols.errors import NotAllowed, NotFound, TryLater, UserError

__all__ = [
    "CAUSES_MAX",
    "DETAIL_CHARACTERS_MAX",
    "ERROR_CLASSES",
    "MESSAGE_CHARACTERS_MAX",
    "RETRY_AFTER_S_MAX",
    "Classifier",
    "ConfigurationFailure",
    "ErrorClass",
    "ErrorRule",
    "ExitFailed",
    "Failure",
    "StepFailed",
    "TemporaryFailure",
    "ValidationFailure",
    "class_of_exit",
    "class_of_status",
    "parse_retry_after",
]

OWN_TYPES: Final = frozenset(
    kind.__name__ for kind in (StepFailed, TemporaryFailure, ValidationFailure, ConfigurationFailure, ExitFailed)
)
CAUSES_MAX: Final = 8
"""How far `raise ... from` is followed, and how deep groups of exceptions are looked into."""

# Of several errors at a time the first of these speaks for all: no try helps while one remains that it cannot help.
_WORST_FIRST: Final[tuple[ErrorClass, ...]] = (
    "configuration",
    "permission",
    "authentication",
    "validation",
    "failure",
    "server",
    "temporary",
    "connection",
    "timeout",
    "lost",
    "cancelled",
)

# By full name, along the bases of the exception: none of these is imported just to know its errors. FileNotFoundError,
# ValueError and the like are not here on purpose: whoever asked for retries gets them unless they are surely of no use.
_TYPES: Final[Mapping[str, ErrorClass]] = {
    "builtins.ConnectionError": "connection",
    "builtins.ImportError": "configuration",
    "builtins.NameError": "configuration",
    "builtins.PermissionError": "permission",
    "builtins.SyntaxError": "configuration",
    "builtins.TimeoutError": "timeout",
    "builtins.UnicodeError": "validation",
    "aiohttp.client_exceptions.ClientConnectionError": "connection",
    "anyio.BrokenResourceError": "connection",
    "anyio.EndOfStream": "connection",
    "asyncio.exceptions.CancelledError": "cancelled",
    "asyncio.exceptions.IncompleteReadError": "connection",
    "concurrent.futures._base.CancelledError": "cancelled",
    "http.client.HTTPException": "connection",
    "httpx.InvalidURL": "configuration",
    "httpx.TimeoutException": "timeout",
    "httpx.TransportError": "connection",
    "httpx.UnsupportedProtocol": "configuration",
    "json.decoder.JSONDecodeError": "validation",
    "jsonschema.exceptions.SchemaError": "configuration",
    "jsonschema.exceptions.ValidationError": "validation",
    "pydantic_core._pydantic_core.ValidationError": "validation",
    "requests.exceptions.ConnectionError": "connection",
    "requests.exceptions.Timeout": "timeout",
    "socket.gaierror": "connection",
    "ssl.SSLCertVerificationError": "configuration",
    "ssl.SSLError": "connection",
    "subprocess.TimeoutExpired": "timeout",
    "trio.BrokenResourceError": "connection",
    "trio.Cancelled": "cancelled",
    "trio.TooSlowError": "timeout",
    "urllib.error.URLError": "connection",
}

_ERRNOS: Final[Mapping[int, ErrorClass]] = {
    **dict.fromkeys(
        (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET), "connection"
    ),
    **dict.fromkeys(
        (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS), "temporary"
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETXTBSY), "temporary"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """How one attempt failed. `type_name` is the exception's, `detail` for people; both texts are bounded."""

    error_class: ErrorClass
    message: str
    type_name: str = ""
    detail: str = ""
    retry_after_s: float | None = None

    @property
    def sentence(self) -> str:
        """What failed, for people: a KeyError's message alone says nothing."""
        plain = self.type_name in OWN_TYPES or not self.type_name
        return self.message if plain else f"{self.type_name}: {self.message}".removesuffix(": ")

    def to_json(self) -> dict[str, Any]:
        """As notes and the API have it."""
        wait = {} if self.retry_after_s is None else {"retry_after_s": self.retry_after_s}
        return {
            "class": self.error_class,
            "message": self.message,
            "type": self.type_name,
            "detail": self.detail,
            **wait,
        }


ErrorTest = type[BaseException] | tuple[type[BaseException], ...] | int | str | re.Pattern[str]
ErrorRule = ErrorTest | Callable[[BaseException], bool]


class Classifier:
    """Tells the class of an error. Rules that users add are asked in their order, and before what is built in.

    After them: what a StepFailed says of itself; the status of an HTTP answer; the exit code of a program; the type;
    the errno. An error that none of these knows has the class of its `__cause__` (`raise ... from`: who wrote that
    meant it; a mere `__context__` is chance), and without one it is a "failure". A group of errors has the class of
    the worst, where those that no try helps are worst, and being cancelled along with others counts least.
    """

    def __init__(self) -> None:
        self._rules: list[tuple[Callable[[BaseException], bool], ErrorClass]] = []

    def add(self, rule: ErrorRule, error_class: ErrorClass) -> None:
        """From now on errors that `rule` fits are of that class. Raises UserError for an unknown class.

        A rule is a type (or several), an exit code, a regular expression that is searched in message and detail, or a
        function of the error.
        """
        if error_class not in ERROR_CLASSES:
            raise UserError(f"{error_class!r} is no class of errors", "they are: " + ", ".join(ERROR_CLASSES))
        self._rules.append((_as_test(rule), error_class))

    def classify(self, error: BaseException, now_s: float | None = None) -> Failure:
        """The failure that `error` stands for. `now_s` is Unix time; without it no date is read (Retry-After)."""
        complaints: list[str] = []
        error_class, source = self._find(error, complaints, CAUSES_MAX)
        retry_after_s = _retry_after_s(source, now_s)
        detail = error.detail if isinstance(error, StepFailed) and error.detail is not None else _traceback(error)
        return Failure(
            error_class=error_class,
            message=shortened(_text(error) or type(error).__name__, MESSAGE_CHARACTERS_MAX),
            type_name=type(error).__qualname__,
            detail=shortened("\n".join([detail, *complaints]), DETAIL_CHARACTERS_MAX),
            retry_after_s=retry_after_s,
        )

    def _find(self, error: BaseException, complaints: list[str], depth: int) -> tuple[ErrorClass, BaseException]:
        """The class, and the error that it comes from (`error`, its cause, a member of it)."""
        if by_rule := self._by_rule(error, complaints):
            return by_rule, error
        if depth and (members := _members(error)):
            found = [self._find(member, complaints, depth - 1) for member in members]
            return min(found, key=lambda each: _WORST_FIRST.index(each[0]))
        if built_in := _built_in(error):
            return built_in, error
        if error.__cause__ is not None and depth:
            return self._find(error.__cause__, complaints, depth - 1)
        return "failure", error

    def _by_rule(self, error: BaseException, complaints: list[str]) -> ErrorClass | None:
        for test, error_class in self._rules:
            try:
                if test(error):
                    return error_class
            except Exception as broken:  # noqa: BLE001 - a user's function; it must not hide the error it was asked about
                complaints.append(f"A rule for {error_class!r} errors failed itself: {broken!r}")
        return None


def _members(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _as_test(rule: ErrorRule) -> Callable[[BaseException], bool]:
    match rule:
        case int():
            return lambda error: _exit_code(error) == rule
        case str() | re.Pattern():
            pattern = re.compile(rule)
            return lambda error: pattern.search(_searched_text(error)) is not None
        case type() | tuple():
            return lambda error: isinstance(error, rule)
        case _:
            return rule


def _built_in(error: BaseException) -> ErrorClass | None:
    if isinstance(error, StepFailed):
        return error.error_class
    if isinstance(error, UserError):
        return _of_user_error(error)
    if (status := _http_status(error)) is not None:
        return class_of_status(status)
    if (exit_code := _exit_code(error)) is not None:
        return class_of_exit(exit_code)
    for base in type(error).__mro__:
        if found := _TYPES.get(f"{base.__module__}.{base.__qualname__}"):
            return found
    return _ERRNOS.get(error.errno or 0) if isinstance(error, OSError) else None


def _of_user_error(error: UserError) -> ErrorClass:
    match error:
        case TryLater():
            return "temporary"
        case NotAllowed():
            return "permission"
        case NotFound():
            return "validation"
        case _:
            return "configuration"


def _http_answer(error: BaseException) -> tuple[int, Any] | None:
    """Status and headers as httpx and requests (`.response`), aiohttp (`.status`) and urllib (`.code`) keep them."""
    answer = getattr(error, "response", None)
    if answer is None:  # not `or`: an answer of requests is false when it tells of an error
        answer = error
    headers = getattr(answer, "headers", None)
    if headers is None:
        return None
    for name in ("status_code", "status", "code"):
        status = getattr(answer, name, None)
        if isinstance(status, int) and 300 <= status <= 599:
            return status, headers
    return None


def _http_status(error: BaseException) -> int | None:
    answer = _http_answer(error)
    return None if answer is None else answer[0]


def _exit_code(error: BaseException) -> int | None:
    """Of ExitFailed and of subprocess.CalledProcessError."""
    if isinstance(error, UserError):  # its `exit_code` is that of the command line
        return None
    code = getattr(error, "exit_code", getattr(error, "returncode", None))
    return code if isinstance(code, int) else None


def _retry_after_s(error: BaseException, now_s: float | None) -> float | None:
    if isinstance(error, StepFailed):
        asked = error.retry_after_s
        return None if asked is None else min(max(asked, 0.0), RETRY_AFTER_S_MAX)
    answer = _http_answer(error)
    value = None if answer is None else answer[1].get("Retry-After")
    return parse_retry_after(value, now_s) if isinstance(value, str) else None


def _searched_text(error: BaseException) -> str:
    detail = error.detail if isinstance(error, StepFailed) else None
    return shortened(f"{_text(error)}\n{detail or ''}", DETAIL_CHARACTERS_MAX)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - a user's __str__
        return f"{type(error).__qualname__} (its text failed: {type(broken).__qualname__})"


def _traceback(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, _frames_of_the_user(error.__traceback__))
    return "".join(lines).rstrip()


def _frames_of_the_user(frames: TracebackType | None) -> TracebackType | None:
    """Without the engine's own frames at the top, unless there are no others."""
    rest = frames
    while rest is not None and rest.tb_frame.f_globals.get("__name__", "").startswith(("coterie.engine", "anyio.")):
        rest = rest.tb_next
    return rest or frames
