"""Environment files against the tests of GitHub's own runner, where they are at hand, and by hand."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from conformance.shared_data import FOLDER, needs_shared_data
from coterie.runner.environment_files import (
    ENV_BLOCKED,
    BadFileCommand,
    EnvironmentFiles,
    key_values,
    paths,
    with_path_added,
)

CONFORMANCE = FOLDER / "runner_file_commands.json"


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(CONFORMANCE.read_text())["cases"] if CONFORMANCE.exists() else []
    return found


@needs_shared_data
def test_all_cases_are_there() -> None:
    assert len(cases()) == 44


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with-bom"])
def test_as_githubs_runner(case: dict[str, Any], mark: bytes, tmp_path: Path) -> None:
    kind = case["file"].removeprefix("GITHUB_").lower()
    files = EnvironmentFiles(tmp_path, 1)
    content = case["content"]
    if content is None:
        files.path(kind).unlink()
    else:
        files.path(kind).write_bytes(mark + content.encode())
    if "error" in case:
        with pytest.raises(BadFileCommand, match=case["error"]):
            key_values(files.text(kind))
        return
    found = dict(key_values(files.text(kind)))
    blocked = {name for name in found if kind == "env" and name in ENV_BLOCKED}
    assert len(blocked) == case.get("issues", 0)
    assert {name: value for name, value in found.items() if name not in blocked} == case["expected"]


@pytest.mark.parametrize("text", ["nothing", "=value", "<<EOF\nx\nEOF", "name<<\nx\n"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(BadFileCommand, match="Invalid format"):
        key_values(text)


def test_a_pair_inside_a_block_is_text() -> None:
    assert key_values("a<<EOF\nb=c\nEOF\n") == [("a", "b=c")]
    assert key_values("a=b<<c\n") == [("a", "b<<c")]


def test_carriage_returns_are_kept() -> None:
    assert key_values("a=b\r\n") == [("a", "b\r")]


def test_paths_come_newest_first_and_once() -> None:
    assert paths("/a\n\n/b\r\n") == ["/a", "/b"]
    assert with_path_added(["/b", "/x"], ["/a", "/b"]) == ["/b", "/a", "/x"]


def test_a_file_that_is_too_large_or_no_file(tmp_path: Path) -> None:
    files = EnvironmentFiles(tmp_path, 1)
    with files.path("step_summary").open("wb") as file:
        file.truncate(1024 * 1024 + 1)
    with pytest.raises(BadFileCommand, match="GITHUB_STEP_SUMMARY is larger than 1048576 bytes"):
        files.text("step_summary")
    files.path("env").unlink()
    os.mkfifo(files.path("env"))
    assert files.text("env") == ""
    files.path("output").unlink()
    files.path("output").mkdir()
    assert files.text("output") == ""
    files.remove()
    assert not files.path("state").exists()
