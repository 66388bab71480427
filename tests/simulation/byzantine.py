"""Peers that lie: each misdeed is one thing that a hostile member, or a stranger, can do to a coterie."""

from collections.abc import Callable
from random import Random
from typing import Final

import trio

from coterie_protocols.clock import Clock
from coterie_protocols.encoding import Cid, cid_of_event
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import Event, Header, Tip, decode_event_untrusted, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.messages import (
    Announcement,
    Events,
    SyncDone,
    SyncRequest,
    decode_announcement_untrusted,
    decode_frame_untrusted,
    encode_events,
    encode_message,
)
from coterie_protocols.ops import Cancel, Claim, Done, Op, Release, RunId, Submit
from coterie_protocols.run import run_id
from coterie_protocols.stimuli import FrameReceived, GossipReceived, Stimulus
from simulation.machine import WALL_MS_AT_START
from simulation.memory_files import MemoryFiles, server_of
from simulation.network import Medium, MemoryNetwork
from simulation.swarm import ADDRESS_OF_FOUNDER
from simulation.workloads import random_submit

PAUSE_S: Final = (0.05, 3.0)
MISDEEDS: Final = (
    "garbage_frame",
    "garbage_gossip",
    "broken_signature",
    "other_coterie",
    "unknown_parents",
    "forged_lamport",
    "forged_seq",
    "fork",
    "void_ops",
    "huge_frontier",
    "false_heads",
    "endless_done",
    "flood",
)


