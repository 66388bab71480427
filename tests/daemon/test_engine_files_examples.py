"""The files that are delivered as examples do what they say."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coterie.engine.engine import WorkflowEngine
from coterie.engine.files.reader import read_workflow_file
from coterie.engine.model import Json
from coterie.engine.outcome import WorkflowResult
from step_doubles import BACKENDS, run
from web_double import Asked, Reply, web_double

EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "examples"
JSON = {"Content-Type": "application/json"}


def execute(
    name: str, answer: Callable[[Asked], Json], inputs: Callable[[str], Mapping[str, Json]], backend: str
) -> WorkflowResult:
    """What an example comes to; `inputs` are made of the URL of a server that answers so."""

    async def main() -> WorkflowResult:
        async with web_double(lambda asked: Reply(200, JSON, (json.dumps(answer(asked)).encode(),))) as web:
            engine = WorkflowEngine(env={"PATH": "/usr/bin:/bin"})
            engine.add_spec(read_workflow_file(EXAMPLES / f"{name}.yml"))
            async with engine:
                return await engine.execute_workflow(name, inputs(web.url))

    return run(main, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_orders_are_priced(backend: str) -> None:
    orders: Json = [{"id": 1, "amount": 10}, {"id": 2, "amount": 2.5}]
    result = execute("etl", lambda _: orders, lambda url: {"url": url, "currency": "USD"}, backend)
    assert result.errors == {}
    assert result.outputs == {"currency": "USD", "prices": [10.8, 2.7]}


def test_no_orders_are_another_branch() -> None:
    result = execute("etl", lambda _: [], lambda url: {"url": url}, "trio")
    assert result.outputs == {"currency": "EUR", "prices": []}
    assert result.counts["skipped"] == 1


def test_orders_that_are_none_stop_it() -> None:
    result = execute("etl", lambda _: [{"id": "x"}], lambda url: {"url": url}, "trio")
    assert result.status == "failed"
    assert "[0].id: 'x' is not of type 'integer'" in result.errors["check"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_messages_are_sorted(backend: str) -> None:
    def answer(asked: Asked) -> Json:
        prompt = json.loads(asked.body)["messages"][-1]["content"]
        kind = {"kind": "bug" if "not" in prompt else "praise", "urgent": False}
        return {"choices": [{"message": {"content": json.dumps(kind)}}]}

    messages: Json = ["It does not start", "Thank you!"]
    result = execute("triage", answer, lambda url: {"server": url, "messages": messages}, backend)
    assert result.errors == {}
    assert result.outputs == {"sorted": [{"kind": "bug", "urgent": False}, {"kind": "praise", "urgent": False}]}
