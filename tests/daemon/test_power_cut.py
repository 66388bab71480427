"""The harness itself: what a disk holds of what a program did, when the power fails."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import power_cut

PROGRAM = """
import os, sys
from pathlib import Path
import power_cut
top = Path(sys.argv[1])
def sync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)
(top / "kept").write_bytes(b"1" * 2000)
sync(top / "kept")
sync(top)
power_cut.mark("kept is named and synced")
(top / "new").mkdir()
(top / "draft").write_bytes(b"draft")
sync(top / "draft")
(top / "draft").rename(top / "new" / "final")
power_cut.mark("renamed")
sync(top / "new")
power_cut.mark("the folder is synced, and not the one above it")
sync(top)
power_cut.mark("all is synced")
with open(top / "kept", "r+b") as file:
    file.seek(1000)
    file.write(b"2" * 1000)
    file.truncate(1500)
os.unlink(top / "new" / "final")
power_cut.mark("nothing of that is")
os.kill(os.getpid(), 9)
"""


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def records(tmp_path: Path) -> list[power_cut.Record]:
    folder, log = tmp_path / "live", tmp_path / "log"
    folder.mkdir()
    library = power_cut.recorder(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(power_cut.__file__).parent), *sys.path]),
            **power_cut.environment(library, folder, log),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-9, "")
    assert _contents(folder) == {"kept": b"1" * 1000 + b"2" * 500}
    return list(power_cut.read(log))


def test_what_was_not_synced_is_gone(tmp_path: Path, records: list[power_cut.Record]) -> None:
    disk, image = power_cut.Disk(tmp_path / "live"), tmp_path / "image"
    kept, final = {"kept": b"1" * 2000}, {"new/final": b"draft"}
    expected = [kept, kept, kept, {**kept, **final}, {**kept, **final}]
    found: list[dict[str, bytes]] = []
    for record in records:
        disk.apply(record)
        if record.kind == "m":
            disk.image(image)
            found.append(_contents(image))
    assert found == expected
    assert disk.marks[-1] == "nothing of that is"


def test_what_was_not_synced_may_be_there_in_part(tmp_path: Path, records: list[power_cut.Record]) -> None:
    disk, image = power_cut.Disk(tmp_path / "live"), tmp_path / "image"
    for record in records:
        disk.apply(record)
    random, contents, names = Random(1), set[bytes](), set[bool]()
    for _ in range(100):
        disk.image(image, random)
        found = _contents(image)
        contents.add(found["kept"])
        names.add("new/final" in found)
    torn = b"1" * 1000 + b"2" * power_cut.SECTOR_BYTES
    assert contents >= {
        b"1" * 2000,
        b"1" * 1500,
        b"1" * 1000 + b"2" * 1000,
        b"1" * 1000 + b"2" * 500,
        torn + b"1" * 488,
    }
    assert names == {True, False}
    disk.image(image)
    again = power_cut.Disk(tmp_path / "live", base=image)
    again.image(tmp_path / "copy")
    assert _contents(tmp_path / "copy") == {"kept": b"1" * 2000, "new/final": b"draft"}


def test_a_record_that_was_torn_by_the_kill_is_left_out(tmp_path: Path, records: list[power_cut.Record]) -> None:
    log = tmp_path / "log"
    os.truncate(log, log.stat().st_size - 3)
    assert list(power_cut.read(log)) == records[:-1]
