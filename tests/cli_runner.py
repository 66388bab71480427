"""Runs a command in this process, as a shell would see it."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coterie.cli.main import main
from execution_double import ExecutionDouble, executions_served


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """The one document on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def lines(self) -> list[str]:
        """The lines on stdout."""
        return self.out.splitlines()


Cli = Callable[..., Result]


@contextmanager
def cli_for(
    double: ExecutionDouble, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Generator[Cli]:
    """Commands that speak to `double`."""

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        written = capsys.readouterr()
        return Result(int(exit_.value.code or 0), written.out, written.err)

    with executions_served(double, folder) as path:
        monkeypatch.setenv("COTERIE_SOCKET", str(path))
        yield call
