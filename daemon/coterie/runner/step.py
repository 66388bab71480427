"""Runs one step: what a `run` or `uses` comes to, without any knowledge of the steps before and after."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from coterie.runner.environment_files import (
    ENV_BLOCKED,
    BadFileCommand,
    EnvironmentFiles,
    key_values,
    paths,
)
from coterie.runner.masks import Masker
from coterie.runner.process import CannotStart, Command, Exit, JobProcesses, SupervisorLost
from coterie.runner.shells import BadShell, shell_command, write_script
from coterie.runner.workflow_commands import CommandReader
from coterie.runner.workspace import Workspace
from coterie.source_tree import unpack_source
from coterie_protocols.errors import BadMessage

OUTPUTS_MAX = 1_000


class StepFailed(Exception):
    """The step cannot go on; the text is the error for the log."""


@dataclass(slots=True)
class StepEffects:
    """What a step leaves to the steps after it."""

    outputs: dict[str, str] = field(default_factory=dict[str, str])
    env: dict[str, str] = field(default_factory=dict[str, str])
    path: list[str] = field(default_factory=list[str])
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A `run` step, all templates evaluated. `folder` is absolute."""

    text: str
    shell: str | None
    folder: Path
    env: Mapping[str, str]


class StepRunner:
    """Runs the steps of one attempt, one after the other."""

    def __init__(
        self,
        workspace: Workspace,
        processes: JobProcesses,
        masker: Masker,
        write: Callable[[str], None],
    ) -> None:
        self._workspace = workspace
        self._processes = processes
        self._masker = masker
        self._write = write
        self._count = 0

    async def run_script(self, script: Script, effects: StepEffects, inputs_shown: Mapping[str, str]) -> None:
        """Runs a script to its end; `effects` grows even if it fails, or is cancelled. Raises StepFailed."""
        self._count += 1
        files = EnvironmentFiles(self._workspace.files, self._count)
        env = {**script.env, **files.variables()}
        reader = CommandReader(self._write, self._masker, env)
        try:
            command = self._command(script, env, inputs_shown)
            exit_ = await self._execute(command, reader)
        finally:
            _collect(files, reader, effects)
            files.remove()
        if not exit_.ok:
            raise StepFailed(_describe(exit_))
        if reader.effects.errors:
            raise StepFailed(reader.effects.errors[0])
        if effects.error is not None:
            raise StepFailed(effects.error)

    def _command(self, script: Script, env: Mapping[str, str], shown: Mapping[str, str]) -> Command:
        path = write_script(script.shell, script.text, self._workspace.files, f"script_{self._count}")
        try:
            shell = shell_command(script.shell, path, env.get("PATH", ""))
        except BadShell as error:
            raise StepFailed(str(error)) from None
        self._write(f"shell: {shell.display}")
        _write_env(self._write, shown)
        self._write("##[endgroup]")
        if not script.folder.is_dir():
            raise StepFailed(f"the working directory {script.folder} does not exist")
        return Command(shell.argv, env, script.folder)

    async def _execute(self, command: Command, reader: CommandReader) -> Exit:
        try:
            return await self._processes.run(command, reader.line)
        except (CannotStart, SupervisorLost) as error:
            raise StepFailed(str(error)) from None

    async def run_checkout(self, source: Path | None, folder: str) -> None:
        """Unpacks the submitted tree into the workspace, or a folder below it. Raises StepFailed."""
        self._write("##[endgroup]")
        if source is None:
            raise StepFailed("the run was submitted without a source tree, so there is nothing to check out")
        dest = self._workspace.source / folder
        if not dest.resolve().is_relative_to(self._workspace.source.resolve()):
            raise StepFailed(f"path {folder!r} lies outside the workspace")
        try:
            count = await trio.to_thread.run_sync(_unpack, source, dest)
        except BadMessage as error:
            raise StepFailed(str(error)) from None
        except OSError as error:
            raise StepFailed(f"cannot unpack the source tree: {error}") from None
        self._write(f"Unpacked {count} files into {dest}")


def _unpack(source: Path, dest: Path) -> int:
    return unpack_source(source, dest, checkpoint=trio.from_thread.check_cancelled)


def _collect(files: EnvironmentFiles, reader: CommandReader, effects: StepEffects) -> None:
    """Reads what the step said in its files and commands; commands that came late are read no more."""
    effects.outputs.update(reader.effects.outputs)
    effects.env.update(reader.effects.env)
    effects.path.extend(reader.effects.path)
    try:
        effects.outputs.update(key_values(files.text("output")))
        key_values(files.text("state"))  # no action keeps state yet, but what is malformed fails here as there
        files.text("step_summary")
        for name, value in key_values(files.text("env")):
            if name.upper() in ENV_BLOCKED:
                effects.error = f"Can't store {name} output parameter using '$GITHUB_ENV' command."
            else:
                effects.env[name] = value
        effects.path.extend(paths(files.text("path")))
    except BadFileCommand as error:
        effects.error = f"Unable to process file command: {error}"
    if len(effects.outputs) > OUTPUTS_MAX:
        effects.error = f"more than {OUTPUTS_MAX} outputs"
        effects.outputs = {}


def _write_env(write: Callable[[str], None], env: Mapping[str, str]) -> None:
    if env:
        write("env:")
        for name, value in env.items():
            write(f"  {name}: {value}")


def _describe(exit_: Exit) -> str:
    if exit_.signal is None:
        return f"Process completed with exit code {exit_.code}."
    hint = ""
    if exit_.signal == signal.SIGKILL:
        hint = " If nothing in the step sent it, the kernel may have run out of memory."
    return f"Process ended by {exit_}.{hint}"


def step_title(name: str | None, text: str) -> str:
    """What the log calls a step: its name, else `Run ` and the first line of what it runs."""
    return name or "Run " + next(iter(text.strip().splitlines()), "")
