"""What shell steps see, and what becomes of what they write."""

import json
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pydantic import ValidationError

from coterie.engine.failures import ConfigurationFailure, ExitFailed, TemporaryFailure, ValidationFailure
from coterie.engine.model import StepSpec
from coterie.engine.settings import EngineSettings
from coterie.engine.steps.shell import RESULT_VARIABLE_BYTES_MAX, ShellConfig, ShellExecutor
from engine_processes import PATH, Bench, alive, backends, number_in, open_bench, run


@backends
def test_the_result_is_the_text_of_stdout(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            result = await bench.execute({"run": "echo ' a'; echo; echo b >&2; echo"}, work_dir=tmp_path)
        assert result == " a\n\n"
        assert sorted(bench.lines) == ["", "", " a", "b"]

    run(backend, main)


@pytest.mark.parametrize(
    ("kind", "script", "result"),
    [
        ("text", "printf 'a\\n\\n'", "a\n"),
        ("text", "true", ""),
        ("lines", "printf 'a\\n\\nb\\n'", ["a", "", "b"]),
        ("lines", "true", []),
        ("json", "echo '{\"rows\": [1, 2.5, null]}'", {"rows": [1, 2.5, None]}),
        ("none", "echo a", None),
    ],
)
def test_kinds_of_results(kind: str, script: str, result: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            assert await bench.execute({"run": script, "result": kind}, work_dir=tmp_path) == result

    run("trio", main)


def test_what_is_no_json_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            with pytest.raises(ValidationFailure, match="stdout is no JSON: expected"):
                await bench.execute({"run": "echo hello", "result": "json"}, work_dir=tmp_path)

    run("trio", main)


@backends
def test_a_failure_has_the_end_of_stderr(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            script = "for i in $(seq 100); do echo line $i >&2; done; echo out; cd /nowhere; echo never"
            with pytest.raises(ExitFailed) as raised:
                await bench.execute({"run": script}, work_dir=tmp_path)
        assert str(raised.value).startswith("the script ended with exit code 2: ")
        assert "nowhere" in str(raised.value)
        assert raised.value.exit_code == 2
        assert raised.value.detail is not None
        assert "line 100\n" in raised.value.detail
        assert "line 50\n" not in raised.value.detail
        assert "never" not in bench.lines

    run(backend, main)


@pytest.mark.parametrize(
    ("script", "error_class", "message"),
    [
        ("exit 75", "temporary", "exit code 75"),
        ("exit 124", "timeout", "exit code 124"),
        ("no-such-program", "configuration", "exit code 127: .*not found"),
        ("exit 1", "failure", "exit code 1$"),
        ("echo why; exit 1", "failure", "exit code 1: why"),
        ("kill -9 $$", "failure", "SIGKILL.*out of memory"),
    ],
)
def test_classes_of_failures(script: str, error_class: str, message: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            with pytest.raises(ExitFailed, match=message) as raised:
                await bench.execute({"run": script}, work_dir=tmp_path)
            assert raised.value.error_class == error_class

    run("trio", main)


def test_other_exit_codes_can_be_a_success(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            config = {"run": "echo two; exit 2", "ok_codes": [0, 2]}
            assert await bench.execute(config, work_dir=tmp_path) == "two"

    run("trio", main)


def test_shells(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            assert await bench.execute({"run": "echo ${BASH:+yes}", "shell": "bash"}, work_dir=tmp_path) == "yes"
            with pytest.raises(ExitFailed):
                await bench.execute({"run": "false | cat", "shell": "bash"}, work_dir=tmp_path)
            python = {"run": "print(1 + 1)", "shell": ["python3", "-c"], "result": "json"}
            assert await bench.execute(python, work_dir=tmp_path) == 2
            with pytest.raises(ConfigurationFailure, match="'no-shell' is not installed here"):
                await bench.execute({"run": "x", "shell": ["no-shell"]}, work_dir=tmp_path)

    run("trio", main)


def test_the_environment_is_the_engines_and_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_PASSED_ON", "x")

    async def main() -> None:
        settings = EngineSettings(env={"PATH": PATH, "FROM_ENGINE": "e", "BOTH": "engine"})
        async with open_bench(ShellExecutor, settings) as bench:
            config = {"run": "env -0 | tr '\\0' '\\n'", "result": "lines", "env": {"BOTH": "step", "N": 3, "YES": True}}
            lines = await bench.execute(config, work_dir=tmp_path, attempt=2, retry_count=1)
        found = dict(line.split("=", 1) for line in lines)
        assert (found["FROM_ENGINE"], found["BOTH"], found["N"], found["YES"]) == ("e", "step", "3", "true")
        assert (found["COTERIE_EXECUTION_ID"], found["COTERIE_ATTEMPT"], found["STEP_KEY"]) == (
            "run-1",
            "2",
            "run-1/one",
        )
        assert "NOT_PASSED_ON" not in found
        assert "COTERIE_RESULTS" not in found

    run("trio", main)


@backends
def test_results_of_needs(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        results = {
            "fetch-rows": {"rows": [1]},
            "name": "Ada L",
            "big": "x" * RESULT_VARIABLE_BYTES_MAX + "y",
            "no": None,
        }
        script = (
            'echo "$COTERIE_RESULT_FETCH_ROWS"; echo "$COTERIE_RESULT_NAME"; echo "${COTERIE_RESULT_BIG-unset}"; '
            'echo "${COTERIE_RESULT_NO-unset}"; cat "$COTERIE_RESULTS"'
        )
        async with open_bench(ShellExecutor) as bench:
            lines = await bench.execute({"run": script, "result": "lines"}, results, work_dir=tmp_path)
        assert lines[:4] == ['{"rows":[1]}', "Ada L", "unset", ""]
        assert json.loads(lines[4]) == results

    run(backend, main)
    assert list(tmp_path.iterdir()) == []


def test_the_item_of_a_map(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            config = {"run": 'echo "$COTERIE_ITEM_INDEX $COTERIE_ITEM"'}
            assert await bench.execute(config, work_dir=tmp_path, item={"a": 1}, index=4) == '4 {"a":1}'

    run("trio", main)


def test_a_result_that_is_no_json_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            with pytest.raises(ConfigurationFailure, match="a result that this step needs is no JSON"):
                await bench.execute({"run": "true"}, {"need": object()}, work_dir=tmp_path)

    run("trio", main)


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)

    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            here: Any = {"source_dir": tmp_path / "tree", "work_dir": tmp_path}
            assert await bench.execute({"run": "pwd"}, **here) == str(tmp_path / "tree")
            assert await bench.execute({"run": "pwd", "cwd": "sub"}, **here) == str(tmp_path / "tree" / "sub")
            assert await bench.execute({"run": "pwd", "cwd": "/"}, **here) == "/"
            assert await bench.execute({"run": "pwd"}) == str(Path.cwd())
            with pytest.raises(ConfigurationFailure, match=r"there is no folder .*/tree/none to run in"):
                await bench.execute({"run": "pwd", "cwd": "none"}, **here)

    run("trio", main)


def test_a_script_that_is_too_long_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            with pytest.raises(ConfigurationFailure, match=r"cannot be started: .*too long"):
                await bench.execute({"run": "#" * 200_000}, work_dir=tmp_path)

    run("trio", main)


def test_stdin(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            assert await bench.execute({"run": "cat", "stdin": "ä\n"}, work_dir=tmp_path) == "ä"
            assert await bench.execute({"run": "cat", "stdin": {"a": [1]}}, work_dir=tmp_path) == '{"a":[1]}'
            assert await bench.execute({"run": "cat"}, work_dir=tmp_path) == ""

    run("trio", main)


def test_output_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        settings = EngineSettings(env={"PATH": PATH}, output_bytes_max=100)
        async with open_bench(ShellExecutor, settings) as bench:
            result = await bench.execute({"run": "seq 1000"}, work_dir=tmp_path)
            assert result.startswith("1\n2\n")
            assert result.endswith("999\n1000")
            assert "bytes left out" in result
            assert len(bench.lines) == 1000
            with pytest.raises(ValidationFailure, match="bytes longer than output_bytes_max"):
                await bench.execute({"run": "echo '['; seq 1000", "result": "json"}, work_dir=tmp_path)

    run("trio", main)


def test_output_is_a_sign_of_life(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            await bench.execute({"run": "echo a"}, work_dir=tmp_path)
            assert bench.beats == []
            step = StepSpec("one", "shell", heartbeat_timeout_s=5)
            await bench.execute({"run": "echo a"}, step=step, work_dir=tmp_path)
            assert bench.beats != []

    run("trio", main)


@backends
def test_cancelled_it_ends_with_all_that_it_started(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        pids: list[int] = []
        async with open_bench(ShellExecutor) as bench:
            begun = time.monotonic()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start, bench)
                pids = [await anyio.to_thread.run_sync(number_in, tmp_path / name) for name in ("child", "pid")]
                tasks.cancel_scope.cancel()
            assert time.monotonic() - begun < 10
            assert not any(alive(pid) for pid in pids)
        assert "up" in bench.lines

    async def start(bench: Bench) -> None:
        script = "sleep 1000 & echo up; echo $! >child; echo $$ >pid; wait"
        await bench.execute({"run": script}, work_dir=tmp_path)

    run(backend, main)


def test_a_lost_supervisor_is_worth_another_try(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(ShellExecutor) as bench:
            with pytest.raises(TemporaryFailure, match="supervises"):
                await bench.execute({"run": "kill -9 $PPID; sleep 1000"}, work_dir=tmp_path)
            assert await bench.execute({"run": "echo on"}, work_dir=tmp_path) == "on"

    run("trio", main)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "run"),
        ({"run": ""}, "run"),
        ({"run": "x", "shell": "fish"}, "shell"),
        ({"run": "x", "shell": []}, "should name a program"),
        ({"run": "x", "env": {"A=B": "x"}}, "cannot have the variable 'A=B'"),
        ({"run": "x", "ok_codes": []}, "ok_codes"),
        ({"run": "x", "rnu": "x"}, "rnu"),
    ],
)
def test_bad_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShellConfig.model_validate(config)
