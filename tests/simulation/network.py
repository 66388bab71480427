"""The `Network` port in memory: many peers in one process, under a virtual clock and the faults of `Weather`.

Frames keep their order and are lost only with their connection. Gossip goes to whoever can be reached over
connections, and may be lost, doubled and overtaken.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Final, cast

import trio

from coterie.ports import Deliver, Serve, Unreachable
from coterie_protocols.errors import BadMessage
from coterie_protocols.identity import PeerId
from coterie_protocols.stimuli import FrameReceived, GossipReceived, PeerConnected, PeerDisconnected, Stimulus
from simulation.faults import Weather

FRAMES_QUEUED_MAX: Final = 256
SEND_TIMEOUT_S: Final = 10.0
PENALTY_S: Final = 60.0
REDIAL_BASE_S: Final = 0.2
REDIAL_CAP_S: Final = 30.0
STRANGER_S_MAX: Final = 30.0
STRANGER_FRAMES_MAX: Final = 16
ANNOUNCEMENTS_PER_S_MAX: Final = 20


@dataclass(slots=True, eq=False)
class Wire:
    """One connection. `queued` counts, per receiver, the frames under way."""

    ends: tuple["MemoryNetwork", "MemoryNetwork"]
    alive: bool = True
    queued: dict[PeerId, int] = field(default_factory=dict[PeerId, int])
    strange_frames: int = 0
    room: trio.Event = field(default_factory=trio.Event)

    def other(self, end: "MemoryNetwork") -> "MemoryNetwork":
        """The end that is not `end`."""
        return self.ends[1] if self.ends[0] is end else self.ends[0]

    def took(self, receiver: PeerId) -> None:
        """A frame arrived or was lost."""
        self.queued[receiver] -= 1
        self.stir()

    def stir(self) -> None:
        """Wakes whoever waits for room."""
        self.room.set()
        self.room = trio.Event()


@dataclass(slots=True)
class _Dial:
    addresses: tuple[str, ...]
    due: float
    backoff_s: float = REDIAL_BASE_S


class Medium:
    """What lies between the machines: who is up, which connections stand, and the weather."""

    def __init__(self, weather: Weather, chance: Random, grid_s: float = 0.0) -> None:
        """With `grid_s` everything happens at multiples of it: things coincide that would otherwise never."""
        self.grid_s = grid_s
        self.weather = weather
        self.chance = chance
        self.up: dict[PeerId, MemoryNetwork] = {}
        self.on_frame: Callable[[PeerId, PeerId, bytes], None] = lambda sender, receiver, data: None
        self.gossip_count = 0
        self._began_at = 0.0

    def now(self) -> float:
        """Virtual seconds since the swarm began."""
        return trio.current_time() - self._began_at

    def on_grid(self, at_s: float) -> float:
        """The next moment at which something may happen."""
        return math.ceil(at_s / self.grid_s) * self.grid_s if self.grid_s else at_s

    def begin(self) -> None:
        """From here on the weather's time runs."""
        self._began_at = trio.current_time()

    async def run(self) -> None:
        """Lets connections across cuts die, until cancelled."""
        async with trio.open_nursery() as nursery:
            for cut in self.weather.cuts:
                if cut.notice_s < cut.to_s - cut.from_s:
                    nursery.start_soon(self._sever, cut.from_s + cut.notice_s)
            await trio.sleep_forever()

    async def _sever(self, at_s: float) -> None:
        await trio.sleep(at_s - self.now())
        for end in list(self.up.values()):
            for wire in end.wires():
                one, other = wire.ends
                if self.weather.severed(one.name, other.name, self.now()):
                    self.kill(wire)

    def dial(self, caller: "MemoryNetwork", peer: PeerId, addresses: Iterable[str]) -> bool:
        """Connects the two if nothing stands between them."""
        called = self.up.get(peer)
        if called is None or not set(addresses) & set(called.addresses()):
            return False
        if self.weather.severed(caller.name, called.name, self.now()):
            return False
        if caller.refuses(peer) or called.refuses(caller.peer_id):
            return False
        wire = Wire((caller, called))
        caller.attach(wire)
        called.attach(wire)
        return True

    def kill(self, wire: Wire) -> None:
        """Ends a connection for both sides."""
        if wire.alive:
            wire.alive = False
            wire.stir()
            for end in wire.ends:
                end.lose(wire)

    def gossip(self, author: "MemoryNetwork", data: bytes) -> None:
        """Takes an announcement to everybody within reach."""
        self.gossip_count += 1
        now = self.now()
        arrivals = {author.peer_id: now}
        queue = [author]
        while queue and len(arrivals) < len(self.up):
            relay = queue.pop(0)
            for wire in relay.wires():
                receiver = wire.other(relay)
                if receiver.peer_id in arrivals or not self._passes(relay, receiver, author.peer_id, now):
                    continue
                due = arrivals[relay.peer_id] + self.weather.delay_s(relay.name, receiver.name, now)
                arrivals[receiver.peer_id] = due
                queue.append(receiver)
                self._drop_in(author, receiver, data, due, now)

    def _passes(self, relay: "MemoryNetwork", receiver: "MemoryNetwork", author: PeerId, now: float) -> bool:
        if not receiver.up or not receiver.is_member(author):
            return False
        return self.weather.severed_until(relay.name, receiver.name, now) is None

    def _drop_in(self, author: "MemoryNetwork", receiver: "MemoryNetwork", data: bytes, due: float, now: float) -> None:
        if not self.weather.lost(now):
            receiver.arrive(due, GossipReceived(author.peer_id, data))
        if self.weather.doubled(now):
            again = due + self.weather.delay_s(author.name, receiver.name, now)
            receiver.arrive(again, GossipReceived(author.peer_id, data))


