"""The clock of a coterie at work, for benches: runs of four jobs each, submitted, claimed and done by ten members."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from coterie_protocols.clock import Clock, enter_coterie, found_coterie
from coterie_protocols.encoding import Cid, cid_of_blob
from coterie_protocols.event import PARENTS_MAX, Event, Header, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.invite import issue_certificate, join_op
from coterie_protocols.ops import Claim, Done, Op, RunId, Submit, TaskSpec
from coterie_protocols.run import run_id

AUTHORS: Final = 10
RUNS_AT_ONCE: Final = 12
RIVAL_CLAIMS: Final = 0.05
"""The share of tasks that two members claim at once."""
NEWS_MISSED: Final = 0.3
"""The share of events whose author had not yet heard of the newest one."""
START_MS: Final = 1_790_000_000_000
TASKS: Final = (
    TaskSpec("build", "build", (), ("linux",)),
    TaskSpec("test (3.12, linux)", "test", ("build",), ("linux",), fail_fast=True),
    TaskSpec("test (3.13, linux)", "test", ("build",), ("linux",), fail_fast=True),
    TaskSpec("deploy", "deploy", ("test",), ("linux",)),
)

Wish = tuple[PeerId, Op]
"""What the next event is to say, and who says it."""


@dataclass(frozen=True, slots=True)
class History:
    """`entries` are the genesis and the joins, the last of them by `newcomer`, who knows nothing of `events`."""

    newcomer: SigningKey
    entries: list[Event]
    events: list[Event]


def working_history(count: int, seed: int = 1) -> History:
    """`count` events over those that found the coterie, parents first; equal for equal arguments."""
    pen = _Pen(Random(seed))
    newcomer = pen.admit(AUTHORS + 1)
    workers = [pen.admit(number) for number in range(2, AUTHORS + 1)] + [pen.founder]
    entries = [*pen.events]
    runs: list[Generator[Wish, Event, None]] = []
    wishes: list[Wish] = []
    while len(pen.events) < len(entries) + count:
        if len(runs) < RUNS_AT_ONCE:
            run = _run(pen.random, [key.peer_id for key in workers])
            runs.append(run)
            wishes.append(next(run))
        chosen = pen.random.randrange(len(runs))
        try:
            wishes[chosen] = runs[chosen].send(pen.write(*wishes[chosen]))
        except StopIteration:
            del runs[chosen], wishes[chosen]
    return History(newcomer, entries, pen.events[len(entries) :])


def write_runs(clock: Clock, key: SigningKey, count: int, seed: int = 1) -> list[Event]:
    """`count` events of such runs, all by `key` and one after the other, written into `clock`."""
    random, events = Random(seed), list[Event]()
    while True:
        run = _run(random, [key.peer_id] * 2)
        wish = next(run)
        with suppress(StopIteration):
            while True:
                events.append(clock.write(key, (wish[1],), START_MS))
                if len(events) == count:
                    return events
                wish = run.send(events[-1])


def _run(random: Random, workers: list[PeerId]) -> Generator[Wish, Event, None]:
    """The ops of one run in their order; is sent the event that each of them became."""
    plan = cid_of_blob(random.randbytes(32))
    submit = Submit("ci.yml", "push", plan, plan, {}, 3.0, "job", "normal", 0, TASKS)
    submitted = yield random.choice(workers), submit
    run = run_id(submitted.cid, 0)
    results: dict[str, Cid] = {}
    for task in TASKS:
        consumed = {spec.id: results[spec.id] for spec in TASKS if spec.job in task.needs}
        worker, rival = random.sample(workers, 2)
        claim = yield worker, Claim(run, task.id, 1, None, consumed)
        if random.random() < RIVAL_CLAIMS:
            yield rival, Claim(run, task.id, 1, None, consumed)
        done = yield worker, _done(random, run, task.id, claim.cid)
        results[task.id] = done.cid


def _done(random: Random, run: RunId, task: str, claim: Cid) -> Done:
    log = cid_of_blob(random.randbytes(32))
    return Done(run, task, 1, claim, "success", {"version": "1.2.3"}, log, START_MS, START_MS + 4_000, "")


class _Pen:
    """Writes events over the heads that their authors would know."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.founder = _key(1)
        self._invite = _key(1_000)
        genesis = found_coterie(self.founder, "bench", bytes(16), START_MS)
        self._coterie = genesis.cid
        self._certificate = issue_certificate(
            self.founder,
            coterie=genesis.cid,
            invite=self._invite.peer_id,
            roles=("submit", "work"),
            labels=(),
            expires_ms=START_MS * 2,
            uses=1_000,
        )
        self.events = [genesis]
        self._keys = {self.founder.peer_id: self.founder}
        self._last: dict[PeerId, Header] = {self.founder.peer_id: genesis.header}
        self._heads: dict[Cid, Header] = {genesis.cid: genesis.header}

    def admit(self, number: int) -> SigningKey:
        """Another member."""
        key = _key(number)
        join = join_op(self._invite, self._certificate, newcomer=key.peer_id, name=f"peer-{number}", labels=(), slots=2)
        self._keys[key.peer_id] = key
        self._add(enter_coterie(key, self._coterie, self.events[0].header, join, START_MS))
        return key

    def write(self, author: PeerId, op: Op) -> Event:
        """The author's next event."""
        prev = self._last[author]
        heads = [*self._heads.values()]
        if len(heads) > 1 and self.random.random() < NEWS_MISSED:
            heads.pop()
        parents = sorted(heads, key=lambda head: (-head.lamport, head.cid))[:PARENTS_MAX]
        event = write_event(
            self._keys[author],
            coterie=self._coterie,
            seq=prev.seq + 1,
            prev=prev.cid,
            parents=tuple(parent.cid for parent in parents),
            lamport=1 + max(prev.lamport, *(parent.lamport for parent in parents)),
            time_ms=START_MS + 10 * len(self.events),
            ops=(op,),
        )
        self._add(event)
        return event

    def _add(self, event: Event) -> None:
        self.events.append(event)
        self._last[event.header.author] = event.header
        for parent in event.header.parents:
            self._heads.pop(parent, None)
        self._heads[event.cid] = event.header


def _key(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(32, "big"))
