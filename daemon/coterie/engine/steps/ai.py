"""Steps that ask a language model at any OpenAI-compatible server: `type: ai`."""

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from coterie.engine.failures import ConfigurationFailure, StepFailed, ValidationFailure
from coterie.engine.model import Json
from coterie.engine.quantities import PositiveDuration
from coterie.engine.steps.ai_answer import Answer, read_stream, read_whole
from coterie.engine.steps.ai_budget import Budget, Used
from coterie.engine.steps.executor import StepCall, StepExecutor
from coterie.engine.steps.http_client import HttpClient, refusal, timeout_of

if TYPE_CHECKING:
    from coterie.engine.steps.executor import Services

ANSWER_CHARS_MAX: Final = 4 * 1024 * 1024
SCHEMA_ATTEMPTS_MAX: Final = 20
STEPS_REMEMBERED_MAX: Final = 10_000
"""Of how many steps that failed it is remembered what they used, for their next tries."""

_FENCE: Final = "```"
_NO_LIMITS: Final = Budget.model_validate({})


class Message(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(description="Who says it.")
    content: str | list[dict[str, Any]] = Field(description="A text, or parts (text, images) as the server takes them.")


class AiConfig(BaseModel):
    """How an `ai` step is configured."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field(description="The server's URL up to /chat/completions: http://127.0.0.1:11434/v1")
    model: str = Field(min_length=1, description="The model's name, as the server has it.")
    prompt: str | None = Field(None, description="What is asked.")
    system: str | None = Field(None, description="What the model is told beforehand.")
    messages: list[Message] | None = Field(None, min_length=1, description="A whole conversation, in place of prompt.")
    api_key_env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="The environment variable that holds the key."
    )
    stream: bool = Field(True, description="Whether the answer comes in pieces, each of them a sign of life.")
    json_schema: dict[str, Any] | None = Field(None, description="A JSON Schema that the answer must fit.")
    schema_attempts: int = Field(
        3, ge=1, le=SCHEMA_ATTEMPTS_MAX, description="How often at most it is asked for an answer that fits."
    )
    temperature: float | None = Field(None, ge=0, le=10, description="How much chance there is in the answer.")
    max_tokens: int | None = Field(None, ge=1, description="How long the answer may be, in tokens.")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further members of the request (top_p, seed); null leaves one out."
    )
    budget: Budget | None = Field(None, description="What the step may use up.")
    connect_timeout: PositiveDuration = Field(10.0, description="How long connecting may take.")
    read_timeout: PositiveDuration = Field(300.0, description="How long the server may be silent.")

    @field_validator("base_url")
    @classmethod
    def _absolute(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"should begin with http:// or https://, not {url!r}")
        return url.rstrip("/").removesuffix("/chat/completions")

    @field_validator("json_schema")
    @classmethod
    def _sound(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        from coterie.engine.steps.schema_errors import schema_problem

        problem = None if schema is None else schema_problem(schema)
        if problem is not None:
            raise ValueError(f"is no JSON Schema: {problem}")
        return schema

    @field_validator("extra")
    @classmethod
    def _really_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        own = sorted({"model", "messages", "stream"} & extra.keys())
        if own:
            raise ValueError(f"should not have '{own[0]}', which is a field of its own")
        return extra

    @model_validator(mode="after")
    def _one_question(self) -> "AiConfig":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("exactly one of 'prompt' and 'messages' must be given")
        if self.system is not None and self.messages is not None:
            raise ValueError("'system' goes with 'prompt'; 'messages' have it as a message with 'role: system'")
        return self

    def conversation(self) -> list[dict[str, Json]]:
        """The messages to begin with."""
        if self.messages is not None:
            return [message.model_dump() for message in self.messages]
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": self.prompt}]


class AiExecutor(StepExecutor[AiConfig]):
    """Asks, and asks again for an answer that fits the schema. Returns text or data, usage, model, finish_reason."""

    config_model: ClassVar[type[BaseModel]] = AiConfig

    def __init__(self, services: "Services") -> None:
        super().__init__(services)
        self._used: OrderedDict[str, Used] = OrderedDict()

    async def execute(self, call: StepCall[AiConfig]) -> Json:
        """Raises BudgetUsedUp; ValidationFailure where no answer fits; StepFailed for what the server refuses."""
        used = self._used_before(call.idempotency_key)
        client = await self.services.resources.get(HttpClient)
        question = _Question(client, call, self._headers(call.config, call.idempotency_key), used)
        result = await question.answer()
        self._used.pop(call.idempotency_key, None)
        return result

    def _used_before(self, key: str) -> Used:
        """What earlier tries of the step used; lost with the engine, so a restart gives the step its budget anew."""
        used = self._used.setdefault(key, Used())
        self._used.move_to_end(key)
        if len(self._used) > STEPS_REMEMBERED_MAX:
            self._used.popitem(last=False)
        return used

    def _headers(self, config: AiConfig, key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        if config.api_key_env is None:
            return headers
        secret = self.services.resources.settings.env.get(config.api_key_env, "").strip()
        if not secret:
            message = f"the environment variable {config.api_key_env} (api_key_env) is not set where the engine runs"
            raise ConfigurationFailure(message, detail="")
        return {**headers, "Authorization": f"Bearer {secret}"}


class _Question:
    """One attempt of one step."""

    def __init__(self, client: HttpClient, call: StepCall[AiConfig], headers: dict[str, str], used: Used) -> None:
        self._client = client
        self._call = call
        self._config = call.config
        self._headers = headers
        self._used = used
        self._messages = call.config.conversation()

    async def answer(self) -> Json:
        schema = self._config.json_schema
        answer = await self._ask()
        if schema is None:
            return {"text": answer.text, **self._about(answer)}
        for _ in range(self._config.schema_attempts - 1):
            data, problem = _fitting(answer.text, schema)
            if not problem:
                return {"data": data, **self._about(answer)}
            self._call.log(f"The answer does not fit the schema: {problem}")
            self._messages += _correction(answer.text, problem)
            answer = await self._ask()
        data, problem = _fitting(answer.text, schema)
        if problem:
            times = self._config.schema_attempts
            none = f"none of {times} answers fits" if times > 1 else "the answer does not fit"
            raise ValidationFailure(f"{none} the schema: {problem}", detail=answer.text)
        return {"data": data, **self._about(answer)}

    async def _ask(self) -> Answer:
        budget = self._config.budget or _NO_LIMITS
        chars = len(json.dumps(self._messages, ensure_ascii=False))
        self._used.check(budget, chars)
        answer = Answer()
        self._used.requests += 1
        sent = False
        try:
            async with self._client.stream(self._request(budget, chars)) as response:
                if not response.is_success:
                    raise await _refusal(response)
                sent = True
                answer = await self._read(response, answer)
        finally:
            if sent:  # what broke off was paid for too
                self._used.add(answer.usage, chars, answer.size)
        return answer

    async def _read(self, response: httpx.Response, answer: Answer) -> Answer:
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            await read_stream(response, answer, self._call.progress, ANSWER_CHARS_MAX)
            return answer
        return await read_whole(response, ANSWER_CHARS_MAX)  # some servers do not stream, whatever they are asked

    def _request(self, budget: Budget, chars: int) -> dict[str, Any]:
        config = self._config
        limits = [limit for limit in (config.max_tokens, self._used.tokens_left(budget, chars)) if limit is not None]
        body: dict[str, Any] = {"model": config.model, "messages": self._messages, "stream": config.stream}
        if config.stream:
            body["stream_options"] = {"include_usage": True}
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if limits:
            body["max_tokens"] = min(limits)
        if config.json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": config.json_schema},
            }
        members = {name: value for name, value in {**body, **config.extra}.items() if value is not None}
        return {
            "method": "POST",
            "url": f"{config.base_url}/chat/completions",
            "headers": {**self._headers, "Idempotency-Key": f"{self._call.idempotency_key}/{len(self._messages)}"},
            "content": json.dumps(members, ensure_ascii=False).encode(),
            "timeout": timeout_of(config.connect_timeout, config.read_timeout),
        }

    def _about(self, answer: Answer) -> dict[str, Json]:
        return {
            "usage": self._used.to_json(self._config.budget),
            "model": answer.model or self._config.model,
            "finish_reason": answer.finish_reason,
        }


async def _refusal(response: httpx.Response) -> StepFailed:
    failure = await refusal(response)
    if "insufficient_quota" in (failure.detail or ""):  # a 429 that no waiting helps
        failure.error_class = "permission"
    return failure


def _fitting(text: str, schema: dict[str, Any]) -> tuple[Json, str]:
    """The answer as data, and what is wrong with it in one line, or ''."""
    from coterie.engine.steps.schema_errors import schema_errors, sentence

    try:
        data = json.loads(_unfenced(text))
    except (ValueError, RecursionError) as error:
        return None, f"it is not JSON: {error}"
    errors = schema_errors(schema, data)
    return data, sentence(errors) if errors else ""


def _unfenced(text: str) -> str:
    """Without the code fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text:
        return text.partition("\n")[2].removesuffix(_FENCE)
    return text


def _correction(text: str, problem: str) -> list[dict[str, Json]]:
    asked = (
        f"Your answer does not fit the JSON Schema: {problem}. Answer again, with the corrected JSON and nothing else."
    )
    return [{"role": "assistant", "content": text}, {"role": "user", "content": asked}]
