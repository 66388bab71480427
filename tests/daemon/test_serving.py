"""What members are answered when they ask for blobs and logs."""

from pathlib import Path

import pytest
import trio
import trio.testing

from coterie.blobs.file_blobs import FileBlobs
from coterie.ports import Serve
from coterie.runner.logs import FileLogs
from coterie.serving import CHUNK_BYTES, read_file, server_of
from coterie_protocols.encoding import encode
from coterie_protocols.errors import BadMessage
from coterie_protocols.messages import BlobRequest, LogRequest, encode_request
from coterie_protocols.ops import RunId
from protocols.building import key
from shell_doubles import ABSENT

PEER = key(2).peer_id
RUN = RunId("r" * 26)


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs", 10_000_000)


@pytest.fixture
def logs(tmp_path: Path) -> FileLogs:
    return FileLogs(tmp_path / "logs", 10_000, lambda: 0)


@pytest.fixture
def serve(blobs: FileBlobs, logs: FileLogs) -> Serve:
    return server_of(blobs, logs)


async def answer(serve: Serve, request: bytes) -> bytes:
    async with serve(PEER, request) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_a_blob_comes_whole(serve: Serve, blobs: FileBlobs) -> None:
    data = bytes(range(256)) * 1024
    assert len(data) > CHUNK_BYTES
    assert await answer(serve, encode_request(BlobRequest(blobs.put(data)))) == data


async def test_a_blob_that_is_not_here_is_refused(serve: Serve) -> None:
    with pytest.raises(BadMessage, match="no such blob"):
        await answer(serve, encode_request(BlobRequest(ABSENT)))


async def test_a_log_is_read_from_where_the_asker_is(serve: Serve, logs: FileLogs) -> None:
    async with logs.open(RUN, "build", 1) as log:
        log.line("hello")
    whole = await answer(serve, encode_request(LogRequest(RUN, "build", 1, 0, False)))
    assert whole.endswith(b" hello\n")
    assert await answer(serve, encode_request(LogRequest(RUN, "build", 1, len(whole) - 3, True))) == b"lo\n"


async def test_a_growing_log_is_followed_to_its_end(serve: Serve, logs: FileLogs) -> None:
    got: list[bytes] = []

    async def follow() -> None:
        got.append(await answer(serve, encode_request(LogRequest(RUN, "build", 1, 0, True))))

    async with trio.open_nursery() as nursery:
        async with logs.open(RUN, "build", 1) as log:
            log.line("one")
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            log.line("two")
    assert [line.split(b" ", 1)[1] for line in got[0].splitlines()] == [b"one", b"two"]


async def test_a_log_that_is_not_here_is_refused_also_to_a_reader_in_a_nursery(serve: Serve) -> None:
    for run in (RUN, RunId("../../../etc")):
        async with serve(PEER, encode_request(LogRequest(run, "build", 1, 0, False))) as chunks:
            with pytest.raises(BadMessage, match="no such log"):
                await anext(aiter(chunks))


async def test_a_reader_that_leaves_early_leaves_nothing_open(serve: Serve, blobs: FileBlobs, logs: FileLogs) -> None:
    """Warnings are errors here: a generator left to the garbage collector would give one."""
    cid = blobs.put(bytes(3 * CHUNK_BYTES))
    async with logs.open(RUN, "build", 1) as log:
        log.line("one")
        for request in (BlobRequest(cid), LogRequest(RUN, "build", 1, 0, True)):
            async with serve(PEER, encode_request(request)) as chunks:
                await anext(aiter(chunks))


@pytest.mark.parametrize("data", [b"", b"\xff", encode({}), encode({"kind": "blob"}), encode(["blob"])])
async def test_what_is_no_request_is_refused(serve: Serve, data: bytes) -> None:
    with pytest.raises(BadMessage):
        await answer(serve, data)


async def test_a_file_is_read_from_an_offset(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    assert [chunk async for chunk in read_file(tmp_path / "f", 7)] == [b"789"]
    assert [chunk async for chunk in read_file(tmp_path / "f", 70)] == []
