"""Stations on real hosts, on loopback."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from contracts.network_contract import Station
from coterie.network.adapter import Libp2pNetwork, open_network
from coterie.network.settings import NetworkSettings
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import SigningKey
from coterie_protocols.stimuli import PeerConnected

SETTINGS: Final = NetworkSettings(coterie=Cid("a coterie of tests"), listen=("/ip4/127.0.0.1/tcp/0",))


class Libp2pStation(Station):
    """A station whose network is the real one."""

    libp2p: Libp2pNetwork


def key_of(number: int) -> SigningKey:
    """A key for each station of a test."""
    return SigningKey(number.to_bytes(32, "big"))


@asynccontextmanager
async def libp2p_station(number: int, settings: NetworkSettings = SETTINGS) -> AsyncGenerator[Libp2pStation]:
    """A running station."""
    station = Libp2pStation()
    key, rng = key_of(number), random.Random(number)
    async with open_network(key, settings, station.deliver, station.serve, station.is_member, rng) as network:
        station.network = station.libp2p = network
        yield station


async def connect(*stations: Libp2pStation) -> None:
    """Each is told of all, and learns that they are there."""
    for here in stations:
        for there in stations:
            here.network.remember(there.peer, there.network.addresses())
    for here in stations:
        await until_connected(here, *stations)


async def until_connected(here: Libp2pStation, *others: Libp2pStation) -> None:
    """Waits until `here` was told of the others."""
    wanted = {there.peer for there in others if there is not here}
    await here.until(lambda: wanted <= {each.peer for each in here.of(PeerConnected)})
