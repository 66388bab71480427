"""GITHUB_OUTPUT, GITHUB_ENV, GITHUB_PATH, GITHUB_STATE, GITHUB_STEP_SUMMARY: what a step says through files.

Source: actions/runner, src/Runner.Worker/FileCommandManager.cs.
"""

from pathlib import Path
from typing import Final

FILE_BYTES_MAX = 8 * 1024 * 1024
SUMMARY_BYTES_MAX = 1024 * 1024
KINDS: Final = ("output", "env", "path", "state", "step_summary")
ENV_BLOCKED: Final = frozenset({"NODE_OPTIONS"})


class BadFileCommand(Exception):
    """A step wrote what cannot be read: the step fails with this text."""


def key_values(text: str) -> list[tuple[str, str]]:
    """The pairs of `name=value` lines and `name<<DELIMITER` blocks, in order. Raises BadFileCommand."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        line, at, _ = _line(text, at)
        if not line:
            continue
        heredoc, equals = line.find("<<"), line.find("=")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, _, delimiter = line.partition("<<")
            if not name or not delimiter:
                raise BadFileCommand(f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty")
            value, at = _block(text, at, delimiter)
        elif equals >= 0:
            name, _, value = line.partition("=")
            if not name:
                raise BadFileCommand(f"Invalid format '{line}'. Name must not be empty")
        else:
            raise BadFileCommand(f"Invalid format '{line}'")
        pairs.append((name, value))
    return pairs


def _block(text: str, at: int, delimiter: str) -> tuple[str, int]:
    start = end = at
    while True:
        if at >= len(text):
            raise BadFileCommand(f"Invalid value. Matching delimiter not found '{delimiter}'")
        line, at, ended = _line(text, at)
        if line == delimiter:
            return text[start:end], at
        if not ended:
            raise BadFileCommand("Invalid value. EOF marker missing new line.")
        end = at - 1


def _line(text: str, at: int) -> tuple[str, int, bool]:
    """The line at `at`, where the next begins, and whether a newline ended it."""
    end = text.find("\n", at)
    return (text[at:], len(text), False) if end < 0 else (text[at:end], end + 1, True)


def paths(text: str) -> list[str]:
    """The entries of a GITHUB_PATH file, in order."""
    return [line for line in text.splitlines() if line]


def with_path_added(before: list[str], added: list[str]) -> list[str]:
    """The prepended entries, newest first; one that is added again moves to the front."""
    for entry in added:
        before = [entry, *(other for other in before if other != entry)]
    return before


class EnvironmentFiles:
    """The five files of one step, below `folder`."""

    def __init__(self, folder: Path, step: int) -> None:
        self._paths = {kind: folder / f"{kind}_{step}" for kind in KINDS}
        for path in self._paths.values():
            path.touch(mode=0o600)

    def path(self, kind: str) -> Path:
        """The file of that kind."""
        return self._paths[kind]

    def variables(self) -> dict[str, str]:
        """The variables by which the step finds its files."""
        return {f"GITHUB_{kind.upper()}": str(path) for kind, path in self._paths.items()}

    def text(self, kind: str) -> str:
        """What the step wrote, without a byte order mark; empty if it removed the file. Raises BadFileCommand."""
        path = self._paths[kind]
        bytes_max = SUMMARY_BYTES_MAX if kind == "step_summary" else FILE_BYTES_MAX
        try:
            # A step can put anything there: a folder, a pipe that never ends, a link to a device.
            if not path.is_file():
                return ""
            with path.open("rb") as file:
                data = file.read(bytes_max + 1)
        except OSError as error:
            raise BadFileCommand(f"GITHUB_{kind.upper()} cannot be read: {error}") from None
        if len(data) > bytes_max:
            raise BadFileCommand(f"GITHUB_{kind.upper()} is larger than {bytes_max} bytes")
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")

    def remove(self) -> None:
        """Removes the files; a step that comes later has its own."""
        for path in self._paths.values():
            if path.is_file() or path.is_symlink():
                path.unlink()
