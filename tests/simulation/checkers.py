"""What must hold after every single step of every machine, whatever the faults. `CheckFailed` names what did not."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from coterie_protocols.effects import Effect, Save
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import Done
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import Instant
from coterie_protocols.stimuli import DeadlineReached, FrameReceived, GossipReceived, Stimulus
from coterie_protocols.task import Order
from simulation.machine import Machine, WatchedReplica
from simulation.runner import Attempt, Journal

ROUNDS_AT_ONCE_MAX: Final = 50
"""A core that asks to be called again at once more often than this would burn the processor for ever."""
DIGEST_SHARE: Final = 16
"""One set of events in so many is checked for equal digests while the swarm runs; at the end all are."""


QUESTIONS_IN_TEN_S_MAX: Final = 150
_QUESTION_ENDS: Final = b"\x64want"  # the last value of a `SyncRequest`


class CheckFailed(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, machine: str, what: str) -> None:
    """Raises CheckFailed unless it holds."""
    if not holds:
        raise CheckFailed(f"{machine}: {what}")


class Checkers:
    """Watches all machines of a swarm, and keeps the hash of everything that happened."""

    def __init__(self, journal: Journal, now: Callable[[], float], slots: dict[str, int]) -> None:
        self.trace = hashlib.sha256()
        self.steps = 0
        self.events: dict[Cid, Event] = {}
        self.authored: dict[tuple[PeerId, int], set[Cid]] = {}
        self.honest: frozenset[PeerId] = frozenset()
        self._now = now
        self._slots = slots
        self._journal = journal
        self._heads: dict[str, set[Cid]] = {}
        self._digests: dict[bytes, str] = {}
        self._accepted: dict[tuple[str, str, str], tuple[int, Order, Cid]] = {}
        self._rounds: dict[str, tuple[float, int]] = {}
        self._questions: dict[tuple[PeerId, PeerId, int], int] = {}
        journal.on_start = self._started

    def watch(
        self,
        machine: Machine,
        replica: WatchedReplica,
        stimulus: Stimulus | None,
        effects: Sequence[Effect],
        now: Instant,
    ) -> None:
        """Called after every step of a core, before the shell performs its effects."""
        self.steps += 1
        self._note(machine.name, stimulus, now)
        if stimulus is None:
            self._heads[machine.name] = heads_of(machine)
        self._not_spinning(machine.name, stimulus, now.monotonic)
        events = [effect.event for effect in effects if isinstance(effect, Save)]
        if events:
            self._take(machine.name, events)
            self._heads_are_childless(machine.name, replica)
            self._same_set_same_state(machine.name, replica)

    def saved(self, machine: Machine, events: Sequence[Event]) -> None:
        """Called when a machine's store took events."""
        for event in events:
            self.events[event.cid] = event
            self.authored.setdefault((event.header.author, event.header.seq), set()).add(event.cid)
        if machine.peer is not None:
            self._results_stand(machine.name, machine.replica, events)

    def frame(self, sender: PeerId, receiver: PeerId, data: bytes) -> None:
        """Called for every frame: two peers that ask each other again and again have lost their way."""
        if sender in self.honest and data.endswith(_QUESTION_ENDS):
            key = (sender, receiver, int(self._now() / 10))
            self._questions[key] = self._questions.get(key, 0) + 1
            require(self._questions[key] <= QUESTIONS_IN_TEN_S_MAX, sender, "it asks the same peer without end")

    def forget(self, machine: str) -> None:
        """The machine lost events that it had."""
        for key in [key for key in self._accepted if key[0] == machine]:
            del self._accepted[key]

    def _note(self, machine: str, stimulus: Stimulus | None, now: Instant) -> None:
        self.trace.update(f"{now.monotonic:.9f} {machine} {type(stimulus).__name__}".encode())
        if isinstance(stimulus, FrameReceived | GossipReceived):
            self.trace.update(stimulus.data)

    def _not_spinning(self, machine: str, stimulus: Stimulus | None, now: float) -> None:
        at, rounds = self._rounds.get(machine, (now, 0))
        rounds = rounds + 1 if isinstance(stimulus, DeadlineReached) and at == now else 0
        self._rounds[machine] = (now, rounds)
        require(rounds < ROUNDS_AT_ONCE_MAX, machine, "its deadline is never met: it spins")

    def _take(self, machine: str, events: Sequence[Event]) -> None:
        heads = self._heads[machine]
        for event in events:
            self.trace.update(event.cid.encode())
            heads.difference_update(event.header.parents)
            heads.add(event.cid)

    def _heads_are_childless(self, machine: str, replica: Replica) -> None:
        heads = {head.cid for head in replica.clock.heads}
        require(heads == self._heads[machine], machine, "its heads are not the events without children")

    def _same_set_same_state(self, machine: str, replica: Replica) -> None:
        fingerprint = replica.clock.fingerprint
        if fingerprint[-1] % DIGEST_SHARE == 0:
            digest = replica.state.digest()
            known = self._digests.setdefault(fingerprint, digest)
            require(digest == known, machine, "the same set of events has come to another state")

    def _results_stand(self, machine: str, replica: Replica, events: Sequence[Event]) -> None:
        """An accepted result belongs to a claim of its author, and gives way only to a lesser (attempt, order)."""
        for op in (op for event in events for op in event.ops if isinstance(op, Done)):
            run = replica.state.run(op.run)
            if run is None or op.task not in run.specs:
                continue
            standing = run.standing(op.task, replica.state.authority)
            key = (machine, op.run, op.task)
            if standing.done is None or standing.claim is None:
                require(key not in self._accepted, machine, f"the accepted result of {op.task} is gone")
                continue
            require(standing.done.op.claim == standing.claim.cid, machine, "a result without its claim")
            require(standing.done.header.author == standing.claim.author, machine, "a result by another than claimed")
            accepted = (standing.claim.op.attempt, standing.claim.order, standing.done.header.cid)
            before = self._accepted.get(key, accepted)
            require(accepted <= before, machine, f"the result of {op.task} gave way to a later attempt")
            self._accepted[key] = accepted

    def _started(self, attempt: Attempt) -> None:
        running = len(self._journal.live[attempt.machine])
        require(running <= self._slots[attempt.machine], attempt.machine, f"{running} tasks run on too few slots")


def heads_of(machine: Machine) -> set[Cid]:
    """The stored events that no stored event has as a parent, by definition."""
    headers = [decode_event_untrusted(data, verify=False).header for data in machine.store.replay()]
    return {header.cid for header in headers} - {parent for header in headers for parent in header.parents}
