"""Steps that ask a web server."""

import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest

from coterie.engine.failures import Classifier, StepFailed, ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.settings import EngineSettings
from coterie.engine.steps.factory import StepExecutorFactory
from step_doubles import BACKENDS, Stage, on_stage
from web_double import Asked, Reply, WebDouble, web_double

JSON = {"Content-Type": "application/json; charset=utf-8"}


def ask(
    config: Mapping[str, Json], *replies: Reply, backend: str = "asyncio", path: str = "/"
) -> tuple[Any, WebDouble]:
    """What a step with that config returns, and the server with what it was asked."""
    left = list(replies)

    async def play(stage: Stage) -> tuple[Any, WebDouble]:
        async with web_double(lambda _: left.pop(0)) as web:
            return await stage.execute("http", {"url": web.url + path, **config}), web

    return on_stage(play, backend)


def failure(*replies: Reply, **config: Json) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        ask(config, *replies)
    return caught.value


@pytest.mark.parametrize("backend", BACKENDS)
def test_json_is_returned_as_data_and_text_as_text(backend: str) -> None:
    assert ask({}, Reply(200, JSON, (b'{"a": ', b"[1]}")), backend=backend)[0] == {"a": [1]}
    plain = Reply(200, {"Content-Type": "text/plain; charset=latin-1"}, ("é".encode("latin-1"),))
    assert ask({}, plain, backend=backend)[0] == "é"
    odd = Reply(200, {"Content-Type": "text/plain; charset=klingon"}, (b"x",))
    assert ask({}, odd, backend=backend)[0] == "x"
    assert ask({}, Reply(204), backend=backend)[0] is None
    assert ask({}, Reply(200, {"Content-Type": "image/png"}, (b"\xff\x00",)), backend=backend)[0] == {"base64": "/wA="}


def test_what_is_returned_can_be_chosen() -> None:
    body = Reply(200, {"Content-Type": "text/plain", "X-Page": "2"}, (b"[1, 2]",))
    assert ask({"result": "json"}, body)[0] == [1, 2]
    assert ask({"result": "text"}, Reply(200, JSON, (b"[1]",)))[0] == "[1]"
    full, web = ask({"result": "full"}, body)
    assert full["status"] == 200
    assert full["headers"]["x-page"] == "2"
    assert full["body"] == "[1, 2]"
    assert full["url"] == web.url + "/"


def test_a_request_says_what_the_step_says() -> None:
    config = {
        "method": "PUT",
        "query": {"q": "a b", "n": 3, "on": True, "many": [1, 2], "none": None},
        "headers": {"X-Number": 5},
        "json": {"é": [1.5, None]},
    }
    _, web = ask(config, Reply(), path="/p?fixed=1")
    asked = web.asked[0]
    assert asked.method == "PUT"
    assert asked.target == "/p?fixed=1&q=a+b&n=3&on=true&many=1&many=2"
    assert asked.headers["x-number"] == "5"
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {"é": [1.5, None]}


def test_bodies_of_other_kinds() -> None:
    _, web = ask({"method": "POST", "form": {"a": "x y", "b": False}}, Reply())
    assert web.asked[0].body == b"a=x+y&b=false"
    assert web.asked[0].headers["content-type"] == "application/x-www-form-urlencoded"
    _, web = ask({"method": "POST", "body": "häh", "headers": {"content-type": "text/x"}}, Reply())
    assert web.asked[0].body == "häh".encode()
    assert web.asked[0].headers["content-type"] == "text/x"


def test_what_changes_something_carries_the_idempotency_key() -> None:
    assert ask({"method": "POST"}, Reply())[1].asked[0].headers["idempotency-key"] == "ex-1/it"
    own = ask({"method": "DELETE", "headers": {"Idempotency-Key": "mine"}}, Reply())[1]
    assert own.asked[0].headers["idempotency-key"] == "mine"
    assert "idempotency-key" not in ask({}, Reply())[1].asked[0].headers


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (500, "server"),
        (503, "server"),
        (429, "temporary"),
        (401, "authentication"),
        (403, "permission"),
        (404, "validation"),
    ],
)
def test_the_status_says_whether_another_try_helps(status: int, error_class: str) -> None:
    error = failure(Reply(status, {}, (b"why not",)))
    assert Classifier().classify(error, 0.0).error_class == error_class
    assert "GET http://127.0.0.1:" in str(error)
    assert f"answered {status}" in str(error)
    assert error.detail == "why not"


def test_a_refusal_tells_neither_query_nor_password() -> None:
    async def play(stage: Stage) -> None:
        async with web_double(lambda _: Reply(500)) as web:
            url = web.url.replace("http://", "http://ada:secret@") + "/x?token=secret"
            await stage.execute("http", {"url": url})

    with pytest.raises(StepFailed) as caught:
        on_stage(play, "trio")
    assert "secret" not in str(caught.value)


