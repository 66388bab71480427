"""What a testnet leaves on disk."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

from coterie.locations import SOCKET_PATH_BYTES_MAX
from coterie.testnet.processes import process_of, stop_daemons
from coterie.testnet.running import SETTINGS
from coterie.testnet.state import STATE_FILE, create_state, load_state
from coterie_protocols.errors import NotFound, UserError

REPOSITORY = Path(__file__).parents[2]


def test_the_settings_are_those_of_the_example_file() -> None:
    assert yaml.safe_load((REPOSITORY / "config" / "testnet.yaml").read_text()) == SETTINGS


def test_a_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = create_state(tmp_path / "net", 3)
    changed = made.with_peer(replace(made.peers[1], pid=7, started=1.5, peer="12D3"))
    assert load_state(tmp_path / "net") == changed
    assert [peer.name for peer in changed.peers] == ["peer-1", "peer-2", "peer-3"]


def test_a_second_testnet_in_the_same_place_is_refused(tmp_path: Path) -> None:
    create_state(tmp_path / "net", 1)
    with pytest.raises(UserError, match="there is a testnet in") as error:
        create_state(tmp_path / "net", 1)
    assert "coterie testnet down --dir" in error.value.hint


def test_a_file_that_somebody_put_there_is_left_alone(tmp_path: Path) -> None:
    state = create_state(tmp_path / "net", 1)
    (tmp_path / "net" / "notes.txt").write_text("mine")
    state.remove()
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["notes.txt"]


def test_no_testnet_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_state(tmp_path)
    (tmp_path / STATE_FILE).write_text('{"peers": [{}]}')
    with pytest.raises(UserError, match="damaged"):
        load_state(tmp_path)


def test_a_deep_directory_gets_short_sockets_elsewhere(tmp_path: Path) -> None:
    state = create_state(tmp_path / ("x" * 120), 2)
    assert all(len(os.fsencode(peer.socket)) <= SOCKET_PATH_BYTES_MAX for peer in state.peers)
    assert Path(state.socket_dir).is_dir()
    state.remove()
    assert not Path(state.socket_dir).exists()
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    state = create_state(tmp_path, 1)
    Path(state.peers[0].dir).mkdir()
    state.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_pid_that_was_given_to_another_process_is_left_alone(tmp_path: Path) -> None:
    peer = create_state(tmp_path / "net", 1).peers[0]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        reused = replace(peer, pid=process.pid, started=started - 100)
        assert process_of(reused) is None
        assert stop_daemons([reused]) == ()
        assert process.poll() is None
        own = replace(peer, pid=process.pid, started=started)
        assert process_of(own) is not None
        assert stop_daemons([own]) == ()
        assert process_of(own) is None


def test_who_does_not_heed_term_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coterie.testnet import processes

    monkeypatch.setattr(processes, "TERM_TIMEOUT_S", 0.1)
    code = "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code += "child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); child.wait()"
    peer = create_state(tmp_path / "net", 1).peers[0]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        own = replace(peer, pid=process.pid, started=psutil.Process(process.pid).create_time())
        assert stop_daemons([own]) == ("peer-1",)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
