"""The network of the simulation keeps the contract of the real one."""

from collections.abc import AsyncIterator
from random import Random

import pytest
import trio

from contracts.network_contract import NetworkContract, Pair, Station
from coterie_protocols.identity import SigningKey
from simulation.faults import Weather
from simulation.network import Medium, MemoryNetwork


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    medium = Medium(Weather((), Random(1)), Random(2))
    medium.begin()
    left, right = _station(medium, "left"), _station(medium, "right")
    async with trio.open_nursery() as nursery:
        for station in (left, right):
            assert isinstance(station.network, MemoryNetwork)
            station.network.rise()
            nursery.start_soon(station.network.run)
        left.network.remember(right.peer, right.network.addresses())
        await left.until(lambda: bool(left.stimuli))
        await right.until(lambda: bool(right.stimuli))
        yield Pair(left, right)
        nursery.cancel_scope.cancel()


def _station(medium: Medium, name: str) -> Station:
    station = Station()
    key = SigningKey(Random(name).randbytes(32))
    station.network = MemoryNetwork(medium, name, key.peer_id, station.deliver, station.serve, station.is_member)
    return station


class TestMemoryNetwork(NetworkContract):
    """See the contract."""
