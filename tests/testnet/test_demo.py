"""The demo of the README, as a newcomer runs it: it survives the loss of a peer and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parent / "demo.py"


@pytest.mark.daemons
def test_demo(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(DEMO)]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "kill -9" in ended.stdout
    assert "simulate: attempt 2 runs on" in ended.stdout
    assert list(tmp_path.glob("coterie-*")) == []
    assert str(tmp_path) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
