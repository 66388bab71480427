"""Copies of blobs: fetched once, from whoever has the right bytes."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from coterie.copies import COPIES_AT_ONCE, NEED_TIMEOUT_S, WANTED_MAX, Copies
from coterie.disk import DiskFailed
from coterie.ports import Unreachable
from coterie_protocols.encoding import Cid, cid_of_blob
from coterie_protocols.errors import TryLater
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import BlobRequest, decode_request_untrusted
from protocols.building import key
from shell_doubles import NetworkDouble
from simulation.memory_files import MemoryFiles

ME, FIRST, SECOND, THIRD = (key(number).peer_id for number in (1, 2, 3, 4))
DATA = b"a source tree"


def cid_of(data: bytes) -> Cid:
    return cid_of_blob(hashlib.sha256(data).digest())


CID = cid_of(DATA)


class Shelves:
    """What other peers have; `gate` holds every answer back until it is set."""

    def __init__(self) -> None:
        self.held: dict[PeerId, dict[Cid, bytes]] = {}
        self.gate = trio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0
        self.breaks_off: set[PeerId] = set()

    @asynccontextmanager
    async def answer(self, peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        asked = decode_request_untrusted(request)
        assert isinstance(asked, BlobRequest)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
            if asked.blob not in self.held.get(peer, {}):
                raise Unreachable(f"{peer} refused: no such blob here")
            yield self._chunks(peer, self.held[peer][asked.blob])
        finally:
            self.at_once -= 1

    async def _chunks(self, peer: PeerId, data: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(data), 4):
            yield data[at : at + 4]
            if peer in self.breaks_off:
                raise Unreachable(f"{peer} broke off")


class Stage:
    def __init__(self, members: Sequence[PeerId] = (ME, FIRST, SECOND, THIRD)) -> None:
        self.files, self.shelves, self.network = MemoryFiles(), Shelves(), NetworkDouble(ME)
        self.network.reached = set(members) - {ME}
        self.network.answer = self.shelves.answer
        self.copies = Copies(self.files, self.network, lambda: members)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_what_is_here_is_not_fetched(stage: Stage) -> None:
    stage.files.put(DATA)
    await stage.copies.need((CID,), (FIRST,))
    stage.copies.want((CID,), (FIRST,))
    assert not stage.network.fetches


async def test_the_named_source_is_asked_first_and_then_the_members(stage: Stage) -> None:
    stage.shelves.held = {SECOND: {CID: DATA}}
    await stage.copies.need((CID,), (THIRD,))
    assert stage.files.blob(CID) == DATA
    assert stage.network.fetches == [THIRD, FIRST, SECOND]


async def test_a_blob_is_fetched_once_for_all_who_ask(stage: Stage) -> None:
    stage.shelves.held = {FIRST: {CID: DATA}}
    stage.shelves.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(stage.copies.need, (CID,), (FIRST,))
        await wait_all_tasks_blocked()
        stage.shelves.gate.set()
    assert stage.network.fetches == [FIRST]


async def test_who_waits_fetches_by_himself_when_the_first_asker_gives_up(stage: Stage) -> None:
    stage.shelves.held = {FIRST: {CID: DATA}}
    stage.shelves.gate = trio.Event()
    scope = trio.CancelScope()

    async def ask_first() -> None:
        with scope:
            await stage.copies.need((CID,), (FIRST,))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_first)
        await wait_all_tasks_blocked()
        nursery.start_soon(stage.copies.need, (CID,), (FIRST,))
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        stage.shelves.gate.set()
    assert stage.files.blob(CID) == DATA
    assert stage.network.fetches == [FIRST, FIRST]


@pytest.mark.parametrize("wrong", [b"other bytes", b"", DATA[:-1]])
async def test_wrong_bytes_are_refused_and_another_source_is_tried(stage: Stage, wrong: bytes) -> None:
    stage.shelves.held = {FIRST: {CID: wrong}, SECOND: {CID: DATA}}
    await stage.copies.need((CID,), (FIRST,))
    assert stage.files.blob(CID) == DATA
    assert stage.network.fetches == [FIRST, SECOND]


async def test_a_source_that_breaks_off_is_passed_over(stage: Stage) -> None:
    stage.shelves.held = {FIRST: {CID: DATA}, SECOND: {CID: DATA}}
    stage.shelves.breaks_off = {FIRST}
    await stage.copies.need((CID,), (FIRST,))
    assert stage.files.blob(CID) == DATA


async def test_nobody_has_it(stage: Stage) -> None:
    with pytest.raises(TryLater) as caught:
        await stage.copies.need((CID,), ())
    assert CID in caught.value.message
    assert stage.network.fetches == [FIRST, SECOND, THIRD]


async def test_only_connected_peers_are_asked(stage: Stage) -> None:
    stage.network.reached = {THIRD}
    with pytest.raises(TryLater):
        await stage.copies.need((CID,), (FIRST,))
    assert stage.network.fetches == [THIRD]


async def test_a_source_that_never_ends_is_given_up(stage: Stage, autojump_clock: MockClock) -> None:
    stage.shelves.gate = trio.Event()
    began = trio.current_time()
    with pytest.raises(TryLater):
        await stage.copies.need((CID,), (FIRST,))
    assert trio.current_time() - began == NEED_TIMEOUT_S
    stage.shelves.gate.set()
    stage.shelves.held = {FIRST: {CID: DATA}}
    await stage.copies.need((CID,), (FIRST,))


async def test_copies_are_made_in_the_background_a_few_at_a_time(stage: Stage) -> None:
    blobs = {cid_of(data): data for data in (bytes([number]) for number in range(20))}
    stage.shelves.held = {FIRST: dict(blobs)}
    stage.shelves.gate = trio.Event()
    stage.copies.want(tuple(blobs), (FIRST,))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.copies.run)
        await wait_all_tasks_blocked()
        stage.shelves.gate.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all(map(stage.files.has, blobs))
    assert stage.shelves.most_at_once == COPIES_AT_ONCE


async def test_too_many_wishes_are_dropped_and_told(stage: Stage) -> None:
    cids = tuple(cid_of(str(number).encode()) for number in range(WANTED_MAX + 1))
    with capture_logs() as lines:
        stage.copies.want(cids, ())
    assert [line["blob"] for line in lines] == [cids[-1]]


async def test_a_full_disk_costs_a_copy_and_not_the_peer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    other = cid_of(b"other")
    stage.shelves.held = {FIRST: {CID: DATA, other: b"other"}}
    receive = stage.files.receive

    async def full(cid: Cid, chunks: AsyncIterator[bytes]) -> None:
        if cid == CID:
            raise DiskFailed("cannot write below /blobs: the disk is full", "free some space")
        await receive(cid, chunks)

    monkeypatch.setattr(stage.files, "receive", full)
    stage.copies.want((CID, other), (FIRST,))
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.copies.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert stage.files.has(other)
    assert [line["log_level"] for line in lines if line["blob"] == CID] == ["warning"]
    with pytest.raises(DiskFailed):
        await stage.copies.need((CID,), (FIRST,))
