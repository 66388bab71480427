"""The systemd units, as systemd itself judges them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "systemd"
EXPOSURE_MAX = 2.0
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")


def _installed(name: str, directory: Path) -> Path:
    """The unit as it stands on a machine where the program is installed."""
    text = (UNITS / name).read_text(encoding="utf-8")
    unit, count = re.subn(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE)
    assert count == 1
    path = directory / name
    path.write_text(unit, encoding="utf-8")
    return path


def _analyze(directory: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)}
    command = ["systemd-analyze", "--no-pager", *arguments]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@analyze
def test_systemd_finds_nothing_wrong_with_the_system_unit(tmp_path: Path) -> None:
    assert _analyze(tmp_path, "verify", str(_installed("coterie.service", tmp_path))) == ""


@analyze
def test_systemd_finds_nothing_wrong_with_the_user_unit(tmp_path: Path) -> None:
    assert _analyze(tmp_path, "--user", "verify", str(_installed("coterie-user.service", tmp_path))) == ""


@analyze
def test_the_system_unit_exposes_little(tmp_path: Path) -> None:
    unit = _installed("coterie.service", tmp_path)
    said = _analyze(tmp_path, "security", "--offline=true", str(unit))
    level = re.search(r"Overall exposure level for coterie\.service: ([\d.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("name", ["coterie.service", "coterie-user.service"])
def test_a_stop_reaches_the_daemon_first_and_then_everything(name: str) -> None:
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    wanted = {"Type=notify", "NotifyAccess=main", "KillMode=mixed", "TimeoutStopSec=15", "Restart=on-failure"}
    assert wanted <= set(lines)
    assert any(line.startswith("WatchdogSec=") for line in lines)


def test_the_service_user_is_the_one_that_is_made() -> None:
    assert re.search(r"^u coterie ", (UNITS / "coterie.sysusers.conf").read_text(encoding="utf-8"), re.MULTILINE)
    assert "User=coterie" in (UNITS / "coterie.service").read_text(encoding="utf-8").splitlines()
