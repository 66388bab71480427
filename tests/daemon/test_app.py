"""What is decided before a daemon stands: its port, its events, its directory. Running ones are in test_faults.py."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coterie.app import PORT_NOTE, _network_settings, as_joined, run_daemon  # pyright: ignore[reportPrivateUsage]
from coterie.founding import STORE_FILE, Founding, found
from coterie.settings import Settings
from coterie.store.sqlite import SqliteStore
from coterie_protocols.errors import UserError

ANY = "/ip4/127.0.0.1/tcp/0"


@pytest.fixture
def home(tmp_path: Path) -> Founding:
    return found(tmp_path, "home")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / STORE_FILE)
    yield store
    store.close()


def settings(tmp_path: Path, *listen: str) -> Settings:
    return Settings(data_dir=tmp_path, socket=tmp_path / "s", listen=listen)


def listened(tmp_path: Path, home: Founding, store: SqliteStore, *listen: str) -> tuple[str, ...]:
    return _network_settings(settings(tmp_path, *listen), home, store).listen


def test_the_port_of_last_time_is_taken_again(tmp_path: Path, home: Founding, store: SqliteStore) -> None:
    assert listened(tmp_path, home, store, ANY) == (ANY,)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        store.note(PORT_NOTE, str(port))
        assert listened(tmp_path, home, store, ANY) == (ANY,), "it is taken, and any other will do"
    assert listened(tmp_path, home, store, ANY) == (f"/ip4/127.0.0.1/tcp/{port}",)


def test_a_port_that_was_chosen_is_not_changed(tmp_path: Path, home: Founding, store: SqliteStore) -> None:
    store.note(PORT_NOTE, "4001")
    assert listened(tmp_path, home, store, "/ip4/127.0.0.1/tcp/9") == ("/ip4/127.0.0.1/tcp/9",)
    assert listened(tmp_path, home, store, ANY, "/ip6/::1/tcp/0") == (ANY, "/ip6/::1/tcp/0")


def test_a_directory_without_a_coterie_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="belongs to no coterie"):
        run_daemon(settings(tmp_path / "new", ANY))
    assert not (tmp_path / "new").exists()


def test_what_join_was_given_holds_where_nothing_else_is_said(tmp_path: Path, home: Founding) -> None:
    joined = replace(home, name="garage", slots=7)
    plain = Settings(data_dir=tmp_path, socket=tmp_path / "s")
    assert (as_joined(plain, joined).name, as_joined(plain, joined).slots) == ("garage", 7)
    told = Settings(data_dir=tmp_path, socket=tmp_path / "s", name="attic", slots=1)
    assert as_joined(told, joined) == told
    assert as_joined(plain, home) == plain
