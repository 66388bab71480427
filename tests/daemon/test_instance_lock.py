"""One daemon to a data directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coterie.instance_lock import instance_lock
from coterie_protocols.errors import UserError

HOLD = """
import sys, pathlib
from coterie.instance_lock import instance_lock
with instance_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with instance_lock(tmp_path), pytest.raises(UserError) as caught, instance_lock(tmp_path):
        pytest.fail("two hold it")
    assert caught.value.message == f"another daemon uses {tmp_path} (pid {os.getpid()})"
    assert caught.value.hint


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with instance_lock(tmp_path):
            pass


def test_the_directory_is_made(tmp_path: Path) -> None:
    with instance_lock(tmp_path / "new"):
        assert (tmp_path / "new" / "lock").read_text() == f"{os.getpid()}\n"


def test_the_death_of_the_holder_frees_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"pid {holder.pid}"), instance_lock(tmp_path):
            pass
        holder.kill()
        holder.wait(10)
        with instance_lock(tmp_path):
            pass


def test_a_lock_with_garbage_in_it_still_locks(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff\x00" * 100)
    with instance_lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
