"""The frame around the commands: help, completion, lazy imports, pipes."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from control_double import DaemonDouble, served
from coterie.cli.lazy import LazyGroup
from coterie.cli.main import coterie, main, run_command
from coterie.cli.workflow import workflow


@pytest.fixture
def double() -> DaemonDouble:
    return DaemonDouble()


def test_our_own_bug_is_told_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("on purpose")

    assert run_command(broken, as_json=False) == 70
    told = capsys.readouterr().err
    assert "ZeroDivisionError: on purpose" in told
    assert "this is a bug in Coterie" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", shell])
    assert "_COTERIE_COMPLETE" in capsys.readouterr().out


def every_command(command: click.Command = coterie, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    children = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [found for name, child in children if child for found in every_command(child, (*path, name))]


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*path, "--help"])
    shown = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "Example:" in shown
    assert "--json" in shown or path in (("up",), ("completion",))


@pytest.mark.parametrize("group", [coterie, workflow])
def test_a_list_of_commands_says_what_the_commands_say(group: LazyGroup) -> None:
    context = click.Context(group)
    said = {name: str(getattr(group.get_command(context, name), "help", "")) for name in group.where}
    assert {name: line for name, (_, line) in group.where.items() if not said[name].startswith(line[:-1])} == {}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["status"], ["workflow", "--help"]])
def test_nothing_heavy_is_imported(double: DaemonDouble, tmp_path: Path, arguments: list[str]) -> None:
    heavy = ("trio", "pydantic", "fastapi", "libp2p", "rich", "httpx", "asyncio", "structlog", "nacl", "psutil")
    code = (
        "import sys, atexit; from coterie.cli.main import main\n"
        f"atexit.register(lambda: print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr))\n"
        f"main({arguments!r})"
    )
    with served(double, tmp_path) as path:
        environment = {**os.environ, "COTERIE_SOCKET": str(path)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_a_reader_that_leaves_is_no_error(double: DaemonDouble, tmp_path: Path) -> None:
    double.texts["build"] = b"line\n" * 100_000
    with served(double, tmp_path) as path:
        command = f"{sys.executable} -m coterie.cli --socket {path} workflow logs abc build | head -1"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("line\n", "")
