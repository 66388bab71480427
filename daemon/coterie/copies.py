"""Gets blobs from other peers: in the background for safe keeping, or at once because a task needs them."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from coterie.ports import Blobs, Network, Unreachable
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import BadMessage, TryLater, UserError
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import BlobRequest, encode_request

WANTED_MAX: Final = 4096
COPIES_AT_ONCE: Final = 4
NEED_TIMEOUT_S: Final = 120.0

log = structlog.get_logger(__name__)


class Copies:
    """What this peer fetches from others; `members` tells whom it may ask."""

    def __init__(self, blobs: Blobs, network: Network, members: Callable[[], Sequence[PeerId]]) -> None:
        self._blobs = blobs
        self._network = network
        self._members = members
        self._send, self._wanted = trio.open_memory_channel[tuple[Cid, tuple[PeerId, ...]]](WANTED_MAX)
        self._fetching: dict[Cid, trio.Event] = {}

    def want(self, blobs: Sequence[Cid], sources: Sequence[PeerId]) -> None:
        """Asks for copies without waiting; when too many are wanted already, the newest wish is dropped."""
        for cid in blobs:
            if not self._blobs.has(cid):
                try:
                    self._send.send_nowait((cid, tuple(sources)))
                except trio.WouldBlock:
                    log.warning("copy not made: too many are wanted already", blob=cid)

    async def need(self, blobs: Sequence[Cid], sources: Sequence[PeerId]) -> None:
        """Returns once all the blobs are here. Raises TryLater if nobody in reach has one, or it takes too long, and
        what the disk refuses."""
        with trio.move_on_after(NEED_TIMEOUT_S) as patience:
            for cid in blobs:
                if not await self._get(cid, tuple(sources)):
                    raise TryLater(f"no peer in reach has the blob {cid}", "try again when more peers are connected")
        if patience.cancelled_caught:
            raise TryLater(f"a blob did not arrive within {NEED_TIMEOUT_S:g} s", "see: coterie peer list")

    async def run(self) -> None:
        """Works through what is wanted, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(COPIES_AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        async for cid, sources in self._wanted.clone():
            try:
                if not await self._get(cid, sources):
                    log.info("copy not made: nobody in reach has it", blob=cid)
            except UserError as error:  # of the disk: the peer can live without a copy
                log.warning("copy not made", blob=cid, reason=str(error))

    async def _get(self, cid: Cid, sources: tuple[PeerId, ...]) -> bool:
        """Fetches a blob once, however many ask for it."""
        while not self._blobs.has(cid):
            under_way = self._fetching.get(cid)
            if under_way is None:
                return await self._fetch_first(cid, sources)
            await under_way.wait()
        return True

    async def _fetch_first(self, cid: Cid, sources: tuple[PeerId, ...]) -> bool:
        done = self._fetching[cid] = trio.Event()
        try:
            connected = self._network.connected()
            for peer in dict.fromkeys((*sources, *self._members())):
                if peer in connected and await self._fetch(cid, peer):
                    return True
            return False
        finally:
            del self._fetching[cid]
            done.set()

    async def _fetch(self, cid: Cid, peer: PeerId) -> bool:
        try:
            async with self._network.fetch(peer, encode_request(BlobRequest(cid))) as chunks:
                await self._blobs.receive(cid, chunks)
        except (Unreachable, BadMessage) as error:
            log.info("blob not fetched", blob=cid, peer=peer, reason=str(error))
            return False
        return True
