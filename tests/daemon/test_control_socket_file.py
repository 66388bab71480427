"""Whose the control socket is."""

import os
import socket
import stat
import struct
from pathlib import Path

import pytest

from coterie.control.socket_file import control_socket, uid_of_credentials
from coterie_protocols.errors import UserError


def test_it_listens_with_mode_0600_in_a_private_directory(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    with control_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_socket_left_by_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with control_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_living_daemon_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with control_socket(path):
        with pytest.raises(UserError, match="another daemon listens"), control_socket(path):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(UserError, match="no socket"), control_socket(path):
        pass
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_told_with_its_length(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the system allows 107"), control_socket(tmp_path / ("x" * 120)):
        pass


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the control socket"), control_socket(tmp_path / "file" / "sock"):
        pass


def test_credentials_name_the_user() -> None:
    assert uid_of_credentials(struct.pack("3i", 1, os.geteuid(), 3)) == os.geteuid()
