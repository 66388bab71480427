"""The client's own side: finding the daemon, and what it says when that fails."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from coterie.control.client import Client, DaemonNotRunning, Refused, StreamEnded, find_client
from coterie.locations import SYSTEM_SOCKET, client_sockets, default_data_dir, default_socket, user_socket
from coterie_protocols.errors import TryLater


def answer_once(path: Path, answer: bytes) -> threading.Thread:
    """A server that reads one request, says `answer` and closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_where_a_client_looks() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/7", "COTERIE_SOCKET": "/tmp/mine.sock"}
    assert client_sockets(Path("/told"), environ) == (Path("/told"),)
    assert client_sockets(None, environ) == (Path("/tmp/mine.sock"),)
    del environ["COTERIE_SOCKET"]
    assert {Path("/run/user/7/coterie/control.sock"), SYSTEM_SOCKET} == set(client_sockets(None, environ))


def test_where_a_unit_of_systemd_has_its_places() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/coterie:/other", "RUNTIME_DIRECTORY": "/run/coterie"}
    assert default_data_dir(environ) == Path("/var/lib/coterie")
    assert default_socket(environ) == Path("/run/coterie/control.sock")


def test_without_a_runtime_directory_the_socket_lies_beside_the_data() -> None:
    assert user_socket({"XDG_STATE_HOME": "/home/a/state"}) == Path("/home/a/state/coterie/control.sock")
    assert user_socket({"XDG_RUNTIME_DIR": "relative"}) == Path.home() / ".local/state/coterie/control.sock"


def test_no_daemon_is_told_with_the_paths_tried(tmp_path: Path) -> None:
    with pytest.raises(DaemonNotRunning, match=r"no daemon answers on .*none\.sock") as error:
        find_client(tmp_path / "none.sock").status()
    assert error.value.exit_code == 69
    assert "coterie up" in error.value.hint


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", StreamEnded),
        (b"SSH-2.0-OpenSSH_9.2\r\n", StreamEnded),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", Refused),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{}", StreamEnded),
    ],
)
def test_an_answer_that_is_no_answer(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    server = answer_once(tmp_path / "s", answer)
    with pytest.raises(error):
        Client(tmp_path / "s").status()
    server.join()


def test_a_silent_daemon_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client = Client(tmp_path / "s")
        with pytest.raises(TryLater, match="did not answer"):
            client._call("GET", "/v1/status", timeout_s=0.05)  # pyright: ignore[reportPrivateUsage]


def test_the_client_loads_nothing_heavy() -> None:
    heavy = ("trio", "pydantic", "httpx", "fastapi", "libp2p", "rich", "asyncio")
    code = f"import sys, coterie.control.client; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
