"""Steps that run a script: `type: shell`."""

import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticSerializationError, from_json, to_json

from coterie.engine.context import ExecutionContext
from coterie.engine.failures import ConfigurationFailure, ExitFailed, TemporaryFailure, ValidationFailure
from coterie.engine.model import Json
from coterie.engine.spawner import (
    CannotStart,
    Command,
    Exit,
    HeadAndTail,
    LineSplitter,
    Spawner,
    Stream,
    SupervisorLost,
)
from coterie.engine.steps.executor import StepCall, StepExecutor

RESULT_VARIABLE_BYTES_MAX: Final = 8 * 1024
"""Larger results come in the file of all results alone: the kernel bounds an environment."""

RESULT_VARIABLES_BYTES_MAX: Final = 128 * 1024
"""What they may take together."""

INLINE_BYTES_MAX: Final = 1024 * 1024  # as much is written to a file in the event loop, more in a thread
ERROR_LINES_MAX: Final = 50

_SHELLS: Final[Mapping[str, tuple[str, ...]]] = {
    "sh": ("sh", "-e", "-c"),
    "bash": ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"),
}
Text = str | int | float | bool


class ShellConfig(BaseModel):
    """How a `shell` step is configured."""

    model_config = ConfigDict(extra="forbid")

    run: str = Field(min_length=1, description="The script. It ends with the first command that fails (-e).")
    shell: Literal["sh", "bash"] | list[str] = Field(
        "sh", description="The shell, or a program and its arguments: the script is added as the last one."
    )
    env: dict[str, Text] = Field(default_factory=dict, description="More environment variables.")
    cwd: str | None = Field(
        None, description="The folder to run in; relative to the source tree, which it also is without this."
    )
    stdin: Any = Field(None, description="What the script can read: a text, or a value that is given as JSON.")
    result: Literal["text", "json", "lines", "none"] = Field(
        "text",
        description="What the step returns of the script's stdout: its text without the last line break, the value that"
        " it is the JSON of, the list of its lines, or nothing.",
    )
    ok_codes: list[int] = Field(default=[0], min_length=1, description="The exit codes that are a success.")

    @field_validator("env")
    @classmethod
    def _names(cls, env: dict[str, Text]) -> dict[str, Text]:
        for name, value in env.items():
            if not name or "=" in name or "\0" in name or "\0" in str(value):
                raise ValueError(f"cannot have the variable {name!r}: a NUL, no name, or a `=` in it")
        return env

    @field_validator("shell")
    @classmethod
    def _program(cls, shell: str | list[str]) -> str | list[str]:
        if not shell:
            raise ValueError("should name a program")
        return shell


class ShellExecutor(StepExecutor[ShellConfig]):
    """Runs a script; the step's result is what it wrote to stdout, and all that it wrote goes to the log.

    The script finds what its needs returned in the environment: texts as they are and other values as JSON in
    COTERIE_RESULT_FETCH_ROWS (for the step `fetch-rows`) where they are small, and all of them in the JSON file that
    COTERIE_RESULTS names. Prefer these to templates in `run`: what a template inserts, the shell reads as code. The
    environment of this machine is what the engine's settings pass on, and no more.

    When the script has ended, so has everything that it started.
    """

    config_model: ClassVar[type[BaseModel]] = ShellConfig
    _spawner: Spawner | None = None

    async def execute(self, call: StepCall[ShellConfig]) -> Json:
        """Raises ExitFailed with the end of stderr, ConfigurationFailure where there is no such program or folder."""
        config = call.config
        if self._spawner is None:
            self._spawner = await self.services.resources.get(Spawner)
        output = _Output(call, self.services.resources.settings.output_bytes_max)
        async with _environment(call, self.services.resources.settings.env) as env:
            command = Command(
                argv=_argv(config, env),
                env=env,
                cwd=folder_of(call.context, config.cwd),
                stdin=_stdin(config.stdin),
                merged=False,
            )
            exit_ = await _run(self._spawner, command, output)
        if exit_.number not in config.ok_codes:
            raise output.failure(exit_)
        return output.result(config.result)


async def _run(spawner: Spawner, command: Command, output: "_Output") -> Exit:
    try:
        return await spawner.run_command(command, output.take)
    except CannotStart as error:
        if not command.cwd.is_dir():
            raise ConfigurationFailure(f"there is no folder {command.cwd} to run in", detail="") from None
        raise ConfigurationFailure(f"{command.argv[0]} cannot be started: {error}", detail="") from None
    except SupervisorLost as error:
        raise TemporaryFailure(str(error), detail="") from None
    finally:
        output.end()


