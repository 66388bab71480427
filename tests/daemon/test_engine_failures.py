"""Of which class an error is."""

import asyncio  # noqa: TID251 - users' errors come from it
import email.message
import errno
import json
import re
import socket
import ssl
import subprocess
import sys
import urllib.error
from typing import Any

import anyio
import httpx
import jsonschema
import pydantic
import pytest
import trio

from coterie.engine.failures import (
    CAUSES_MAX,
    DETAIL_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    RETRY_AFTER_S_MAX,
    Classifier,
    ConfigurationFailure,
    ErrorClass,
    ExitFailed,
    Failure,
    StepFailed,
    TemporaryFailure,
)
from coterie_protocols.errors import InvalidWorkflow, NotAllowed, NotFound, TryLater, UserError

NOW_S = 1_795_284_000.0  # Sat, 21 Nov 2026 18:00:00 GMT


def class_of(error: BaseException, classifier: Classifier | None = None) -> ErrorClass:
    return (classifier or Classifier()).classify(error, NOW_S).error_class


class RequestsConnectionError(OSError):
    """As of a library that need not be installed."""


RequestsConnectionError.__module__, RequestsConnectionError.__qualname__ = "requests.exceptions", "ConnectionError"


class RequestsAnswer:
    """An answer as `requests` has it: false when it tells of an error."""

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code
        self.headers: dict[str, str] = {}

    def __bool__(self) -> bool:
        return self.status_code < 400


class RequestsHTTPError(OSError):
    """An error as `requests` has it."""

    def __init__(self, response: RequestsAnswer) -> None:
        self.response = response


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001
        return caught


def of_pydantic() -> Exception:
    try:
        pydantic.TypeAdapter(int).validate_python("x")
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


def of_json() -> Exception:
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (ConnectionRefusedError("no"), "connection"),
        (BrokenPipeError(), "connection"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "connection"),
        (OSError(errno.EHOSTUNREACH, "no route"), "connection"),
        (httpx.ConnectError("no"), "connection"),
        (RequestsConnectionError("no"), "connection"),
        (urllib.error.URLError("no"), "connection"),
        (trio.BrokenResourceError(), "connection"),
        (anyio.EndOfStream(), "connection"),
        (ssl.SSLError("bad record"), "connection"),
        (asyncio.IncompleteReadError(b"", 4), "connection"),
        (TimeoutError(), "timeout"),
        (OSError(errno.ETIMEDOUT, "slow"), "timeout"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (trio.TooSlowError(), "timeout"),
        (subprocess.TimeoutExpired("sleep", 1.0), "timeout"),
        (OSError(errno.ENOSPC, "full"), "temporary"),
        (OSError(errno.EMFILE, "many files"), "temporary"),
        (BlockingIOError(errno.EAGAIN, "busy"), "temporary"),
        (TryLater("full"), "temporary"),
        (PermissionError(errno.EACCES, "no"), "permission"),
        (NotAllowed("no"), "permission"),
        (of_json(), "validation"),
        (of_pydantic(), "validation"),
        (jsonschema.ValidationError("no"), "validation"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), "validation"),
        (NotFound("no"), "validation"),
        (ModuleNotFoundError("no"), "configuration"),
        (NameError("x"), "configuration"),
        (httpx.UnsupportedProtocol("gopher"), "configuration"),
        (ssl.SSLCertVerificationError("self-signed"), "configuration"),
        (jsonschema.SchemaError("no"), "configuration"),
        (UserError("no"), "configuration"),
        (InvalidWorkflow("no"), "configuration"),
        (asyncio.CancelledError(), "cancelled"),
        (subprocess.CalledProcessError(75, "x"), "temporary"),
        (subprocess.CalledProcessError(-9, "x"), "failure"),
        (ExitFailed("ended with 124", 124), "timeout"),
        (StepFailed("no", "authentication"), "authentication"),
        (RuntimeError("boom"), "failure"),
        (ValueError("boom"), "failure"),
        (OSError("no number"), "failure"),
        (FileNotFoundError(errno.ENOENT, "no"), "failure"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else each,
)
def test_known_errors(error: BaseException, error_class: ErrorClass) -> None:
    assert class_of(error) == error_class


