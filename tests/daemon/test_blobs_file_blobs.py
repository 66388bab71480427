"""Blobs on a real disk: whole or absent, whatever happens."""

import hashlib
import os
import subprocess
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from coterie.blobs import FileBlobs
from coterie.disk import DiskFailed
from coterie_protocols.encoding import Cid, blob_cid_from_text_untrusted, cid_of_blob
from coterie_protocols.errors import BadMessage, UserError


async def chunks(parts: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


def cid_of(data: bytes) -> Cid:
    return cid_of_blob(hashlib.sha256(data).digest())


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs", 1000)


def test_what_is_put_is_there_under_its_cid(blobs: FileBlobs, tmp_path: Path) -> None:
    cid = blobs.put(b"hello")
    assert cid == cid_of(b"hello") == blob_cid_from_text_untrusted(cid)
    assert blobs.has(cid)
    assert blobs.path(cid).read_bytes() == b"hello"
    assert blobs.path(cid).relative_to(tmp_path / "blobs").parts == (cid[-2:], cid)
    assert blobs.put(b"hello") == cid
    assert files_below(tmp_path / "blobs") == [blobs.path(cid)]


def test_what_is_not_there_is_a_key_error(blobs: FileBlobs) -> None:
    assert not blobs.has(cid_of(b"absent"))
    with pytest.raises(KeyError):
        blobs.path(cid_of(b"absent"))


def test_no_cid_can_name_another_path(blobs: FileBlobs) -> None:
    with pytest.raises(KeyError):
        blobs.path(Cid("../" * 19 + "ab"))


def test_a_file_is_put_in_constant_memory(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs", 10**8)
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(50_000_000)
    assert blobs.path(blobs.put_file(big)).stat().st_size == 50_000_000


def test_too_large_is_the_users_fault(blobs: FileBlobs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="larger than 1000 bytes"):
        blobs.put(bytes(1001))
    (tmp_path / "big").write_bytes(bytes(1001))
    with pytest.raises(UserError, match="big"):
        blobs.put_file(tmp_path / "big")
    assert files_below(tmp_path / "blobs") == []


async def test_receives_what_hashes_to_the_cid(blobs: FileBlobs) -> None:
    await blobs.receive(cid_of(b"hello"), chunks([b"he", b"", b"llo"]))
    assert blobs.path(cid_of(b"hello")).read_bytes() == b"hello"
    await blobs.receive(cid_of(b"hello"), chunks([b"no matter: it is here"]))


@pytest.mark.parametrize("sent", [[b"hellO"], [b"hell"], [b"hello!"], []])
async def test_refuses_what_does_not(blobs: FileBlobs, tmp_path: Path, sent: list[bytes]) -> None:
    with pytest.raises(BadMessage, match="do not hash"):
        await blobs.receive(cid_of(b"hello"), chunks(sent))
    assert not blobs.has(cid_of(b"hello"))
    assert files_below(tmp_path / "blobs") == []


async def test_stops_at_the_limit(blobs: FileBlobs, tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(100)

    async with aclosing(endless()) as sent:
        with pytest.raises(BadMessage, match="larger than 1000"):
            await blobs.receive(cid_of(b"hello"), sent)
    assert taken == 11
    assert files_below(tmp_path / "blobs") == []


async def test_a_broken_stream_leaves_nothing(blobs: FileBlobs, tmp_path: Path) -> None:
    async def breaking() -> AsyncGenerator[bytes]:
        yield b"he"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await blobs.receive(cid_of(b"hello"), breaking())
    assert files_below(tmp_path / "blobs") == []


def test_leftovers_of_a_crash_are_removed_at_the_start(blobs: FileBlobs, tmp_path: Path) -> None:
    kept = blobs.put(b"kept")
    (tmp_path / "blobs" / "incoming" / "tmpabc").write_bytes(b"half")
    again = FileBlobs(tmp_path / "blobs", 1000)
    assert files_below(tmp_path / "blobs") == [again.path(kept)]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tiny file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_says_so_and_nothing_is_lost(tiny_disk: Path) -> None:
    blobs = FileBlobs(tiny_disk / "blobs", 10**6)
    kept = blobs.put(b"kept")
    with pytest.raises(DiskFailed, match="the disk is full") as caught:
        blobs.put(os.urandom(200_000))
    assert caught.value.hint
    big = os.urandom(200_000)
    async with aclosing(chunks([big])) as sent:
        with pytest.raises(DiskFailed, match="the disk is full"):
            await blobs.receive(cid_of(big), sent)
    assert files_below(tiny_disk) == [blobs.path(kept)]
    assert blobs.path(blobs.put(b"small again")).read_bytes() == b"small again"


def test_a_read_only_disk_says_so(tiny_disk: Path) -> None:
    blobs = FileBlobs(tiny_disk / "blobs", 10**6)
    kept = blobs.put(b"kept")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(DiskFailed, match="read-only"):
        blobs.put(b"more")
    assert blobs.path(kept).read_bytes() == b"kept"
