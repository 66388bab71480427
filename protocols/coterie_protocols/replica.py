"""One peer's core: stimuli in, effects out. Puts clock, state, presence, scheduler, sync and announcer together.

`handle` is the only way to change a replica once it started, and it is synchronous: under trio, atomic. Every event
that it writes or accepts is in a `Save` effect of the same batch, which the shell makes durable before all else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

from coterie_protocols.acceptable import batches, objection, sayable
from coterie_protocols.announcer import Announcer
from coterie_protocols.clock import Clock, Headers
from coterie_protocols.effects import Answer, Broadcast, Changed, Disconnect, Effect, FetchBlobs, Remember, Save, Send
from coterie_protocols.encoding import Cid, cid_of_event
from coterie_protocols.errors import BadMessage, NotAllowed, NotFound, TryLater, UserError
from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.messages import (
    Announcement,
    Events,
    Message,
    SyncDone,
    SyncRequest,
    decode_announcement_untrusted,
    decode_frame_untrusted,
    encode_message,
)
from coterie_protocols.ops import Cancel, Done, Op, RunId, Submit
from coterie_protocols.presence import Presence
from coterie_protocols.replica_settings import Instant, ReplicaSettings
from coterie_protocols.run import run_id
from coterie_protocols.scheduler import Scheduler
from coterie_protocols.state import State, Touched
from coterie_protocols.stimuli import (
    DeadlineReached,
    FrameReceived,
    GossipReceived,
    PeerConnected,
    PeerDisconnected,
    RunCancelled,
    RunSubmitted,
    Stimulus,
    StopBegan,
    TaskEnded,
)
from coterie_protocols.sync import Chance, Sync, answer

STRANGER_EVENTS_MAX: Final = 8
REQUESTS_HELD_MAX: Final = 256
HEADS_MAX: Final = 16
HEADS_PATIENCE_S: Final = 5.0
ROUNDS_MAX: Final = 16

Request = RunSubmitted | RunCancelled | TaskEnded


@dataclass(slots=True)
class _Turn:
    """What one call of `handle` gathers: effects in order, ops to be written, others' events, what events touched."""

    now: Instant
    effects: list[Effect] = field(default_factory=list[Effect])
    ops: list[Op] = field(default_factory=list[Op])
    learned: list[Event] = field(default_factory=list[Event])
    touched: set[Touched] = field(default_factory=set[Touched])