class MemoryNetwork:
    """One machine's end of the medium. `run` must run for as long as the machine is up."""

    def __init__(
        self,
        medium: Medium,
        name: str,
        peer_id: PeerId,
        deliver: Deliver,
        serve: Serve,
        is_member: Callable[[PeerId], bool],
    ) -> None:
        self.name = name
        self.peer_id: PeerId = peer_id
        self.is_member = is_member
        self.up = False
        self.serve = serve
        self._medium = medium
        self._deliver = deliver
        self._wires: dict[PeerId, Wire] = {}
        self._dials: dict[PeerId, _Dial] = {}
        self._refused_until: dict[PeerId, float] = {}
        self._arrivals: list[tuple[float, int, Stimulus, Wire | None]] = []
        self._arrival_count = 0
        self._latest: dict[PeerId, float] = {}
        self._announced: tuple[int, int] = (0, 0)
        self._arrived = trio.Event()
        self._redial = trio.Event()

    # -- the port -------------------------------------------------------------------------------------------------

    def addresses(self) -> tuple[str, ...]:
        """One address of its own per machine."""
        return (f"/dns4/{self.name}/tcp/7411",)

    def connected(self) -> frozenset[PeerId]:
        """The peers with a live connection."""
        return frozenset(self._wires)

    def broadcast(self, data: bytes) -> None:
        """Gossips; more than the real network lets through of one author is dropped."""
        second, count = self._announced
        second, count = (second, count) if int(self._medium.now()) == second else (int(self._medium.now()), 0)
        self._announced = second, count + 1
        if self.up and count < ANNOUNCEMENTS_PER_S_MAX:
            self._medium.gossip(self, data)

    def post(self, peer: PeerId, data: bytes) -> bool:
        """Queues one frame."""
        wire = self._wires.get(peer)
        if wire is None or wire.queued.get(peer, 0) >= FRAMES_QUEUED_MAX:
            return False
        receiver = wire.other(self)
        wire.queued[peer] = wire.queued.get(peer, 0) + 1
        now = self._medium.now()
        way_open_at = self._medium.weather.severed_until(self.name, receiver.name, now) or now
        due = way_open_at + self._medium.weather.delay_s(self.name, receiver.name, now)
        self._medium.on_frame(self.peer_id, peer, data)
        receiver.arrive_in_order(due, FrameReceived(self.peer_id, data), wire)
        return True

    async def send(self, peer: PeerId, data: bytes) -> bool:
        """The same, but waits for room."""
        with trio.move_on_after(SEND_TIMEOUT_S):
            while not self.post(peer, data):
                wire = self._wires.get(peer)
                if wire is None:
                    return False
                await wire.room.wait()
            await trio.lowlevel.checkpoint()
            return True
        return False

    def fetch(self, peer: PeerId, request: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Opens a stream of chunks."""
        return self._fetch(peer, request)

    @asynccontextmanager
    async def _fetch(self, peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        wire = self._wires.get(peer)
        if wire is None:
            raise Unreachable("not connected")
        server = wire.other(self)
        await self._travel(wire, server, self)
        if not server.is_member(self.peer_id):
            raise Unreachable("not a member")
        try:
            serving = server.serve(self.peer_id, request)
            chunks = await serving.__aenter__()
        except BadMessage as error:
            raise Unreachable(str(error)) from None
        try:
            async with (
                aclosing(cast(AsyncGenerator[bytes], chunks)),
                aclosing(self._carry(chunks, wire, server)) as carried,
            ):
                yield carried
        finally:
            await serving.__aexit__(None, None, None)

    async def _carry(self, chunks: AsyncIterator[bytes], wire: Wire, server: "MemoryNetwork") -> AsyncGenerator[bytes]:
        try:
            async for chunk in chunks:
                await self._travel(wire, server, self)
                yield chunk
        except BadMessage as error:
            raise Unreachable(str(error)) from None

    async def _travel(self, wire: Wire, sender: "MemoryNetwork", receiver: "MemoryNetwork") -> None:
        now = self._medium.now()
        await trio.sleep(self._medium.weather.delay_s(sender.name, receiver.name, now))
        if not wire.alive or self._medium.weather.severed(sender.name, receiver.name, self._medium.now()):
            raise Unreachable("the connection broke off")

    def remember(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """From now on stay connected to `peer`."""
        if peer != self.peer_id:
            self._dials[peer] = _Dial(tuple(addresses), float("-inf"))
            self._redial.set()

    def drop(self, peer: PeerId, reason: str) -> None:
        """Ends the connection and refuses another for a while."""
        self._refused_until[peer] = trio.current_time() + PENALTY_S
        wire = self._wires.get(peer)
        if wire is not None:
            self._medium.kill(wire)

    # -- the machine ----------------------------------------------------------------------------------------------

    def rise(self) -> None:
        """From now on others can reach it."""
        self.up = True
        self._medium.up[self.peer_id] = self

    async def run(self) -> None:
        """Dials and delivers until cancelled; then nobody is connected any more."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deliver_all)
                nursery.start_soon(self._dial_all)
        finally:
            self.fall()

    def fall(self, silently: bool = False) -> None:
        """Ends all connections at once; `silently` leaves the others in the belief that they stand."""
        self.up = False
        if self._medium.up.get(self.peer_id) is self:
            del self._medium.up[self.peer_id]
        if not silently:
            for wire in self.wires():
                self._medium.kill(wire)

    def wires(self) -> list[Wire]:
        """The live connections."""
        return list(self._wires.values())

    def refuses(self, peer: PeerId) -> bool:
        """Was the peer dropped a short while ago?"""
        return self._refused_until.get(peer, 0.0) > trio.current_time()

    def attach(self, wire: Wire) -> None:
        """A connection stands; one that stood already with the same peer (whose death went unnoticed) ends."""
        other = wire.other(self)
        stale = self._wires.get(other.peer_id)
        if stale is not None:
            self._medium.kill(stale)
        self._wires[other.peer_id] = wire
        now = self._medium.now()
        due = now + self._medium.weather.delay_s(self.name, other.name, now)
        self.arrive_in_order(due, PeerConnected(other.peer_id), None)

    def lose(self, wire: Wire) -> None:
        """A connection is gone."""
        peer = wire.other(self).peer_id
        if self._wires.get(peer) is wire:
            del self._wires[peer]
            self.arrive_in_order(self._medium.now(), PeerDisconnected(peer), None)
            if peer in self._dials:
                self._dials[peer].due = trio.current_time() + REDIAL_BASE_S * self._medium.chance.uniform(0.5, 1.5)
                self._redial.set()

    def arrive_in_order(
        self, due: float, stimulus: PeerConnected | PeerDisconnected | FrameReceived, wire: Wire | None
    ) -> None:
        """Something comes from a peer after all that came from it on a connection before."""
        due = max(self._medium.on_grid(due), self._latest.get(stimulus.peer, 0.0))
        self._latest[stimulus.peer] = due
        self.arrive(due, stimulus, wire)

    def arrive(self, due: float, stimulus: Stimulus, wire: Wire | None = None) -> None:
        """Something comes at `due` (seconds since the swarm began)."""
        if not self.up:
            return
        self._arrival_count += 1
        heappush(self._arrivals, (self._medium.on_grid(due), self._arrival_count, stimulus, wire))
        if self._arrivals[0][1] == self._arrival_count:
            self._arrived.set()

    async def _deliver_all(self) -> None:
        while True:
            while not self._arrivals or self._arrivals[0][0] > self._medium.now():
                self._arrived = trio.Event()
                until = self._arrivals[0][0] - self._medium.now() if self._arrivals else float("inf")
                with trio.move_on_after(until):
                    await self._arrived.wait()
            _, _, stimulus, wire = heappop(self._arrivals)
            if wire is None or wire.alive:
                if wire is not None and self._strange(stimulus, wire):
                    continue
                await self._deliver(stimulus)
            if wire is not None:
                wire.took(self.peer_id)

    def _strange(self, stimulus: Stimulus, wire: Wire) -> bool:
        """Strangers may say a few things; who says more is cut off."""
        peer = wire.other(self).peer_id
        if self.is_member(peer) or peer in self._dials:
            return False
        wire.strange_frames += 1
        if wire.strange_frames > STRANGER_FRAMES_MAX:
            self._medium.kill(wire)
            return True
        return False

    async def _dial_all(self) -> None:
        while True:
            self._redial = trio.Event()
            due_next = float("inf")
            for peer in sorted(self._dials):
                dial = self._dials[peer]
                if peer not in self._wires:
                    self._dial_one(peer, dial)
                    if peer not in self._wires:
                        due_next = min(due_next, dial.due)
            with trio.move_on_at(due_next):
                await self._redial.wait()

    def _dial_one(self, peer: PeerId, dial: _Dial) -> None:
        now = trio.current_time()
        if dial.due > now:
            return
        if self._medium.dial(self, peer, dial.addresses):
            dial.backoff_s = REDIAL_BASE_S
            return
        dial.due = now + dial.backoff_s * self._medium.chance.uniform(0.5, 1.5)
        dial.backoff_s = min(REDIAL_CAP_S, 2 * dial.backoff_s)
