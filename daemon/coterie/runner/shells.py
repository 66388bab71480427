"""The command lines that run a script, as GitHub's runner builds them.

Source: actions/runner, src/Runner.Worker/Handlers/ScriptHandlerHelpers.cs and ScriptHandler.cs.
"""

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ARGUMENTS: Final = {
    "bash": "--noprofile --norc -e -o pipefail {0}",
    "sh": "-e {0}",
    "python": "{0}",
    "pwsh": "-command \". '{0}'\"",
    "powershell": "-command \". '{0}'\"",
}
_EXTENSIONS: Final = {"bash": ".sh", "sh": ".sh", "python": ".py", "pwsh": ".ps1", "powershell": ".ps1"}


class BadShell(Exception):
    """The `shell` of a step cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """A program and its arguments; `display` is the line for the log, with `{0}` in the place of the script."""

    argv: tuple[str, ...]
    display: str


def shell_command(shell: str | None, script: Path, search_path: str) -> ShellCommand:
    """How to run `script`. No shell given means bash without pipefail if there is one, else sh. Raises BadShell."""
    if shell is None:
        # GitHub's runner leaves pipefail off unless the workflow says `shell: bash`.
        name = "bash" if shutil.which("bash", path=search_path) else "sh"
        return _command(name, "-e {0}", script, search_path)
    name, _, arguments = shell.strip().partition(" ")
    arguments = arguments.strip() or _ARGUMENTS.get(name, "")
    if "{0}" not in arguments:
        raise BadShell(f"the shell {shell!r} must hold {{0}}, where the path of the script goes")
    return _command(name, arguments, script, search_path)


def write_script(shell: str | None, text: str, folder: Path, name: str) -> Path:
    """Writes a script as UTF-8 without a byte order mark, under the extension that its shell wants."""
    program = (shell or "sh").strip().partition(" ")[0]
    path = folder / f"{name}{_EXTENSIONS.get(program, '')}"
    if program in ("pwsh", "powershell"):
        text = (
            "$ErrorActionPreference = 'stop'\n" + text + "\n"
            "if ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }"
        )
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    return path


def _command(name: str, arguments: str, script: Path, search_path: str) -> ShellCommand:
    program = shutil.which(name, path=search_path)
    if program is None:
        raise BadShell(f"the shell {name!r} is not installed on this peer (searched {search_path})")
    try:
        # The path is put in after the split: it may hold blanks. Within pwsh's quotes it stands in the middle.
        words = [word.replace("{0}", str(script)) for word in shlex.split(arguments)]
    except ValueError as error:
        raise BadShell(f"the shell {name} {arguments!r}: {error}") from None
    return ShellCommand((os.path.abspath(program), *words), f"{program} {arguments}")