class Replica:
    """The state machine of one peer. `stored` answers for events that left its memory."""

    def __init__(
        self, key: SigningKey, coterie: Cid, stored: Headers, settings: ReplicaSettings, chance: Chance
    ) -> None:
        self.me: PeerId = key.peer_id
        self.settings = settings
        self.clock = Clock(coterie, stored)
        self.state = State(self.clock)
        self.presence = Presence(alive_for_s=2.5 * settings.presence_interval_s)
        self.scheduler = Scheduler(self.me, settings.scheduler, self.state, self.presence)
        self.sync = Sync(settings.sync_timeout_s, settings.anti_entropy_interval_s, chance)
        self.announcer = Announcer(
            settings.name,
            sorted(settings.scheduler.labels),
            settings.scheduler.slots,
            settings.announce_interval_s,
            settings.presence_interval_s,
        )
        self.entries: dict[Cid, Event] = {}
        self._key = key
        self._recover_until = float("-inf")
        self._requests: list[Request] = []
        self._unsettled: set[Touched] = set()
        self._crowded_since: float | None = None
        self._missed: frozenset[Cid] = frozenset()
        self._rumour: tuple[Cid, ...] = ()
        self._signed_at = float("-inf")
        self._unproven: dict[PeerId, float] = {}  # whom we asked -> our last sign of life before

    # -- life -----------------------------------------------------------------------------------------------------

    def load(self, events: Iterable[bytes]) -> None:
        """Takes in what this peer stored earlier; the bytes were verified when they were stored."""
        for data in events:
            event = decode_event_untrusted(data, verify=False)
            self.clock.restore(event)
            self._apply(event)

    def start(self, now: Instant, addresses: tuple[str, ...], boot_ms: int | None = None) -> list[Effect]:
        """Begins to act. A peer that is not alone first asks for the tail of its own log, which it may have lost.

        `boot_ms` orders this start after all earlier ones of the peer; without it the wall clock does.
        """
        self.announcer.start(now.wall_ms if boot_ms is None else boot_ms)
        self.announcer.addresses = addresses
        self.sync.start(now.monotonic)
        if len(self.state.members) > 1:
            self._recover_until = now.monotonic + self.settings.recover_timeout_s
        self._unsettled = {(run.id, None) for run in self.state.runs}
        return self._settle(_Turn(now))

    def handle(self, stimulus: Stimulus, now: Instant) -> list[Effect]:
        """What to do about something that happened."""
        turn = _Turn(now)
        match stimulus:
            case PeerConnected():
                self._connected(stimulus.peer, turn)
            case PeerDisconnected():
                if stimulus.peer in self.state.members:
                    self.presence.disconnect(stimulus.peer, now.monotonic)
                else:
                    self.presence.forget(stimulus.peer)
                self.sync.forget(stimulus.peer)
                self._unproven.pop(stimulus.peer, None)
                turn.effects.append(Changed(None))
            case FrameReceived():
                self._received(stimulus, turn)
            case GossipReceived():
                self._received(stimulus, turn)
            case RunSubmitted() | RunCancelled() | TaskEnded():
                self._request(stimulus, turn)
            case StopBegan():
                ops, effects = self.scheduler.stop("the peer is shutting down", finish=stimulus.finish)
                turn.ops += ops
                turn.effects += effects
            case DeadlineReached():
                pass  # what is due is done for every stimulus alike
            case _:
                assert_never(stimulus)
        return self._settle(turn)

    def say_goodbye(self, now: Instant) -> list[Effect]:
        """The last announcement: others need not wait for this peer any more."""
        self.announcer.leaving = True
        farewell = encode_message(self.announcer.publish(self.clock, (), now.monotonic))
        direct: list[Effect] = [Send(peer, farewell) for peer in self._connected_members()]
        return [Broadcast(farewell), *direct]

    def deadline(self, now: Instant) -> float:
        """The monotonic time at which `DeadlineReached` is due; infinity if never."""
        times = [self._announce_due(), self.sync.deadline()]
        recovering = self._recovering(now)
        times.append(self._recover_until if recovering else self.scheduler.deadline(now.monotonic))
        if self._crowded_since is not None:
            times.append(self._crowded_since + HEADS_PATIENCE_S)
        if self._unsettled and not recovering:
            times.append(now.monotonic)
        return min(times)

    # -- what others say ------------------------------------------------------------------------------------------

    def _connected(self, peer: PeerId, turn: _Turn) -> None:
        self.presence.connect(peer, turn.now.monotonic, counts=peer in self.state.members)
        turn.effects.append(Changed(None))
        if peer in self.state.members:
            self._greet(peer, turn)

    def _greet(self, peer: PeerId, turn: _Turn) -> None:
        """Says who we are (a member may not know us yet); the one with the lesser id asks for the rest."""
        claims = tuple(self.scheduler.held)
        own = tuple(event.data for event in self.entries.values() if event.header.author == self.me)
        turn.effects.append(Send(peer, encode_message(Events(own))))
        turn.effects.append(Send(peer, encode_message(self.announcer.compose(self.clock, claims))))
        if self.me < peer:
            self._ask(peer, turn)

    def _ask(self, peer: PeerId, turn: _Turn, *, beside: bool = False) -> bool:
        begun = self.sync.begin(peer, turn.now.monotonic, beside=beside)
        if begun:
            self._unproven.setdefault(peer, self._signed_at)
            request = SyncRequest(self.clock.frontier, self.clock.fingerprint)
            turn.effects.append(Send(peer, encode_message(request)))
        return begun

    def _ask_anybody(self, turn: _Turn, but: PeerId | None = None, *, beside: bool = False) -> bool:
        peers = self._connected_members()
        chosen = self.sync.choose([peer for peer in peers if peer != but] or peers)
        return chosen is not None and self._ask(chosen, turn, beside=beside)

    def _connected_members(self) -> list[PeerId]:
        return [peer for peer in self.presence.connected() if peer in self.state.members]

    def _received(self, stimulus: FrameReceived | GossipReceived, turn: _Turn) -> None:
        peer = stimulus.peer
        try:
            gossip = isinstance(stimulus, GossipReceived)
            message = (decode_announcement_untrusted if gossip else decode_frame_untrusted)(stimulus.data)
            if peer in self.state.members:
                self._from_member(peer, message, turn)
            else:
                self._from_stranger(peer, message, turn)
        except BadMessage as error:
            turn.effects.append(Disconnect(peer, str(error)))

    def _from_stranger(self, peer: PeerId, message: Message, turn: _Turn) -> None:
        """A newcomer may show the few events that make it a member; all else from strangers is left unread."""
        if not isinstance(message, Events):
            return
        if len(message.events) > STRANGER_EVENTS_MAX:
            raise BadMessage("a stranger sends too many events")
        self._learn(message.events, turn)
        if peer in self.state.members:
            self._greet(peer, turn)

    def _from_member(self, peer: PeerId, message: Message, turn: _Turn) -> None:
        match message:
            case Events():
                self._learn(message.events, turn)
                self.sync.progress(peer, turn.now.monotonic)
            case Announcement():
                self._announced(peer, message, turn)
            case SyncRequest():
                if message.fingerprint == self.clock.fingerprint:  # who holds the same has no tail that we lost
                    self._recover_until = min(self._recover_until, turn.now.monotonic)
                differs = message.fingerprint != self.clock.fingerprint
                favour = differs and self.sync.begin(peer, turn.now.monotonic)
                turn.effects.append(answer(peer, message.have, message.fingerprint, self.clock, reply_wanted=favour))
            case SyncDone():
                self._synced(peer, message, turn)
            case _:
                assert_never(message)

    def _synced(self, peer: PeerId, message: SyncDone, turn: _Turn) -> None:
        self.sync.end(peer)
        if (signed_at := self._unproven.pop(peer, None)) is not None:
            self.scheduler.renew(signed_at)
        self._recover_until = min(self._recover_until, turn.now.monotonic)
        if message.reply_wanted:
            turn.effects.append(answer(peer, message.have, message.fingerprint, self.clock, reply_wanted=False))
        missing = frozenset(self.clock.missing())
        if missing - self._missed:  # what nobody has (a liar's parents) must not be asked for again and again
            self._ask_anybody(turn, but=peer)
        self._missed = missing
        rumour, self._rumour = self._rumour, ()
        if not all(self.clock.knows(head) for head in rumour):
            self._ask_anybody(turn, but=peer)

    def _announced(self, peer: PeerId, message: Announcement, turn: _Turn) -> None:
        self._learn(message.events, turn)
        before = self.presence.sighting(peer).announcement
        if self.presence.hear(peer, message, turn.now.monotonic):
            self.scheduler.hear_claims(message.claims, peer, turn.now.monotonic)
            if before is None or before.addresses != message.addresses:
                turn.effects.append(Remember(peer, message.addresses))
            if before is None or _offer(before) != _offer(message):
                turn.effects.append(Changed(None))
        if not all(self.clock.knows(head) for head in message.heads):
            near = self.presence.sighting(peer).connected
            asked = self._ask(peer, turn) if near else self._ask_anybody(turn)
            if not asked:  # the answer that is under way may bring them; else ask once it is complete
                self._rumour = message.heads

    def _learn(self, events: Iterable[bytes], turn: _Turn) -> None:
        for data in events:
            if self.clock.recalls(cid_of_event(data)):
                continue  # new events come more than once, and checking a signature is dear
            for event in self.clock.insert(decode_event_untrusted(data)):
                turn.effects.append(Save(event))
                turn.touched |= self._apply(event)
                turn.learned.append(event)

    def _apply(self, event: Event) -> set[Touched]:
        if event.header.prev is None:
            self.entries[event.cid] = event
            self.announcer.want()  # a newcomer does not know us, our labels and our addresses yet
        return self.state.apply(event)

    def _keep_copies(self, event: Event, turn: _Turn) -> None:
        """Asks for the blobs of which this peer should hold a copy: what it may have to run, and the logs of what
        it submitted. So a run outlives the machine that submitted it. Of what is over nothing needs to be run."""
        author, authority = event.header.author, self.state.authority
        for index, op in enumerate(event.ops):
            if isinstance(op, Submit):
                run = self.state.run(run_id(event.cid, index))
                open = run is not None and run.status(authority) in ("queued", "running")
                if open and authority.may(self.me, "work"):
                    blobs = (op.plan,) if op.source is None else (op.plan, op.source)
                    turn.effects.append(FetchBlobs(blobs, (author,)))
            elif isinstance(op, Done) and op.log is not None:
                run = self.state.run(op.run)
                if run is not None and run.submission is not None and run.submission.header.author == self.me:
                    turn.effects.append(FetchBlobs((op.log,), (author,)))

    # -- what our own user and runner say -------------------------------------------------------------------------

    def _recovering(self, now: Instant) -> bool:
        return now.monotonic < self._recover_until

    def _request(self, stimulus: Request, turn: _Turn) -> None:
        if not self._recovering(turn.now):
            self._serve(stimulus, turn)
        elif isinstance(stimulus, TaskEnded) or len(self._requests) < REQUESTS_HELD_MAX:
            self._requests.append(stimulus)
        else:
            error = TryLater("the peer has just started and too many requests wait already", "try again in a moment")
            turn.effects.append(Answer(stimulus.request, None, error))

    def _serve(self, stimulus: Request, turn: _Turn) -> None:
        match stimulus:
            case TaskEnded():
                turn.ops += self.scheduler.ended(stimulus)
                return
            case RunSubmitted():
                op: Submit | Cancel = stimulus.submit
            case RunCancelled():
                op = Cancel(stimulus.run, sayable(stimulus.reason))
        try:
            self._check_wish(op)
        except UserError as error:
            turn.effects.append(Answer(stimulus.request, None, error))
            return
        event = self._write_one((op,), turn)
        run = run_id(event.cid, 0) if isinstance(op, Submit) else op.run
        turn.effects.append(Answer(stimulus.request, run))

    def _check_wish(self, op: Submit | Cancel) -> None:
        if not self.state.authority.may(self.me, "submit"):
            raise NotAllowed("this peer may not submit", "ask an admin for an invitation with the role submit")
        if isinstance(op, Cancel) and self.state.run(op.run) is None:
            raise NotFound(f"no run {op.run}", "see: coterie workflow list")
        if why := objection(op):
            message = f"the submission can't be recorded: {why}"
            raise UserError(message, "use fewer or shorter inputs, job names and labels, or --placement run")

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self, ops: Iterable[Op], turn: _Turn) -> None:
        for batch in batches(ops):
            self._write_one(batch, turn)

    def _write_one(self, ops: tuple[Op, ...], turn: _Turn) -> Event:
        event = self.clock.write(self._key, ops, turn.now.wall_ms)
        turn.effects.append(Save(event))
        turn.touched |= self._apply(event)
        self.announcer.add(event.data)
        return event

    # -- consequences ---------------------------------------------------------------------------------------------

    def _settle(self, turn: _Turn) -> list[Effect]:
        """Lets the scheduler draw its conclusions until nothing new follows, then announces."""
        for event in turn.learned:  # all at once: a run's end may have come together with its submission
            self._keep_copies(event, turn)
        changed = {run for run, _ in turn.touched}
        self._unsettled |= turn.touched
        if not self._recovering(turn.now):
            self._serve_held_requests(turn)
            self._write(turn.ops, turn)
            changed |= self._conclude(turn)
        self._tidy_heads(turn)
        self._keep_in_touch(turn)
        turn.effects += [Changed(run) for run in sorted(changed)]
        return turn.effects

    def _serve_held_requests(self, turn: _Turn) -> None:
        waiting, self._requests = self._requests, []
        for request in waiting:
            self._serve(request, turn)

    def _conclude(self, turn: _Turn) -> set[RunId]:
        changed: set[RunId] = set()
        now = turn.now.monotonic
        self._unsettled |= turn.touched
        for _ in range(ROUNDS_MAX):
            touched, self._unsettled, turn.touched = self._unsettled, set(), set()
            changed |= {run for run, _ in touched}
            ops, effects = self.scheduler.consider(touched, now)
            more_ops, more_effects = self.scheduler.decide(now)
            turn.effects += [*effects, *more_effects]
            self._write([*ops, *more_ops], turn)
            self._unsettled = turn.touched
            if not self._unsettled:
                break
        return changed

    def _tidy_heads(self, turn: _Turn) -> None:
        """Too many heads for too long: the live member with the least id ties them together with an empty event."""
        now = turn.now.monotonic
        if len(self.clock.heads) <= HEADS_MAX:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = now
        elif now >= self._crowded_since + HEADS_PATIENCE_S and not self._recovering(turn.now):
            self._crowded_since = now
            others = [peer for peer in self.state.members if self.presence.alive(peer, now)]
            if self.me == min([self.me, *others]):
                self._write_one((), turn)

    def _keep_in_touch(self, turn: _Turn) -> None:
        now = turn.now.monotonic
        self.presence.refresh(self.state.members, now)
        if self.sync.expired(now) or self.sync.round_due(now):
            self._ask_anybody(turn, beside=True)
        if self._announce_due() <= now:
            claims = tuple(self.scheduler.held)
            announcement = self.announcer.publish(self.clock, claims, now)
            turn.effects.append(Broadcast(encode_message(announcement)))
            self._signed_at = now
            if len(self.state.members) == 1:
                self.scheduler.renew(now)
            elif self.scheduler.needs_company():
                self._ask_anybody(turn, beside=True)  # only an answer proves that the connection is not dead already

    def _announce_due(self) -> float:
        return self.announcer.due(self.settings.scheduler.lease_s if self.scheduler.held else None)


def _offer(announcement: Announcement) -> tuple[tuple[str, ...], int, bool]:
    return announcement.labels, announcement.slots, announcement.leaving
