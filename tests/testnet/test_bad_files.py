"""Workflow files that are none: each told with its place, and none reaches a daemon."""

from pathlib import Path

import pytest

from coterie.founding import found
from real_daemon import Daemon, coterie, daemons

QUICK = "on: push\njobs: {quick: {runs-on: ubuntu-latest, steps: [{run: echo done}]}}\n"
EXIT_INVALID = 65


def _many_jobs(count: int) -> str:
    return "on: push\njobs:\n" + "".join(
        f"  j{number}: {{runs-on: ubuntu-latest, steps: [{{run: 'true'}}]}}\n" for number in range(count)
    )


CYCLE = """on: push
jobs:
  a: {needs: c, runs-on: ubuntu-latest, steps: [{run: 'true'}]}
  b: {needs: a, runs-on: ubuntu-latest, steps: [{run: 'true'}]}
  c: {needs: b, runs-on: ubuntu-latest, steps: [{run: 'true'}]}
"""
FILES = {
    "empty": (b"", 65, ["empty.yml:1:1"]),
    "blank": (b"# nothing\n\n", 65, ["blank.yml:"]),
    "binary": (bytes(range(256)) * 20, 65, ["binary.yml:"]),
    "elf": (b"\x7fELF" + bytes(4096), 65, ["elf.yml:"]),
    "latin": ("name: é\n".encode("latin-1"), 65, ["latin.yml:1:"]),
    "cyclic": (CYCLE.encode(), 65, ["cyclic.yml:", "a", "b", "c"]),
    "unknown": (QUICK.replace("steps", "stepz").encode(), 65, ["unknown.yml:2:", "stepz"]),
    "list": (b"- 1\n", 65, ["list.yml:1:1"]),
    "bomb": (b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", 65, ["bomb.yml:"]),
    "deep": (b"[" * 100_000, 65, ["deep.yml:1:"]),
    "many": (_many_jobs(10_000).encode(), 65, ["many.yml:", "10000 jobs"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_planned_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    content, code, mentions = FILES[name]
    path = tmp_path / f"{name}.yml"
    path.write_bytes(content)
    ended = coterie("workflow", "plan", path)
    assert ended.code == code, ended.stderr
    assert "Traceback" not in ended.stderr
    for mention in mentions:
        assert mention in ended.stderr
    assert not ended.stdout


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    coterie("workflow", "plan", tmp_path).refused(2, str(tmp_path), "Is a directory")
    coterie("workflow", "plan", tmp_path / "none.yml").refused(2, "none.yml", "No such file")
    (tmp_path / "large.yml").write_bytes(b"#" * 2_000_000)
    coterie("workflow", "plan", tmp_path / "large.yml").refused(2, "large.yml")


@pytest.mark.daemons
def test_a_file_that_cannot_be_planned_reaches_no_daemon(tmp_path: Path) -> None:
    found(tmp_path / "a", "home")
    one = Daemon(tmp_path / "a")
    with daemons(one):
        events = one.start().ready()["events"]
        for name in ("empty", "binary", "cyclic", "many"):
            path = tmp_path / f"{name}.yml"
            path.write_bytes(FILES[name][0])
            ended = one.coterie("workflow", "submit", path)
            assert ended.code == EXIT_INVALID
            assert f"{name}.yml:" in ended.stderr
        assert one.client.status()["events"] == events
