"""Staying connected to the peers that we were told to remember: one task each, dialling until it stands, and again.

Addresses are dialled with a lead for each over the next, and the first that answers wins (RFC 8305, "happy
eyeballs"). Between rounds: exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
Both sides may dial; two connections are harmless.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import trio
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]

from coterie.network.addresses import dialable_untrusted
from coterie.network.connections import Connections
from coterie.network.counters import Tally
from coterie.network.settings import NetworkSettings
from coterie_protocols.identity import PeerId

if TYPE_CHECKING:
    from coterie.network.addresses import Multiaddr

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Kept:
    peer: PeerId
    addresses: "tuple[Multiaddr, ...]" = ()
    nudge: trio.Event = field(default_factory=trio.Event)


class Keepers:
    """The remembered peers and their tasks."""

    def __init__(
        self,
        settings: NetworkSettings,
        nursery: trio.Nursery,
        swarm: Swarm,
        connections: Connections,
        own: PeerId,
        rng: Random,
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._nursery = nursery
        self._swarm = swarm
        self._connections = connections
        self._own = own
        self._rng = rng
        self._tally = tally
        self._kept: dict[PeerId, _Kept] = {}
        self._dials = trio.CapacityLimiter(settings.dials_max)

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, peer: object) -> bool:
        return peer in self._kept

    def remember(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Stays connected to `peer`; what cannot be dialled is passed over and counted."""
        if peer == self._own:
            return
        kept = self._kept.get(peer)
        dialable = self._dialable(peer, addresses)
        if kept is None:
            if len(self._kept) >= self._settings.remembered_max:
                self._tally.dropped["too many remembered"] += 1
                return
            kept = self._kept[peer] = _Kept(peer, dialable)
            self._nursery.start_soon(self._keep, kept)
        elif kept.addresses != dialable:
            kept.addresses = dialable
            kept.nudge.set()

    def nudge(self, peer: PeerId) -> None:
        """Something changed for `peer`: it connected."""
        if kept := self._kept.get(peer):
            kept.nudge.set()

    def _dialable(self, peer: PeerId, addresses: Iterable[str]) -> "tuple[Multiaddr, ...]":
        found: dict[Multiaddr, None] = {}
        for text in addresses:
            if len(found) >= self._settings.addresses_per_peer_max:
                self._tally.dropped["too many addresses"] += 1
                break
            if address := dialable_untrusted(text, peer):
                found[address] = None
            else:
                self._tally.dropped["address not dialable"] += 1
        return tuple(found)

    async def _keep(self, kept: _Kept) -> None:
        backoff_s = self._settings.redial_base_s
        while True:
            kept.nudge = trio.Event()
            if contact := self._connections.contact(kept.peer):
                began = trio.current_time()
                await contact.gone.wait()
                if trio.current_time() - began >= self._settings.stable_s:
                    backoff_s = self._settings.redial_base_s
                    continue
            elif refused_s := self._connections.refused_for_s(kept.peer):
                await trio.sleep(refused_s)
                continue
            elif kept.addresses and await self._dial(kept.peer, kept.addresses):
                continue
            with trio.move_on_after(self._rng.uniform(0, backoff_s) if kept.addresses else float("inf")):
                await kept.nudge.wait()
                backoff_s = self._settings.redial_base_s
            backoff_s = min(self._settings.redial_cap_s, 2 * backoff_s)

    async def _dial(self, peer: PeerId, addresses: "Sequence[Multiaddr]") -> bool:
        """Is there a connection now? Returns after `dial_timeout_s` and the leads at the latest."""
        async with trio.open_nursery() as nursery:
            before = trio.Event()
            before.set()
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(self._try, peer, address, before, failed, nursery.cancel_scope)
                before = failed
        return self._connections.contact(peer) is not None

    async def _try(
        self, peer: PeerId, address: "Multiaddr", before: trio.Event, failed: trio.Event, race: trio.CancelScope
    ) -> None:
        """Dials once the one before has failed or had its lead; the first success ends the race."""
        with trio.move_on_after(self._settings.dial_stagger_s):
            await before.wait()
        async with self._dials:
            self._tally.dials += 1
            try:
                with trio.fail_after(self._settings.dial_timeout_s):
                    await self._swarm.dial_addr(address, ID.from_base58(peer))
            except Exception as error:  # noqa: BLE001 - unrelated types, and a timeout; all mean the same
                log.debug("dialling %s at %s: %r", peer, address, error.__cause__ or error)
                self._tally.dial_failures += 1
                failed.set()
            else:
                race.cancel()