@pytest.mark.parametrize(
    ("status", "error_class"), [(401, "authentication"), (403, "permission"), (422, "validation"), (502, "server")]
)
def test_answers_of_http_clients(status: int, error_class: ErrorClass) -> None:
    request = httpx.Request("GET", "http://localhost/")
    of_httpx = httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))
    of_requests = RequestsHTTPError(RequestsAnswer(status))
    of_urllib = urllib.error.HTTPError("http://localhost/", status, "no", email.message.Message(), None)
    for error in (of_httpx, of_requests, of_urllib):
        assert class_of(error) == error_class
    of_urllib.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Sat, 21 Nov 2026 18:00:30 GMT", 30.0), ("x", None), (None, None), ("99999999", RETRY_AFTER_S_MAX)],
)
def test_retry_after_of_an_answer(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    response = httpx.Response(429, headers=headers)
    error = httpx.HTTPStatusError("no", request=httpx.Request("GET", "http://localhost/"), response=response)
    failure = Classifier().classify(raised(RuntimeError("could not fetch"), error), NOW_S)
    assert (failure.error_class, failure.retry_after_s) == ("temporary", seconds)
    assert failure.message == "could not fetch"


@pytest.mark.parametrize(("asked", "waits"), [(5.0, 5.0), (-5.0, 0.0), (1e9, RETRY_AFTER_S_MAX), (None, None)])
def test_retry_after_of_a_step(asked: float | None, waits: float | None) -> None:
    assert Classifier().classify(TemporaryFailure("busy", asked), NOW_S).retry_after_s == waits


def test_an_object_with_headers_but_no_status_is_no_answer() -> None:
    class Odd(Exception):
        headers: dict[str, str] = {}  # noqa: RUF012
        status = "late"
        code = 7

    assert class_of(Odd()) == "failure"


class Flaky(Exception):
    """Of a user's library."""


class Flakier(Flaky):
    """A kind of it."""


def test_rules_of_users_come_first_and_in_their_order() -> None:
    classifier = Classifier()
    classifier.add(Flakier, "connection")
    classifier.add((Flaky, KeyError), "temporary")
    classifier.add(lambda error: "quota" in str(error), "permission")
    classifier.add(3, "validation")
    classifier.add(r"database is (locked|busy)", "temporary")
    classifier.add(re.compile("OUT OF MEMORY", re.IGNORECASE), "configuration")
    assert class_of(Flakier(), classifier) == "connection"
    assert class_of(Flaky(), classifier) == "temporary"
    assert class_of(KeyError(), classifier) == "temporary"
    assert class_of(TimeoutError("quota"), classifier) == "permission"
    assert class_of(ExitFailed("ended", 3), classifier) == "validation"
    assert class_of(subprocess.CalledProcessError(3, "x"), classifier) == "validation"
    assert class_of(RuntimeError("the database is busy"), classifier) == "temporary"
    assert class_of(ExitFailed("ended", 1, detail="fatal: out of memory"), classifier) == "configuration"
    assert class_of(RuntimeError("boom"), classifier) == "failure"


def test_the_exit_code_of_our_own_command_line_is_no_exit_code_of_a_step() -> None:
    classifier = Classifier()
    classifier.add(UserError("no").exit_code, "temporary")
    assert class_of(UserError("no"), classifier) == "configuration"


def test_a_rule_also_sees_causes_and_members() -> None:
    classifier = Classifier()
    classifier.add(Flaky, "temporary")
    assert class_of(raised(RuntimeError("wrapped"), Flaky()), classifier) == "temporary"
    assert class_of(ExceptionGroup("some", [Flaky()]), classifier) == "temporary"
    classifier.add(ExceptionGroup, "configuration")
    assert class_of(ExceptionGroup("some", [Flaky()]), classifier) == "configuration"


def test_a_rule_for_an_unknown_class_is_refused() -> None:
    unknown: Any = "flaky"
    with pytest.raises(UserError, match="'flaky' is no class of errors") as caught:
        Classifier().add(Flaky, unknown)
    assert "temporary" in caught.value.hint


def test_a_rule_that_fails_does_not_hide_the_error() -> None:
    classifier = Classifier()
    classifier.add(lambda error: bool(error.args[7]), "temporary")
    classifier.add(ValueError, "validation")
    failure = classifier.classify(ValueError("boom"), NOW_S)
    assert (failure.error_class, failure.message) == ("validation", "boom")
    assert "A rule for 'temporary' errors failed itself: IndexError" in failure.detail


def test_causes_count_and_mere_context_does_not() -> None:
    assert class_of(raised(RuntimeError("x"), PermissionError())) == "permission"
    assert class_of(raised(StepFailed("x"), PermissionError())) == "failure"
    error = RuntimeError()
    try:
        try:
            raise PermissionError
        except PermissionError:
            raise RuntimeError("while cleaning up")  # noqa: B904
    except RuntimeError as caught:
        error = caught
    assert class_of(error) == "failure"


def test_causes_are_followed_only_so_far() -> None:
    error: BaseException = PermissionError()
    for _ in range(CAUSES_MAX):
        error = raised(RuntimeError(), error)
    assert class_of(error) == "permission"
    assert class_of(raised(RuntimeError(), error)) == "failure"


def test_the_worst_of_a_group_speaks_for_it() -> None:
    assert class_of(ExceptionGroup("one", [TimeoutError()])) == "timeout"
    assert class_of(ExceptionGroup("two", [TimeoutError(), PermissionError(), ConnectionError()])) == "permission"
    assert class_of(ExceptionGroup("two", [TimeoutError(), RuntimeError()])) == "failure"
    assert class_of(BaseExceptionGroup("two", [asyncio.CancelledError(), TimeoutError()])) == "timeout"
    nested = BaseExceptionGroup("a", [BaseExceptionGroup("b", [raised(RuntimeError(), ImportError())]), TimeoutError()])
    assert class_of(nested) == "configuration"


def test_the_traceback_begins_with_the_users_code() -> None:
    engine: dict[str, Any] = {"__name__": "coterie.engine.driver"}
    exec(compile("def call(f):\n    f()\n", "driver.py", "exec"), engine)

    def boom() -> None:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError) as caught:
        engine["call"](boom)
    caught.value.__traceback__ = caught.value.__traceback__ and caught.value.__traceback__.tb_next
    failure = Classifier().classify(caught.value, NOW_S)
    assert "driver.py" not in failure.detail
    assert failure.detail.startswith("Traceback (most recent call last):")
    assert "in boom" in failure.detail
    assert failure.detail.endswith("RuntimeError: boom")
    assert failure.type_name == "RuntimeError"


