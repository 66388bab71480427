"""Steps that call functions, here or in processes of their own, and that evaluate expressions."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from coterie.engine.context import current_context
from coterie.engine.failures import Classifier, ConfigurationFailure, StepFailed
from coterie.engine.model import StepSpec
from coterie.engine.settings import EngineSettings
from coterie.engine.steps.process import ProcessConfig, ProcessExecutor
from engine_processes import PATH, backends, open_bench, run

ISOLATED = EngineSettings(grace_s=0.5, env={"PATH": PATH}, isolate_functions=True)


def total(rows: list[int], factor: int = 1) -> int:
    return sum(rows) * factor


async def name(greeting: str) -> str:
    return f"{greeting}, {current_context().inputs['name']}"


def process_id() -> int:
    return os.getpid()


FUNCTIONS: dict[str, Callable[..., Any]] = {"total": total, "name": name, "lambda": lambda: 1, "process_id": process_id}


@backends
def test_functions_in_this_process(backend: str) -> None:
    async def main() -> None:
        async with open_bench(ProcessExecutor, functions=FUNCTIONS) as bench:
            assert await bench.execute({"function": "total"}, {"fetch": [1, 2]}) == 3
            assert await bench.execute({"function": "total"}, {"factor": 10, "fetch": [1, 2]}) == 30
            config: dict[str, Any] = {"function": "total", "args": [{"$result": "a"}], "kwargs": {"factor": 2}}
            assert await bench.execute(config, {"a": [5], "b": 1}) == 10
            assert await bench.execute({"function": "name", "args": ["Hello"]}) == "Hello, Ada"
            assert await bench.execute({"function": "process_id"}) == os.getpid()
            item = {"function": "total", "args": [[{"$item": True}, 1]]}
            assert await bench.execute(item, item=4, index=0) == 5
            assert await bench.execute({"function": "total"}, item=[4], index=0) == 4

    run(backend, main)


@backends
def test_functions_in_processes_of_their_own(backend: str, tmp_path: Path) -> None:
    (tmp_path / "etl.py").write_text(
        "from coterie.engine.context import current_context\n"
        "def total(rows, factor=1): return sum(rows) * factor\n"
        "def said(): print('said')\n"
        "def other(): return [current_context().step_id, __import__('os').getpid()]\n"
    )

    async def main() -> None:
        async with open_bench(ProcessExecutor, ISOLATED) as bench:
            here: Any = {"source_dir": tmp_path}
            assert await bench.execute({"function": "etl:total"}, {"fetch": [1, 2]}, **here) == 3
            config: dict[str, Any] = {"function": "etl:total", "args": [{"$result": "a"}]}
            assert await bench.execute(config, {"a": [5], "b": 1}, **here) == 5
            assert bench.beats == []
            heard = StepSpec("one", "process", heartbeat_timeout_s=5)
            assert await bench.execute({"function": "etl:said"}, step=heard, **here) is None
            assert (bench.lines, bench.beats) == (["said"], [""])
            step, pid = await bench.execute({"function": "etl:other"}, **here)
            assert step == "one"
            assert pid != os.getpid()
            with pytest.raises(ConfigurationFailure, match="there is no function 'etl'"):
                await bench.execute({"function": "etl"}, **here)
            with pytest.raises(StepFailed, match="has no function totl; did you mean total") as raised:
                await bench.execute({"function": "etl:totl"}, **here)
            assert raised.value.error_class == "configuration"
            with pytest.raises(StepFailed) as raised:
                await bench.execute({"function": "etl:total"}, {"a": None}, **here)
            assert Classifier().classify(raised.value).type_name == "TypeError"

    run(backend, main)


def test_registered_functions_are_sent_by_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registered_e1.py").write_text("import os\ndef process_id(): return os.getpid()\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    from importlib import import_module

    function = import_module("registered_e1").process_id

    async def main() -> None:
        functions: dict[str, Callable[..., Any]] = {"process_id": function, "lambda": lambda: 1}
        async with open_bench(ProcessExecutor, ISOLATED, functions) as bench:
            assert await bench.execute({"function": "process_id"}) != os.getpid()
            with pytest.raises(ConfigurationFailure, match="it is a lambda; define it with `def`"):
                await bench.execute({"function": "lambda"})

    run("trio", main)


def test_functions_by_import_path_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "by_path_e1.py").write_text("def one(): return 1\ndef two(): return 2\n")
    monkeypatch.setattr(sys, "path", [*sys.path])

    async def main() -> None:
        async with open_bench(ProcessExecutor) as bench:
            assert await bench.execute({"function": "by_path_e1:one"}, source_dir=tmp_path) == 1
            assert await bench.execute({"function": "by_path_e1:two"}, source_dir=tmp_path) == 2
            with pytest.raises(ConfigurationFailure, match="there is no function 'fetch': register it, or write"):
                await bench.execute({"function": "fetch"})
            with pytest.raises(ConfigurationFailure, match="in its own process"):
                await bench.execute({"function": "by_path_e1:two", "python": "/usr/bin/python3"})

    run("trio", main)


def test_references_to_other_steps(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ProcessExecutor, functions=FUNCTIONS) as bench:
            with pytest.raises(ConfigurationFailure, match="an argument names the step 'zzz', which there is not"):
                await bench.execute({"function": "total", "args": [{"$result": "zzz"}]})
            with pytest.raises(ConfigurationFailure, match="nothing is passed for the function's 'rows'"):
                await bench.execute({"function": "total"})
        async with open_bench(ProcessExecutor, ISOLATED) as bench:
            (tmp_path / "etl.py").write_text("def same(*args, **kwargs): return [args, kwargs]\n")
            config: dict[str, Any] = {
                "function": "etl:same",
                "args": [[{"$result": "a"}], {"$value": {"$result": "b"}}],
                "kwargs": {"k": {"deep": {"$result": "a"}}},
            }
            result = await bench.execute(config, {"a": 1}, source_dir=tmp_path)
            assert result == [[[1], {"$result": "b"}], {"k": {"deep": 1}}]

    run("trio", main)


@backends
def test_expressions(backend: str) -> None:
    async def main() -> None:
        results = {"fetch": {"rows": [1, 2, 3]}}
        async with open_bench(ProcessExecutor) as bench:
            assert await bench.execute({"expression": "steps.fetch.result.rows"}, results) == [1, 2, 3]
            assert await bench.execute({"expression": "steps.fetch.result.rows[1] >= vars.level"}, results) is False
            assert await bench.execute({"expression": "${{ inputs.name }} and ${{ item }}"}, item="x") == "Ada and x"
            with pytest.raises(ConfigurationFailure, match="the expression: "):
                await bench.execute({"expression": "fromJSON('{')"})

    run(backend, main)


def test_expressions_that_cannot_be_read_are_problems() -> None:
    step = StepSpec("one", "process")
    assert ProcessExecutor.problems(step, ProcessConfig(expression="1 +"))
    assert not ProcessExecutor.problems(step, ProcessConfig(expression="1 == 1"))
    assert not ProcessExecutor.problems(step, ProcessConfig(function="f"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "exactly one of 'function' and 'expression'"),
        ({"function": "f", "expression": "1"}, "exactly one of 'function' and 'expression'"),
        ({"expression": "1", "args": []}, "'args' goes with 'function'"),
        ({"function": ""}, "function"),
        ({"function": "f", "kwarg": {}}, "kwarg"),
    ],
)
def test_bad_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProcessConfig.model_validate(config)