def test_retry_after_is_honoured_also_as_a_date_by_the_clock_of_the_server() -> None:
    assert failure(Reply(503, {"Retry-After": "7"})).retry_after_s == 7
    dates = {"Date": formatdate(1_000_000, usegmt=True), "Retry-After": formatdate(1_000_030, usegmt=True)}
    assert failure(Reply(429, dates)).retry_after_s == 30
    without_date = failure(Reply(429, {"Retry-After": formatdate(1_000_030, usegmt=True)}))
    assert without_date.retry_after_s == 0, "long past by our own clock"
    assert failure(Reply(429, {"Retry-After": "soon"})).retry_after_s is None


def test_the_statuses_of_a_success_can_be_named() -> None:
    assert ask({"expect_status": [404, "2xx"]}, Reply(404, JSON, (b"1",)))[0] == 1
    assert failure(Reply(201), expect_status=200).error_class == "validation"


def test_a_body_is_bounded_while_it_comes() -> None:
    with pytest.raises(ValidationFailure, match="more than 1000 bytes"):
        ask({"max_bytes": "1kB"}, Reply(200, {}, (b"x" * 600, b"x" * 600)))


def test_every_piece_is_a_sign_of_life() -> None:
    async def play(stage: Stage) -> list[str]:
        async with web_double(lambda _: Reply(200, {}, (b"ab", b"cd"))) as web:
            await stage.execute("http", {"url": web.url})
        return stage.told.progress

    assert on_stage(play, "trio")[-1] == "4 bytes"


def test_garbage_for_json_is_told_with_its_beginning() -> None:
    error = failure(Reply(200, JSON, (b"<html>",)))
    assert error.error_class == "validation"
    assert error.detail == "<html>"


def test_redirects_are_followed_a_few_times() -> None:
    assert ask({}, Reply(302, {"Location": "/next"}), Reply(200, JSON, (b"3",)))[0] == 3
    assert failure(Reply(302, {"Location": "/next"}), follow_redirects=False).error_class == "configuration"
    with pytest.raises(Exception, match="maximum allowed redirects"):
        ask({}, *[Reply(302, {"Location": "/"})] * 20)


def test_a_broken_connection_may_be_tried_again() -> None:
    with pytest.raises(Exception) as caught:
        ask({}, Reply(200, {}, (b"half",), breaks_off=True))
    assert Classifier().classify(caught.value, 0.0).error_class == "connection"


def test_no_cookies_are_kept_between_steps() -> None:
    async def play(stage: Stage) -> list[Asked]:
        async with web_double(lambda _: Reply(200, {"Set-Cookie": "session=1"})) as web:
            await stage.execute("http", {"url": web.url})
            await stage.execute("http", {"url": web.url})
            return web.asked

    assert all("cookie" not in asked.headers for asked in on_stage(play, "asyncio"))


def test_proxies_are_those_of_the_engine() -> None:
    async def play(stage: Stage) -> str:
        async with web_double(lambda _: Reply(200, JSON, (b"1",))) as proxy:
            stage.services.resources.settings = EngineSettings(env={"http_proxy": proxy.url, "NO_PROXY": "inside.test"})
            await stage.execute("http", {"url": "http://outside.test/x"})
            return proxy.asked[0].target

    assert on_stage(play, "trio") == "http://outside.test/x"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "'url' is missing"),
        ({"url": "x"}, "'url' should begin with http:// or https:// and a host, not 'x'"),
        ({"url": "http://"}, "'url' should begin with http:// or https:// and a host, not 'http://'"),
        ({"url": "http://a:port/"}, "'url' is no URL: "),
        ({"url": "http://a", "method": "GO"}, "'method' should be 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH'"),
        ({"url": "http://a", "json": 1}, "'json' is given, but a GET has no body; did you mean 'method: POST'?"),
        ({"url": "http://a", "method": "PUT", "json": 1, "body": ""}, "'json' and 'body' are both given"),
        ({"url": "http://a", "headers": {"A": "b\r\nC: d"}}, "'headers' cannot have the header 'A' with a line break"),
        ({"url": "http://a", "headers": {"A b": ""}}, "'headers' cannot have the header 'A b'"),
        ({"url": "http://a", "expect_status": "7xx"}, "'expect_status' should be"),
        ({"url": "http://a", "max_bytes": "much"}, "'max_bytes' should be a size such as 512MB or 2GiB, not 'much'"),
        ({"url": "http://a", "queri": {}}, "'queri' is not known here; did you mean 'query'?"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    told = StepExecutorFactory.check_step(StepSpec("it", "http", config=config))
    assert len(told) == 1
    assert told[0].startswith(problem)
