"""Who runs what: turns the state and the sightings into claims, starts and stops.

Rules, from the design: the nearest candidate claims at once and rank r waits r times `stagger_s`; peers that are
believed dead or full are skipped in the waiting, never barred. A claim stands while its holder gives signs of life;
the holder's own lease ends before anybody else's patience does, with no synchronised clocks. Nothing here decides
what a task's result is: that is the state's, and every peer's alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from coterie_protocols.candidates import Candidates
from coterie_protocols.effects import Effect, StartTask, StopTask
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.openings import Opening, Openings, TaskKey
from coterie_protocols.ops import REASON_CHARS_MAX, Claim, Done, Op, Release, RunId
from coterie_protocols.presence import Presence
from coterie_protocols.run import Run
from coterie_protocols.scheduler_settings import SchedulerSettings
from coterie_protocols.state import State, Touched
from coterie_protocols.stimuli import TaskEnded, TaskResult
from coterie_protocols.task import ClaimRecord, TaskView

OBSERVER_PATIENCE: Final = 1.25
"""How many leases an observer waits: with clocks that drift by less than a tenth, the holder always expires first."""


Stop = Literal["lost", "cancelled", "released"]


@dataclass(slots=True)
class Held:
    """A claim of ours, and what became of it here. `start_at` is None once the task was started."""

    key: TaskKey
    claim: ClaimRecord
    start_at: float | None
    lease_until: float
    stop: Stop | None = None
    reason: str = ""


@dataclass(slots=True)
class Lease:
    """Another peer's claim, and until when we believe in it; at-most-once tasks are never taken over."""

    claim: ClaimRecord
    expires_at: float
    expired: bool = False