class _Output:
    """What a script writes: line by line to the log, stdout for the result, the end of stderr for the failure."""

    def __init__(self, call: StepCall[ShellConfig], bytes_max: int) -> None:
        self._log = call.log
        self._beat: Callable[[str], None] | None = None if call.step.heartbeat_timeout_s is None else call.progress
        self._stdout = HeadAndTail(bytes_max)
        self._lines: dict[Stream, LineSplitter] = {}
        self._last: dict[Stream, deque[str]] = {}

    def take(self, stream: Stream, data: bytes) -> None:
        """A piece of output."""
        if stream == 1:
            self._stdout.add(data)
        if stream not in self._lines:
            self._lines[stream] = LineSplitter()
            self._last[stream] = deque(maxlen=ERROR_LINES_MAX)
        for line in self._lines[stream].feed(data):
            self._line(stream, line)
        if self._beat is not None:
            self._beat("")

    def end(self) -> None:
        """There is no more; what does not end with a line break is a line too."""
        for stream, splitter in self._lines.items():
            for line in splitter.end():
                self._line(stream, line)

    def _line(self, stream: Stream, line: str) -> None:
        self._last[stream].append(line)
        self._log(line)

    def result(self, kind: Literal["text", "json", "lines", "none"]) -> Json:
        """The step's result. Raises ValidationFailure for what is no JSON."""
        if kind == "none":
            return None
        if kind == "json":
            return self._json()
        text = self._stdout.value.decode("utf-8", "replace")
        text = text.removesuffix("\n")
        return text if kind == "text" else text.split("\n") if text else []

    def _json(self) -> Json:
        if self._stdout.left_out:
            raise ValidationFailure(
                f"stdout is {self._stdout.left_out} bytes longer than output_bytes_max, so it cannot be read as JSON",
                detail="",
            )
        try:
            return from_json(self._stdout.value)
        except ValueError as error:
            raise ValidationFailure(f"stdout is no JSON: {error}", detail="") from None

    def failure(self, exit_: Exit) -> ExitFailed:
        """What a bad end means: with the last line of stderr (else of stdout), and below it the lines before."""
        lines = list(self._last.get(2) or self._last.get(1) or ())
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        hint = "; if nothing in the script sent it, the kernel may have run out of memory" if exit_.signal == 9 else ""
        message = f"the script ended with {exit_}{hint}" + (f": {last}" if last else "")
        return ExitFailed(message, exit_.number, detail="\n".join(lines))


def folder_of(context: ExecutionContext, cwd: str | None) -> Path:
    """Where a step runs: in the source tree, else in the execution's folder, else where the engine does."""
    home = context.source_dir or context.work_dir or Path(os.getcwd())
    return home / cwd if cwd else home


def _argv(config: ShellConfig, env: Mapping[str, str]) -> tuple[str, ...]:
    words = _SHELLS[config.shell] if isinstance(config.shell, str) else config.shell
    return (_program(words[0], env.get("PATH", os.defpath)), *words[1:], config.run)


@lru_cache(maxsize=64)
def _program(name: str, search_path: str) -> str:
    found = shutil.which(name, path=search_path)
    if found is None:
        raise ConfigurationFailure(f"the program {name!r} is not installed here (searched {search_path})", detail="")
    return os.path.abspath(found)


def _stdin(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else to_json(value)


def as_text(value: Json) -> str:
    """A value as a variable holds it: a text as it is, nothing as nothing, the rest as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value, bytes_mode="base64", inf_nan_mode="constants").decode()


@asynccontextmanager
async def _environment(call: StepCall[ShellConfig], base: Mapping[str, str]) -> AsyncGenerator[dict[str, str]]:
    """The script's variables, and the file of results for as long as they are used."""
    env = {**base, **call.context.environment()}
    own = {name: as_text(value) for name, value in call.config.env.items()}
    if call.context.index is not None:
        env.update(_variables({"COTERIE_ITEM": call.context.item}))
    if not call.results:
        yield {**env, **own}
        return
    try:
        env.update(_variables({_variable(need): value for need, value in call.results.items()}))
        data = to_json(call.results, bytes_mode="base64", inf_nan_mode="constants")
    except PydanticSerializationError as error:
        raise ConfigurationFailure(f"a result that this step needs is no JSON: {error}", detail="") from None
    path = await _in_file(data, call.context.work_dir)
    try:
        yield {**env, "COTERIE_RESULTS": path, **own}
    finally:
        _remove(path)


def _variable(step: str) -> str:
    return "COTERIE_RESULT_" + re.sub("[^A-Z0-9_]", "_", step.upper())


def _variables(values: Mapping[str, Json]) -> dict[str, str]:
    """Those that are small enough."""
    found: dict[str, str] = {}
    room = RESULT_VARIABLES_BYTES_MAX
    for name, value in values.items():
        text = as_text(value)
        size = len(text.encode("utf-8", "surrogatepass"))
        if size <= min(RESULT_VARIABLE_BYTES_MAX, room) and "\0" not in text:
            found[name] = text
            room -= size
    return found


async def _in_file(data: bytes, folder: Path | None) -> str:
    if len(data) > INLINE_BYTES_MAX:
        return await anyio.to_thread.run_sync(_write, data, folder)
    return _write(data, folder)


def _write(data: bytes, folder: Path | None) -> str:
    descriptor, path = tempfile.mkstemp(prefix="results-", suffix=".json", dir=folder)
    with open(descriptor, "wb") as file:
        file.write(data)
    return path


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)  # a script may have removed it