class Rogue:
    """Connects to everybody it hears of, learns what is said, and commits one misdeed after another.

    It never holds a task for longer than it is there itself: a member who claims and never ends is no fault that
    others could tell from a long task.
    """

    def __init__(
        self,
        name: str,
        key: SigningKey,
        founding: tuple[Event, ...],
        founder: PeerId,
        medium: Medium,
        seed: int,
        misdeeds: tuple[str, ...] = MISDEEDS,
    ) -> None:
        self.name = name
        self.peer_id: PeerId = key.peer_id
        self._key = key
        self._chance = Random(f"{seed}/rogue/{name}")
        self._medium = medium
        self._headers: dict[Cid, Header] = {}
        self._clock = Clock(founding[0].cid, self)
        self._runs: list[tuple[RunId, Submit]] = []
        self._claims: list[tuple[Cid, Claim]] = []
        self._own = founding[-1] if founding[-1].header.author == key.peer_id else None
        self._number = 0
        for event in founding:
            self._insert(event)
        self._network = MemoryNetwork(
            medium, name, key.peer_id, self._deliver, server_of(MemoryFiles()), lambda peer: True
        )
        self._network.remember(founder, (ADDRESS_OF_FOUNDER,))
        self._misdeeds: tuple[Callable[[], None], ...] = tuple(getattr(self, f"_{name}") for name in misdeeds)

    def header(self, cid: Cid) -> Header | None:
        """The header of an event that it learned."""
        return self._headers.get(cid)

    async def run(self, from_s: float, to_s: float) -> None:
        """Is there from one moment to another."""
        await trio.sleep(from_s - self._medium.now())
        self._network.rise()
        with trio.move_on_after(to_s - self._medium.now()):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._network.run)
                await self._misbehave()

    async def _misbehave(self) -> None:
        if self._own is not None:
            await trio.sleep(1.0)
            self._tell(encode_events([self._own.data]))
        while True:
            await trio.sleep(self._chance.uniform(*PAUSE_S))
            self._dial_somebody()
            self._chance.choice(self._misdeeds)()

    def _dial_somebody(self) -> None:
        peer = self._chance.choice(sorted(self._medium.up))
        other = self._medium.up[peer]
        self._network.remember(peer, other.addresses())

    # -- what it learns -------------------------------------------------------------------------------------------

    async def _deliver(self, stimulus: Stimulus) -> None:
        await trio.lowlevel.checkpoint()
        try:
            match stimulus:
                case FrameReceived():
                    message = decode_frame_untrusted(stimulus.data)
                case GossipReceived():
                    message = decode_announcement_untrusted(stimulus.data)
                case _:
                    return
            if isinstance(message, Events | Announcement):
                for data in message.events:
                    self._insert(decode_event_untrusted(data, verify=False))
        except BadMessage:
            return

    def _insert(self, event: Event) -> None:
        for each in self._clock.insert(event):
            self._headers[each.cid] = each.header
            for index, op in enumerate(each.ops):
                if isinstance(op, Submit):
                    self._runs.append((run_id(each.cid, index), op))
                elif isinstance(op, Claim):
                    self._claims.append((each.cid, op))

    # -- what it says ---------------------------------------------------------------------------------------------

    def _somebody(self) -> PeerId | None:
        peers = sorted(self._network.connected())
        return self._chance.choice(peers) if peers else None

    def _tell(self, frame: bytes) -> None:
        peer = self._somebody()
        if peer is not None:
            self._network.post(peer, frame)

    def _announce(self, heads: tuple[Cid, ...], claims: tuple[Cid, ...], events: tuple[bytes, ...]) -> None:
        self._number += 1
        announcement = Announcement(
            boot_ms=1,
            number=self._number,
            name=self.name,
            labels=("linux",),
            slots=100,
            leaving=False,
            claims=claims,
            addresses=self._network.addresses(),
            heads=heads,
            fingerprint=self._chance.randbytes(32),
            events=events,
        )
        self._network.broadcast(encode_message(announcement))

    def _spread(self, event: Event) -> None:
        """Tells one peer by a frame, or all by gossip."""
        if self._chance.random() < 0.5:
            self._tell(encode_events([event.data]))
        else:
            self._announce((event.cid,), (), (event.data,))

    def _event(
        self,
        ops: tuple[Op, ...],
        *,
        coterie: Cid | None = None,
        seq_more: int = 0,
        lamport_more: int = 0,
        parents: tuple[Cid, ...] = (),
    ) -> Event:
        """An event that would be sound but for what the arguments say."""
        tip = self._clock.frontier.get(self._key.peer_id, Tip(0, self._clock.coterie))
        prev = self._clock.header(tip.cid)
        heads = self._clock.heads[:8]
        lamport = 1 + max(0 if prev is None else prev.lamport, *(head.lamport for head in heads))
        return write_event(
            self._key,
            coterie=coterie or self._clock.coterie,
            seq=tip.seq + 1 + seq_more,
            prev=tip.cid if tip.seq + seq_more else None,
            parents=parents or tuple(head.cid for head in heads),
            lamport=lamport + lamport_more,
            time_ms=WALL_MS_AT_START,
            ops=ops,
        )

    # -- misdeeds -------------------------------------------------------------------------------------------------

    def _garbage_frame(self) -> None:
        self._tell(self._chance.randbytes(self._chance.randint(0, 300)))

    def _garbage_gossip(self) -> None:
        self._network.broadcast(self._chance.randbytes(self._chance.randint(0, 300)))

    def _broken_signature(self) -> None:
        event = self._event(())
        self._tell(encode_events([event.data[:-1] + bytes((event.data[-1] ^ 1,))]))

    def _other_coterie(self) -> None:
        self._spread(self._event((), coterie=cid_of_event(b"another")))

    def _unknown_parents(self) -> None:
        self._spread(self._event((), parents=(cid_of_event(self._chance.randbytes(8)),)))

    def _forged_lamport(self) -> None:
        self._spread(self._event((), lamport_more=self._chance.choice((-1, 1, 2**40))))

    def _forged_seq(self) -> None:
        self._spread(self._event((), seq_more=self._chance.choice((1, 1000))))

    def _fork(self) -> None:
        """Two events with one seq, each to another peer; it goes on from one of them."""
        one, other = self._event((self._op(),)), self._event((self._op(), self._op()))
        self._tell(encode_events([one.data]))
        self._tell(encode_events([other.data]))
        if self._own is not None:
            self._insert(self._chance.choice((one, other)))

    def _void_ops(self) -> None:
        event = self._event(tuple(self._op() for _ in range(self._chance.randint(1, 4))))
        self._spread(event)
        if self._own is not None:
            self._insert(event)

    def _huge_frontier(self) -> None:
        have = {self._key.peer_id: Tip(2**40, cid_of_event(b"nothing"))}
        self._tell(encode_message(SyncRequest(have, self._chance.randbytes(32))))

    def _false_heads(self) -> None:
        heads = tuple(cid_of_event(self._chance.randbytes(8)) for _ in range(8))
        self._announce(heads, tuple(cid for cid, _ in self._claims[-8:]), ())

    def _endless_done(self) -> None:
        self._tell(encode_message(SyncDone({}, self._chance.randbytes(32), True)))

    def _flood(self) -> None:
        for _ in range(30):
            self._chance.choice((self._garbage_gossip, self._huge_frontier, self._endless_done))()

    def _op(self) -> Op:
        """An op that it has no right to, or that says what is not so."""
        if not self._runs or self._chance.random() < 0.1:
            return random_submit(self._chance, _no_blob(self._chance), None)
        run, submit = self._chance.choice(self._runs)
        task = self._chance.choice(submit.tasks).id
        attempt = self._chance.choice((1, 1, 2, 900))
        claim = self._chance.choice(self._claims)[0] if self._claims else cid_of_event(b"no claim")
        return self._chance.choice(
            (
                Claim(run, task, attempt, claim if attempt > 1 else None, {}),
                Release(run, task, attempt, claim, "not mine"),
                Done(run, task, attempt, claim, "success", {"token": "forged"}, None, 0, 0, ""),
                Cancel(run, "not mine"),
            )
        )


def _no_blob(chance: Random) -> Cid:
    return MemoryFiles().put(chance.randbytes(8))