def test_a_traceback_of_the_engine_alone_is_kept() -> None:
    engine: dict[str, Any] = {"__name__": "coterie.engine.driver"}
    exec(compile("def fail():\n    raise RuntimeError('boom')\n", "driver.py", "exec"), engine)
    with pytest.raises(RuntimeError) as caught:
        engine["fail"]()
    caught.value.__traceback__ = caught.value.__traceback__ and caught.value.__traceback__.tb_next
    assert "driver.py" in Classifier().classify(caught.value, NOW_S).detail


def test_details_of_a_step_stand_for_the_traceback() -> None:
    assert Classifier().classify(raised(ExitFailed("it ended", 1, detail="no such table")), NOW_S).detail == (
        "no such table"
    )
    assert Classifier().classify(raised(ConfigurationFailure("no", detail="")), NOW_S).detail == ""
    assert "Traceback" in Classifier().classify(raised(ConfigurationFailure("no")), NOW_S).detail


def test_texts_are_bounded_and_never_empty() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise KeyError

    failure = Classifier().classify(StepFailed("m" * 10_000, detail="\udcff" + "d" * 100_000), NOW_S)
    assert len(failure.message) == MESSAGE_CHARACTERS_MAX
    assert DETAIL_CHARACTERS_MAX <= len(failure.detail) <= DETAIL_CHARACTERS_MAX + 10
    failure.detail.encode()
    assert Classifier().classify(RuntimeError(), NOW_S).message == "RuntimeError"
    assert Classifier().classify(Broken(), NOW_S).message.endswith("Broken (its text failed: KeyError)")


def test_json_of_a_failure() -> None:
    failure = Failure("temporary", "busy", "TemporaryFailure", "see below", 3.0)
    assert json.loads(json.dumps(failure.to_json())) == {
        "class": "temporary",
        "message": "busy",
        "type": "TemporaryFailure",
        "detail": "see below",
        "retry_after_s": 3.0,
    }
    assert "retry_after_s" not in Failure("failure", "boom").to_json()


def test_it_imports_no_http_client() -> None:
    code = "import sys, coterie.engine.failures; print('httpx' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "False\n"
