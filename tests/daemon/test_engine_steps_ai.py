"""Steps that ask a language model, against a server that answers as the test says."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from coterie.engine.failures import Classifier, StepFailed, ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.settings import EngineSettings
from coterie.engine.steps.ai_budget import BudgetUsedUp
from coterie.engine.steps.factory import StepExecutorFactory
from step_doubles import BACKENDS, Stage, on_stage
from web_double import Asked, Reply, WebDouble, web_double

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}
ASK: Mapping[str, Json] = {"model": "tiny", "prompt": "Say hello"}
COLOUR = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "red": {"type": "integer", "minimum": 0, "maximum": 255}},
    "required": ["name", "red"],
    "additionalProperties": False,
}


def event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def piece(text: str) -> bytes:
    return event({"model": "tiny-1", "choices": [{"delta": {"content": text}}]})


def streamed(*texts: str, usage: Json = USAGE) -> Reply:
    end = event({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + event({"choices": [], "usage": usage})
    return Reply(200, STREAM, (*map(piece, texts), end, b"data: [DONE]\n\n"))


def whole(text: str, usage: Json = USAGE) -> Reply:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = json.dumps({"model": "tiny-1", "choices": [choice], "usage": usage}).encode()
    return Reply(200, {"Content-Type": "application/json"}, (body,))


def ask(
    config: Mapping[str, Json], *replies: Reply, backend: str = "asyncio", env: Mapping[str, str] | None = None
) -> tuple[Any, WebDouble, Stage]:
    left = list(replies)

    async def play(stage: Stage) -> tuple[Any, WebDouble, Stage]:
        async with web_double(lambda _: left.pop(0)) as web:
            result = await stage.execute("ai", {"base_url": web.url + "/v1", **ASK, **config})
        return result, web, stage

    return on_stage(play, backend, EngineSettings(env=env or {}))


def failure(*replies: Reply, **config: Json) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        ask(config, *replies)
    return caught.value


def body_of(asked: Asked) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(asked.body)
    return body


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_streams_in_and_each_piece_is_a_sign_of_life(backend: str) -> None:
    result, web, stage = ask({}, streamed("Hel", "lo"), backend=backend)
    assert result == {
        "text": "Hello",
        "model": "tiny-1",
        "finish_reason": "stop",
        "usage": {**USAGE, "requests": 1, "estimated": False},
    }
    assert stage.told.progress == ["Hel", "lo"]
    asked = web.asked[0]
    assert asked.target == "/v1/chat/completions"
    assert body_of(asked) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Say hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_stream_may_be_cut_anywhere() -> None:
    joined = b"".join(streamed("grün", "e\nWiese").pieces).replace(b"\n\n", b"\r\n\r\n")
    cut = Reply(200, STREAM, tuple(joined[at : at + 1] for at in range(len(joined))))
    assert ask({}, cut)[0]["text"] == "grüne\nWiese"


def test_comments_and_other_fields_of_a_stream_are_left_out() -> None:
    pieces = (b"\xef\xbb\xbf: keep-alive\n\ndata:\n\nevent: x\nid: 1\n", piece("Hi"), b"\n\n", b"data: [DONE]\n\n")
    assert ask({}, Reply(200, STREAM, pieces))[0]["text"] == "Hi"


def test_servers_that_do_not_stream_are_understood_too() -> None:
    assert ask({}, whole("Hello"))[0]["text"] == "Hello"
    result, web, _ = ask({"stream": False, "temperature": 0, "max_tokens": 7, "extra": {"seed": 1}}, whole("Hello"))
    assert result["usage"]["total_tokens"] == 15
    assert body_of(web.asked[0]) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Say hello"}],
        "stream": False,
        "temperature": 0,
        "max_tokens": 7,
        "seed": 1,
    }


def test_a_conversation_can_be_given_whole_and_a_system_prompt_with_a_prompt() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "t"}]}]
    _, web, _ = ask({"prompt": None, "messages": messages}, streamed("x"))
    assert body_of(web.asked[0])["messages"] == messages
    _, web, _ = ask({"system": "be kind", "extra": {"stream_options": None}}, streamed("x"))
    assert body_of(web.asked[0])["messages"][0] == {"role": "system", "content": "be kind"}
    assert "stream_options" not in body_of(web.asked[0])


def test_the_key_comes_from_the_environment_of_the_engine() -> None:
    _, web, _ = ask({"api_key_env": "MY_KEY"}, streamed("x"), env={"MY_KEY": "s3cret\n"})
    assert web.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "authorization" not in ask({}, streamed("x"))[1].asked[0].headers
    error = failure(api_key_env="MY_KEY")
    assert error.error_class == "configuration"
    assert "MY_KEY" in str(error)


def test_an_answer_that_fits_its_schema_comes_as_data() -> None:
    result, web, _ = ask({"json_schema": COLOUR}, streamed('{"name": "rust",', ' "red": 183}'))
    assert result["data"] == {"name": "rust", "red": 183}
    assert "text" not in result
    sent = body_of(web.asked[0])["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "answer", "schema": COLOUR}}


def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_is_wrong() -> None:
    replies = (
        whole("Sure! It is rust."),
        whole('{"name": "rust", "red": 300}'),
        whole('```json\n{"name": "a", "red": 1}\n```'),
    )
    result, web, stage = ask({"json_schema": COLOUR}, *replies)
    assert result["data"] == {"name": "a", "red": 1}
    assert result["usage"]["requests"] == 3
    assert result["usage"]["total_tokens"] == 45
    last = body_of(web.asked[2])["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "user", "assistant", "user"]
    assert "red: 300 is greater than the maximum of 255" in last[-1]["content"]
    assert "it is not JSON" in stage.told.lines[0]
    keys = [asked.headers["idempotency-key"] for asked in web.asked]
    assert keys == ["ex-1/it/1", "ex-1/it/3", "ex-1/it/5"]


def test_after_so_many_answers_that_do_not_fit_the_step_fails_for_good() -> None:
    error = failure(whole("no"), whole("never"), json_schema=COLOUR, schema_attempts=2)
    assert isinstance(error, ValidationFailure)
    assert str(error).startswith("none of 2 answers fits the schema: it is not JSON")
    assert error.detail == "never"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_that_breaks_off_is_a_lost_connection(backend: str) -> None:
    with pytest.raises(Exception) as torn:
        ask({}, Reply(200, STREAM, (piece("Hel"),), breaks_off=True), backend=backend)
    assert Classifier().classify(torn.value, 0.0).error_class == "connection"
    error = failure(Reply(200, STREAM, (piece("Hel"),)))
    assert error.error_class == "connection"
    assert error.detail == "Hel"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(200, STREAM, (b"data: <html>\n\n",)), "is not JSON"),
        (Reply(200, STREAM, (b"data: [1]\n\n",)), "is no JSON object"),
        (Reply(200, {"Content-Type": "text/html"}, (b"<html>Log in</html>",)), "is not JSON"),
        (Reply(200, {"Content-Type": "application/json"}, (b'{"choices": []}',)), "has no text"),
        (Reply(200, {"Content-Type": "application/json"}, (b'{"choices": [{"message": 5}]}',)), "has no text"),
    ],
)
def test_garbage_is_the_fault_of_the_server(reply: Reply, told: str) -> None:
    error = failure(reply)
    assert error.error_class == "server"
    assert told in str(error)


def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.engine.steps.ai.ANSWER_CHARS_MAX", 100)
    assert "more than 100 characters" in str(failure(streamed("x" * 60, "x" * 60)))
    assert "more than 100 bytes" in str(failure(whole("x" * 60)))
    monkeypatch.setattr("coterie.engine.steps.event_stream.EVENT_CHARS_MAX", 50)
    assert "an event has more than 50 characters" in str(failure(Reply(200, STREAM, (b"data: " + b"x" * 60,))))


def test_errors_within_an_answer_are_told() -> None:
    overloaded = event({"error": {"message": "overloaded", "code": 429}})
    error = failure(Reply(200, STREAM, (piece("Hel"), overloaded)))
    assert str(error) == "the server says: overloaded"
    assert error.error_class == "temporary"
    assert failure(Reply(200, STREAM, (event({"error": "out of memory"}),))).error_class == "server"
    refused = {"choices": [{"message": {"content": None, "refusal": "I will not"}}]}
    error = failure(Reply(200, {"Content-Type": "application/json"}, (json.dumps(refused).encode(),)))
    assert isinstance(error, ValidationFailure)
    too_long = event({"error": {"message": "too long", "type": "invalid_request_error"}})
    assert failure(Reply(200, STREAM, (too_long,))).error_class == "validation"


def test_a_server_that_is_busy_says_when_to_come_back() -> None:
    error = failure(Reply(429, {"Retry-After": "20"}, (b'{"error": {"message": "slow down"}}',)))
    assert (error.error_class, error.retry_after_s) == ("temporary", 20)
    assert failure(Reply(429, {}, (b'{"error": {"code": "insufficient_quota"}}',))).error_class == "permission"
    assert failure(Reply(401)).error_class == "authentication"


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"max_requests": 1}, "1 of 1 requests"),
        ({"max_tokens_total": 60}, "15 of 60 tokens"),
        ({"max_cost": 0.012, "price_per_1k_input": 0.5, "price_per_1k_output": 1.0}, "0.01 of 0.012"),
    ],
)
def test_a_budget_that_is_used_up_ends_the_step_for_good(budget: Json, told: str) -> None:
    error = failure(whole("no"), whole("no"), json_schema=COLOUR, budget=budget)
    assert isinstance(error, BudgetUsedUp)
    assert Classifier().classify(error, 0.0).error_class == "configuration"
    assert told in str(error)


def test_a_budget_bounds_the_length_of_an_answer_and_is_told_with_the_result() -> None:
    budget = {"max_tokens_total": 100, "max_cost": 1, "price_per_1k_input": 2, "price_per_1k_output": 4}
    result, web, _ = ask({"budget": budget, "max_tokens": 1000}, streamed("x"))
    assert 70 < body_of(web.asked[0])["max_tokens"] < 100
    assert result["usage"]["cost"] == 0.04


def test_what_the_server_does_not_count_is_counted_by_length() -> None:
    result, _, _ = ask({}, streamed("x" * 30, usage=None))
    assert result["usage"]["completion_tokens"] == 10
    assert result["usage"]["estimated"] is True
    assert ask({}, whole("x", usage={"prompt_tokens": "many"}))[0]["usage"]["estimated"] is True


def test_tries_of_one_step_share_its_budget() -> None:
    async def play(stage: Stage) -> list[str]:
        told: list[str] = []
        async with web_double(lambda _: Reply(200, STREAM, (piece("He"),))) as web:
            for _ in range(3):
                try:
                    config = {"base_url": web.url, **ASK, "budget": {"max_requests": 2}}
                    await stage.execute("ai", config)
                except StepFailed as error:
                    told.append(type(error).__name__)
        return told

    assert on_stage(play, "trio") == ["StepFailed", "StepFailed", "BudgetUsedUp"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"prompt": None}, "exactly one of 'prompt' and 'messages' must be given"),
        ({"base_url": "localhost"}, "'base_url' should begin with http:// or https://, not 'localhost'"),
        ({"json_schema": {"type": "objekt"}}, "'json_schema' is no JSON Schema: type: "),
        (
            {"prompt": None, "messages": [{"role": "user", "content": "x"}], "system": "s"},
            "'system' goes with 'prompt'",
        ),
        ({"extra": {"stream": False}}, "'extra' should not have 'stream', which is a field of its own"),
        ({"budget": {"max_cost": 1}}, "'budget': 'max_cost' needs 'price_per_1k_input' or 'price_per_1k_output'"),
        ({"schema_attempts": 0}, "'schema_attempts' should be greater than or equal to 1, not 0"),
        ({"api_key_env": "sk-123"}, "'api_key_env' should match"),
    ],
)
def test_mistakes_are_told_before_it_runs(config: Mapping[str, Json], problem: str) -> None:
    given = {"base_url": "http://a/v1/", **ASK, **config}
    told = StepExecutorFactory.check_step(StepSpec("it", "ai", config=given))
    assert len(told) == 1
    assert told[0].startswith(problem)
