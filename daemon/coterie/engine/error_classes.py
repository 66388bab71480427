"""The classes of errors, and the exceptions with which executors and functions name them."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

ErrorClass = Literal[
    "connection",
    "timeout",
    "server",  # the other side says that it is its own fault (HTTP 5xx)
    "temporary",
    "lost",  # the engine died while the attempt ran: tried again always, and not counted
    "validation",
    "authentication",
    "permission",
    "configuration",
    "cancelled",
    "failure",  # anything else
]
ERROR_CLASSES: Final[tuple[ErrorClass, ...]] = get_args(ErrorClass)

MESSAGE_CHARACTERS_MAX: Final = 2_000
DETAIL_CHARACTERS_MAX: Final = 16_000
RETRY_AFTER_S_MAX: Final = 6 * 3600.0
"""As long as urllib3 waits for a server at most; who asks for more is asked again after that."""

# sysexits.h where programs keep to it; 124 is timeout(1), 126 and 127 are the shell's. Death by a signal is a failure.
_EXIT_CODES: Final[Mapping[int, ErrorClass]] = {
    64: "configuration",
    65: "validation",
    69: "temporary",
    75: "temporary",
    77: "permission",
    78: "configuration",
    124: "timeout",
    126: "configuration",
    127: "configuration",
}


class StepFailed(Exception):
    """An attempt failed, and who raises it knows how.

    `retry_after_s`: no try before that many seconds have passed. `detail`: what a person wants to read below the
    message (the end of stderr, an answer's body); None: the traceback; "": nothing.
    """

    def __init__(
        self,
        message: str,
        error_class: ErrorClass = "failure",
        retry_after_s: float | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class: ErrorClass = error_class
        self.retry_after_s = retry_after_s
        self.detail = detail


class TemporaryFailure(StepFailed):
    """It would probably go well a little later."""

    def __init__(self, message: str, retry_after_s: float | None = None, detail: str | None = None) -> None:
        super().__init__(message, "temporary", retry_after_s, detail)


class ValidationFailure(StepFailed):
    """The data is not what it must be; another try would find the same."""

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message, "validation", None, detail)


class ConfigurationFailure(StepFailed):
    """The step cannot work as it is set up; another try would find the same."""

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message, "configuration", None, detail)


class ExitFailed(StepFailed):
    """A program ended with `exit_code`: what a shell would say, or less than 0 for the signal that killed it."""

    def __init__(self, message: str, exit_code: int, detail: str | None = None) -> None:
        super().__init__(message, class_of_exit(exit_code), None, detail)
        self.exit_code = exit_code


def class_of_exit(exit_code: int) -> ErrorClass:
    """What an exit code other than 0 tells: sysexits.h, timeout(1) and the shell's own, else "failure"."""
    return _EXIT_CODES.get(exit_code, "failure")


def class_of_status(status: int) -> ErrorClass:
    """What an HTTP status from 300 on tells: 408, 425 and 429 are worth another try among the 4xx."""
    if status >= 500:
        return "server" if status != 501 else "configuration"
    by_number: Mapping[int, ErrorClass] = {
        401: "authentication",
        403: "permission",
        407: "authentication",
        408: "temporary",
        425: "temporary",
        429: "temporary",
    }
    return by_number.get(status, "validation" if status >= 400 else "configuration")


def parse_retry_after(text: str, now_s: float | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), at most RETRY_AFTER_S_MAX; None if it is garbled.

    `now_s` is Unix time, for headers that hold a date (None: such are not read); one in the past asks for no wait.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Bounded before it is read: a long enough row of digits is refused by int().
        return min(float(text[:20]), RETRY_AFTER_S_MAX)
    if now_s is None:
        return None
    from email.utils import parsedate_to_datetime  # here, for it costs 9 ms of the import

    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(at_s - now_s, 0.0), RETRY_AFTER_S_MAX)


def shortened(text: str, characters_max: int) -> str:
    """The beginning and, three times as long, the end; nothing in it that UTF-8 cannot say."""
    if len(text) > characters_max:
        mark = f"\n... {len(text) - characters_max} characters left out ...\n"
        head = characters_max // 4
        tail = characters_max - head - len(mark)
        text = text[:head] + mark + text[-tail:]
    return text.encode("utf-8", "backslashreplace").decode()
