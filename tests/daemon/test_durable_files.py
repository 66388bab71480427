"""Small files that are whole or not there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from coterie.disk import DiskFailed
from coterie.durable_files import make_private_dir, write_file_durably
from coterie_protocols.errors import UserError


def test_a_file_is_written_with_its_mode(tmp_path: Path) -> None:
    write_file_durably(tmp_path / "f", b"one")
    write_file_durably(tmp_path / "f", b"two", mode=0o640)
    assert (tmp_path / "f").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_file_durably(tmp_path / "f", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiskFailed, match="the disk is full"):
        write_file_durably(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_crash_left_beside_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".f.{os.getpid()}").write_bytes(b"half of something longer")
    write_file_durably(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


def test_a_directory_is_made_private_and_one_that_exists_is_left_alone(tmp_path: Path) -> None:
    make_private_dir(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "a").chmod(0o755)
    make_private_dir(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_place_of_a_directory_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        make_private_dir(tmp_path / "file" / below)