@dataclass(slots=True)
class Scheduler:
    """The decisions of one peer. `me` is this peer; the rest is told by `consider` and `decide`."""

    me: PeerId
    settings: SchedulerSettings
    state: State
    presence: Presence
    candidates: Candidates = field(init=False)
    held: dict[Cid, Held] = field(default_factory=dict[Cid, Held])
    leases: dict[TaskKey, Lease] = field(default_factory=dict[TaskKey, Lease])
    openings: Openings = field(default_factory=Openings)
    stopping: bool = False
    _claimed_here: set[tuple[RunId, str, int]] = field(default_factory=set[tuple[RunId, str, int]])
    _leases_by_claim: dict[Cid, TaskKey] = field(default_factory=dict[Cid, TaskKey])

    def __post_init__(self) -> None:
        self.candidates = Candidates(self.me, self.settings, self.state, self.presence)

    # -- what changed ---------------------------------------------------------------------------------------------

    def consider(self, touched: Iterable[Touched], now: float) -> tuple[list[Op], list[Effect]]:
        """Looks at what may have changed; returns the ops to publish and the tasks to start or stop."""
        ops: list[Op] = []
        effects: list[Effect] = []
        for run, task in self._affected(touched, effects):
            self._consider(run, task, now, ops, effects)
        return ops, effects

    def _affected(self, touched: Iterable[Touched], effects: list[Effect]) -> list[tuple[Run, str]]:
        affected: dict[TaskKey, tuple[Run, str]] = {}
        for id, task in sorted(touched, key=lambda each: (each[0], each[1] or "")):
            run = self.state.run(id)
            if run is None:
                self._forsake(id, effects)
                continue
            for each in run.specs if task is None else run.related(task):
                affected[(id, each)] = (run, each)
        return list(affected.values())

    def _forsake(self, id: RunId, effects: list[Effect]) -> None:
        """There is no such run: unknown as yet, or void since its submitter turned out to be no member."""
        for key in [key for key in (*(o.key for o in self.openings), *self.leases) if key[0] == id]:
            self._close(key)
        for cid, held in self.held.items():
            if held.key[0] == id and held.stop is None:
                self._stop(cid, held, "lost", "the run is void", effects)

    def _consider(self, run: Run, task: str, now: float, ops: list[Op], effects: list[Effect]) -> None:
        key = (run.id, task)
        view = run.view(task, self.state.authority)
        self._stop_others(key, view, effects)
        claim = view.standing.claim
        if view.status is not None:
            self._close(key)
        elif view.standing.phase == "claimed" and claim is not None:
            self._claimed(key, run, claim, now, ops)
        elif view.ready:
            self._drop_lease(key)
            self._open(key, run, view, now)
        else:
            self._close(key)

    def _stop_others(self, key: TaskKey, view: TaskView, effects: list[Effect]) -> None:
        standing = view.standing
        mine = standing.claim.cid if standing.claim and standing.phase == "claimed" and view.status is None else None
        for cid, held in self.held.items():
            if held.key == key and cid != mine and held.stop is None:
                cancelled = view.status == "cancelled"
                self._stop(cid, held, "cancelled" if cancelled else "lost", view.reason or "superseded", effects)

    def _stop(self, cid: Cid, held: Held, stop: Stop, reason: str, effects: list[Effect]) -> None:
        held.stop, held.reason = stop, reason
        if held.start_at is None:
            effects.append(StopTask(held.key[0], held.key[1], cid, reason))

    def _close(self, key: TaskKey) -> None:
        self.openings.remove(key)
        self._drop_lease(key)

    def _drop_lease(self, key: TaskKey) -> None:
        lease = self.leases.pop(key, None)
        if lease is not None:
            self._leases_by_claim.pop(lease.claim.cid, None)

    def _claimed(self, key: TaskKey, run: Run, claim: ClaimRecord, now: float, ops: list[Op]) -> None:
        if claim.author != self.me:
            self._observe(key, claim, now)
            return
        self._close(key)
        if claim.cid in self.held:
            return
        if (key[0], key[1], claim.op.attempt) in self._claimed_here:
            self._hold(key, run, claim, now)
        else:
            ops.append(Release(key[0], key[1], claim.op.attempt, claim.cid, "the peer was restarted"))

    def _observe(self, key: TaskKey, claim: ClaimRecord, now: float) -> None:
        lease = self.leases.get(key)
        if lease is not None and lease.claim.cid == claim.cid:
            return
        self._close(key)
        self.leases[key] = Lease(claim, now + OBSERVER_PATIENCE * self.settings.lease_s)
        self._leases_by_claim[claim.cid] = key

    def _hold(self, key: TaskKey, run: Run, claim: ClaimRecord, now: float) -> None:
        careful = run.submission is not None and run.submission.op.care != "normal"
        stable = now - self.presence.changed_at >= self.settings.stable_after_s
        rivals = any(self.state.authority.may(peer, "work") for peer in self.state.members if peer != self.me)
        settled = stable or not rivals
        wait = self.settings.careful_settle_s if careful else 0.0 if settled else self.settings.settle_s
        self.held[claim.cid] = Held(key, claim, now + wait, now + self.settings.lease_s)

    def _open(self, key: TaskKey, run: Run, view: TaskView, now: float) -> None:
        standing = view.standing
        supersedes = standing.claim.cid if standing.claim else None
        known = self.openings.get(key)
        if known is None or known.attempt != standing.attempt or known.supersedes != supersedes:
            delay = self._retry_delay(standing.attempt, standing.failures)
            self._add_opening(key, run, standing.attempt, supersedes, now + delay)

    def _add_opening(self, key: TaskKey, run: Run, attempt: int, supersedes: Cid | None, opens_at: float) -> None:
        if run.submission is None:
            return
        self.openings.add(
            Opening(
                key=key,
                attempt=attempt,
                supersedes=supersedes,
                opens_at=opens_at,
                priority=run.submission.op.priority,
                lamport=run.submission.header.lamport,
                combined=run.combined(key[1], attempt),
                labels=frozenset(label.lower() for label in run.specs[key[1]].labels),
                careful=run.submission.op.care != "normal",
            )
        )

    def _retry_delay(self, attempt: int, failures: int) -> float:
        """Seconds before an attempt may be claimed: doubling after failures; a first release costs nothing."""
        doublings = failures - 1 if failures else attempt - 3
        return min(self.settings.retry_delay_max_s, 2.0**doublings) if doublings >= 0 else 0.0

    # -- what is due ----------------------------------------------------------------------------------------------

    def decide(self, now: float) -> tuple[list[Op], list[Effect]]:
        """What time has made due: expired leases, settled claims, and new claims while slots are free."""
        effects: list[Effect] = []
        for held_cid, held in self.held.items():
            if held.start_at is not None and held.start_at <= now and held.stop is None:
                held.start_at = None
                effects.append(self._start(held_cid, held))
        self._expire_own(now, effects)
        self._expire_others(now)
        return [*self._unstarted(), *self._claims(now)], effects

    def _start(self, cid: Cid, held: Held) -> StartTask:
        id, task = held.key
        run = self.state.run(id)
        assert run is not None, "a held claim is of a known run"
        assert run.submission is not None, "a known run was submitted"
        op, spec = run.submission.op, run.specs[task]
        return StartTask(
            run=id,
            task=task,
            attempt=held.claim.op.attempt,
            claim=cid,
            placement=op.placement,
            workflow=op.workflow,
            event=op.event,
            submitter=run.submission.header.author,
            plan=op.plan,
            source=op.source,
            inputs=op.inputs,
            needs=run.need_results(spec, self.state.authority),
            ancestors=run.ancestor_results(spec, self.state.authority),
        )

    def _unstarted(self) -> list[Op]:
        """A claim that lost while it settled is simply forgotten; one that was let go is released."""
        over = [(cid, held) for cid, held in self.held.items() if held.start_at is not None and held.stop is not None]
        ops: list[Op] = []
        for cid, held in over:
            del self.held[cid]
            if held.stop == "released":
                ops.append(self._release(cid, held))
        return ops

    def _release(self, cid: Cid, held: Held) -> Release:
        return Release(held.key[0], held.key[1], held.claim.op.attempt, cid, held.reason)

    def _expire_own(self, now: float, effects: list[Effect]) -> None:
        for cid, held in self.held.items():
            if held.lease_until <= now and held.stop is None and self._must_stop_alone(held):
                self._stop(cid, held, "released", "the lease ended and no member was in reach", effects)

    def _must_stop_alone(self, held: Held) -> bool:
        run = self.state.run(held.key[0])
        return self.candidates.needs_company(
            run is not None and run.submission is not None and run.submission.op.care != "normal"
        )

    def _expire_others(self, now: float) -> None:
        for key, lease in list(self.leases.items()):
            if lease.expired or lease.expires_at > now:
                continue
            lease.expired = True
            run = self.state.run(key[0])
            if run is not None and run.submission is not None and run.submission.op.care != "at-most-once":
                self._add_opening(key, run, lease.claim.op.attempt + 1, lease.claim.cid, now)

    def _claims(self, now: float) -> list[Op]:
        if not self._may_claim():
            return []
        ops: list[Op] = []
        free = self.settings.slots - len(self.held)
        waits: Mapping[TaskKey, float | None] = self._waits(now) if free > 0 else {}
        alone = self.candidates.alone()
        while len(ops) < free:
            opening = self.openings.pop_due(now, waits)
            if opening is None:
                break
            if alone and self.candidates.needs_company(opening.careful):
                self.openings.add(opening)
            else:
                ops.append(self._claim(opening))
        return ops

    def _may_claim(self) -> bool:
        return not self.stopping and self.state.authority.may(self.me, "work")

    def _claim(self, opening: Opening) -> Claim:
        id, task = opening.key
        self._claimed_here.add((id, task, opening.attempt))
        run = self.state.run(id)
        assert run is not None, "an opening is of a known run"
        consumed = run.consumed(run.specs[task], self.state.authority)
        return Claim(id, task, opening.attempt, opening.supersedes, consumed)

    def _waits(self, now: float) -> Mapping[TaskKey, float | None]:
        """Per waiting opening how long this peer leaves it to nearer ones; None where it must not run here."""
        free, alone = self.free_slots(), self.candidates.alone()
        waits: dict[TaskKey, float | None] = {}
        for opening in self.openings.waiting:
            barred = alone and self.candidates.needs_company(opening.careful)
            waits[opening.key] = None if barred else self.candidates.wait(opening, free, now)
        return waits

    def free_slots(self) -> dict[PeerId, int]:
        """The declared slots of each member less the open claims that the clock shows."""
        free = {peer: self.candidates.slots_of(peer) for peer in self.state.members}
        free[self.me] = self.settings.slots - len(self.held)
        for lease in self.leases.values():
            if lease.claim.author in free and not lease.expired:
                free[lease.claim.author] -= 1
        return free

    def deadline(self, now: float) -> float:
        """When `decide` has something to do next; infinity if nothing but news can bring that about."""
        times = [held.start_at for held in self.held.values() if held.start_at is not None and held.stop is None]
        times += [h.lease_until for h in self.held.values() if h.stop is None and self._must_stop_alone(h)]
        times += [lease.expires_at for lease in self.leases.values() if not lease.expired]
        if len(self.held) < self.settings.slots and len(self.openings) and self._may_claim():
            times.append(self.openings.next_due(self._waits(now)))
        return min(times, default=float("inf"))

    # -- what others and our own runner say -----------------------------------------------------------------------

    def hear_claims(self, claims: Iterable[Cid], holder: PeerId, now: float) -> None:
        """A sign of life from a holder renews the leases of the claims that it names."""
        for cid in claims:
            key = self._leases_by_claim.get(cid)
            lease = self.leases.get(key) if key else None
            if key is None or lease is None or lease.claim.author != holder:
                continue
            lease.expires_at = now + OBSERVER_PATIENCE * self.settings.lease_s
            if lease.expired:
                lease.expired = False
                self.openings.remove(key)

    def renew(self, signed_at: float) -> None:
        """A member was in reach after the sign of life that was sent at `signed_at`: our own leases run from then."""
        for held in self.held.values():
            held.lease_until = max(held.lease_until, signed_at + self.settings.lease_s)

    def needs_company(self) -> bool:
        """Do we hold a claim that we must give up when no member is in reach?"""
        return any(self._must_stop_alone(held) for held in self.held.values())

    def ended(self, stimulus: TaskEnded) -> list[Op]:
        """The runner is through with a task: what to tell the others."""
        held = self.held.pop(stimulus.claim, None)
        if held is None:
            return []
        result = stimulus.result
        match held.stop:
            case "lost":
                return []
            case "released" if result is not None and result.status != "cancelled":
                return [self._done(held, result)]  # it was through before it could be stopped
            case "released":
                return [self._release(stimulus.claim, held)]
            case "cancelled":
                return [self._done(held, result or TaskResult("cancelled", reason=held.reason))]
            case None:
                if result is not None:
                    return [self._done(held, result)]
                held.reason = stimulus.reason[:REASON_CHARS_MAX]
                return [self._release(stimulus.claim, held)]

    def _done(self, held: Held, result: TaskResult) -> Done:
        return Done(
            run=held.key[0],
            task=held.key[1],
            attempt=held.claim.op.attempt,
            claim=held.claim.cid,
            status=result.status,
            outputs=result.outputs,
            log=result.log,
            started_ms=result.started_ms,
            ended_ms=result.ended_ms,
            reason=result.reason[:REASON_CHARS_MAX],
            jobs=result.jobs,
        )

    def stop(self, reason: str, *, finish: bool) -> tuple[list[Op], list[Effect]]:
        """Claims nothing more, and gives up what runs; with `finish`, only what did not start yet."""
        self.stopping = True
        effects: list[Effect] = []
        for cid, held in self.held.items():
            if held.stop is None and not (finish and held.start_at is None):
                self._stop(cid, held, "released", reason, effects)
        return self._unstarted(), effects
