"""One replica on a stage: its clock is moved by hand, and the other peers are played by the test."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from coterie_protocols.effects import Broadcast, Effect, Save, Send
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Header
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import (
    Announcement,
    Message,
    decode_announcement_untrusted,
    decode_frame_untrusted,
    encode_events,
    encode_message,
)
from coterie_protocols.ops import Op
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import Instant, ReplicaSettings
from coterie_protocols.scheduler_settings import SchedulerSettings
from coterie_protocols.stimuli import (
    DeadlineReached,
    FrameReceived,
    GossipReceived,
    PeerConnected,
    PeerDisconnected,
    Stimulus,
)
from protocols.building import Pen, key
from protocols.naive import Naive

T = TypeVar("T", bound=Effect)
O = TypeVar("O", bound=Op)  # noqa: E741
Timed = list[tuple[float, Effect]]
SCHEDULING = SchedulerSettings(labels=frozenset(), slots=2)
STEPS_MAX = 2_000
ADDRESSES = tuple(f"/ip4/127.0.0.1/tcp/{port}" for port in range(1, 41))  # more than others take in


class Stage:
    """A replica that knows the pen's events, has started, and is past its recovery.

    What it writes is added to the pen, so that others can write over it. Times are seconds since the start.
    """

    def __init__(
        self,
        pen: Pen,
        me: int,
        scheduling: SchedulerSettings = SCHEDULING,
        *,
        known: Sequence[Event] | None = None,
        settled: bool = True,
        recover_timeout_s: float = 3.0,
        wall_ms: int = 1_000_000,
    ) -> None:
        self.pen, self.me, self.peer = pen, me, key(me).peer_id
        self.saved: dict[Cid, Event] = {}
        self.now, self._wall_ms = 0.0, wall_ms
        self.settings = ReplicaSettings(f"peer {me}", scheduling, recover_timeout_s=recover_timeout_s)
        self.replica = Replica(key(me), pen.coterie, self, self.settings, Random(0))
        events = pen.events if known is None else known
        self.replica.load(event.data for event in events)
        self.saved = {event.cid: event for event in events}
        self._announced: dict[int, int] = {}
        self.first = self._take(self.replica.start(self.instant(), ADDRESSES))
        if settled:
            self.wait(5.0)

    def header(self, cid: Cid) -> Header | None:
        """As the store has it, which was told by Save alone."""
        event = self.saved.get(cid)
        return None if event is None else event.header

    def instant(self) -> Instant:
        """Now, in both senses."""
        return Instant(self.now, self._wall_ms + int(1_000 * self.now))

    def handle(self, stimulus: Stimulus) -> list[Effect]:
        """Lets something happen; checks what must hold of every answer."""
        effects = self._take(self.replica.handle(stimulus, self.instant()))
        assert self.replica.deadline(self.instant()) > self.now, "a deadline that has passed keeps the peer spinning"
        return effects

    def _take(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Save):
                self.saved[effect.event.cid] = effect.event
                if effect.event.header.author == self.peer:
                    self.pen.events.append(effect.event)
                    self.pen.last[self.peer] = effect.event
        for message in [*broadcasts(effects), *(message for _, message in sends(effects))]:
            if isinstance(message, Announcement):
                assert set(message.heads) <= self.saved.keys(), "what is shown was saved"
        return effects

    def wait(self, seconds: float) -> Timed:
        """Lets time pass, as the shell does: from deadline to deadline."""
        until = self.now + seconds
        happened: Timed = []
        for _ in range(STEPS_MAX):
            due = self.replica.deadline(self.instant())
            if due > until:
                self.now = until
                return happened
            self.now = due
            happened += [(self.now, effect) for effect in self.handle(DeadlineReached())]
        raise AssertionError("it never comes to rest")

    def wait_for(self, kind: type[T], seconds: float = 60.0) -> tuple[float, T]:
        """The first effect of a kind, and how long it took."""
        start = self.now
        for at, effect in self.wait(seconds):
            if isinstance(effect, kind):
                self.now = at if at == self.now else self.now
                return at - start, effect
        raise AssertionError(f"no {kind.__name__} in {seconds} s")

    # -- the other peers ------------------------------------------------------------------------------------------

    def connect(self, *peers: int, slots: int = 2, labels: tuple[str, ...] = ()) -> list[Effect]:
        """Peers come into reach and say who they are."""
        effects: list[Effect] = []
        for peer in peers:
            effects += self.handle(PeerConnected(key(peer).peer_id))
            effects += self.announce(peer, slots=slots, labels=labels)
        return effects

    def disconnect(self, *peers: int) -> list[Effect]:
        """Peers are lost."""
        return [effect for peer in peers for effect in self.handle(PeerDisconnected(key(peer).peer_id))]

    def announce(
        self,
        peer: int,
        *,
        slots: int = 2,
        labels: tuple[str, ...] = (),
        leaving: bool = False,
        claims: Sequence[Event] = (),
        heads: Sequence[Event] = (),
        events: Sequence[Event] = (),
    ) -> list[Effect]:
        """A peer announces something by gossip."""
        number = self._announced[peer] = self._announced.get(peer, 0) + 1
        announcement = Announcement(
            boot_ms=1,
            number=number,
            name=f"peer {peer}",
            labels=labels,
            slots=slots,
            leaving=leaving,
            claims=tuple(event.cid for event in claims),
            addresses=(f"/ip4/127.0.0.1/tcp/{peer}",),
            heads=tuple(event.cid for event in heads),
            fingerprint=bytes(32),
            events=tuple(event.data for event in events),
        )
        return self.handle(GossipReceived(key(peer).peer_id, encode_message(announcement)))

    def hear(self, *events: Event, by: int = 1) -> list[Effect]:
        """A peer sends events."""
        return self.frame(by, encode_events([event.data for event in events]))

    def tell(self, peer: int, message: Message) -> list[Effect]:
        """A peer sends a frame."""
        return self.frame(peer, encode_message(message))

    def frame(self, peer: int, data: bytes) -> list[Effect]:
        """A peer sends bytes."""
        return self.handle(FrameReceived(key(peer).peer_id, data))

    # -- what it wrote ----------------------------------------------------------------------------------------------

    def written(self, effects: Iterable[Effect], kind: type[O]) -> list[tuple[Event, O]]:
        """The ops of a kind that the replica itself saved."""
        events = [e.event for e in effects if isinstance(e, Save) and e.event.header.author == self.peer]
        return [(event, op) for event in events for op in event.ops if isinstance(op, kind)]


def of(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    """The effects of a kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def untimed(happened: Timed) -> list[Effect]:
    """The effects alone."""
    return [effect for _, effect in happened]


def broadcasts(effects: Iterable[Effect]) -> list[Announcement]:
    """What was announced by gossip."""
    return [decode_announcement_untrusted(effect.data) for effect in of(effects, Broadcast)]


def sends(effects: Iterable[Effect]) -> list[tuple[PeerId, Message]]:
    """What was sent to whom."""
    return [(effect.peer, decode_frame_untrusted(effect.data)) for effect in of(effects, Send)]


def ranking(pen: Pen, submission: Event, workers: Sequence[int], task: str = "t", attempt: int = 1) -> list[int]:
    """The workers, nearest to a task first."""
    model = Naive([*pen.events, submission])
    run = model.run(next(id for id, (event, _) in model.runs().items() if event.cid == submission.cid))
    return sorted(workers, key=lambda worker: run.order(task, attempt, key(worker).peer_id))


def scheduling(**changes: object) -> SchedulerSettings:
    """The usual settings, but for what is given."""
    return replace(SCHEDULING, **changes)  # type: ignore[arg-type]
