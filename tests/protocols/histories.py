"""Histories of every kind of op, drawn by hypothesis: forks, late joins, over-used invites, early claims, takeovers."""

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

from coterie_protocols.clock import Clock, Headers
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Header
from coterie_protocols.ops import Claim, Status, Submit
from coterie_protocols.state import State
from protocols.building import Pen, cancel, claim, done, key, release, run_of, spec, submit, write_unknown

KINDS = (
    "submit",
    "claim",
    "claim",
    "claim",
    "takeover",
    "done",
    "done",
    "release",
    "cancel",
    "join",
    "fork",
    "unknown",
)
STATUSES: tuple[Status, ...] = ("failure", "success", "failure", "success", "cancelled", "failure", "skipped")
RUNS_MAX = 3
PLANS: tuple[Submit, ...] = (
    submit(retries=1),
    submit(spec("a"), spec("b", "a"), spec("c", "b")),
    submit(*(spec(f"m{i}", job="m", fail_fast=True) for i in range(3)), spec("d", "m"), retries=1),
    submit(*(spec(f"p{i}", job="p", max_parallel=1) for i in range(3)), spec("e", "p0", "p1", "p2", conditional=True)),
    submit(spec("x", continue_on_error=True), spec("y", "x")),
)
Move = tuple[str, int, int, int]
small = st.integers(0, 11)
moves: st.SearchStrategy[list[Move]] = st.lists(st.tuples(st.sampled_from(KINDS), small, small, small), max_size=24)


def random_moves(seed: int, count: int) -> list[Move]:
    """A long history, for what short ones do not reach."""
    chance = Random(seed)
    return [(chance.choice(KINDS), *(chance.randrange(1200) for _ in range(3))) for _ in range(count)]  # type: ignore[misc]


class History:
    """Turns moves into events, each valid for the clock, whatever it is worth."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self.pen = pen = Pen()
        pen.join(2)
        pen.join(3, "work")
        pen.join(4, "observe")
        self.shared = pen.certificate(900, ("admin", "submit", "work"), uses=1)
        self.late = [5, 6, 7]
        self.authors = [1, 2, 3, 4]
        self.submitted: list[tuple[Event, Submit]] = []
        self.claims: list[tuple[int, Event, Claim]] = []
        for move in moves:
            self._play(*move)

    def _parents(self, choice: int) -> list[Event] | None:
        """All heads, or fewer: then the event knows less than there is."""
        if choice % 12 < 7:
            return None
        if choice % 12 < 9:
            return [self.pen.genesis]
        return [self.pen.events[-1 - choice % len(self.pen.events)]]

    def _play(self, kind: str, who: int, what: int, over: int) -> None:
        author = self.authors[who % len(self.authors)]
        parents = self._parents(over)
        match kind:
            case "submit" if len(self.submitted) < RUNS_MAX:
                op = PLANS[what % len(PLANS)]
                self.submitted.append((self.pen.write(author, op, parents=parents), op))
            case "join":
                self._join(parents)
            case "unknown":
                write_unknown(self.pen, author, [{"op": "later", "what": [what]}])
            case "fork":
                mine = [event for event in self.pen.events if event.header.author == key(author).peer_id]
                earlier = mine[what % len(mine)]
                self.pen.write(author, parents=parents, prev=earlier, time_ms=2_000 + len(self.pen.events))
            case _:
                if self.submitted:
                    self._work(kind, author, what, parents)

    def _join(self, parents: list[Event] | None) -> None:
        if not self.late:
            return
        newcomer = self.late.pop(0)
        if newcomer == 7:  # by an admin that may lose its own place again
            admin = self.authors[-1]
            self.pen.join(7, issuer=admin) if admin in (5, 6) else self.pen.join(7)
        else:
            # two newcomers, one use: who comes first in (Lamport, CID) stays, however late it is heard of
            self.pen.join_with(newcomer, self.shared, 900, parents=[self.pen.genesis, *(parents or [])][:2])
        self.authors.append(newcomer)

    def _work(self, kind: str, author: int, what: int, parents: list[Event] | None) -> None:
        event, op = self.submitted[what % len(self.submitted)]
        run, task = run_of(event), op.tasks[(what // 2) % len(op.tasks)].id
        mine = [(by, at, each) for by, at, each in self.claims if by == author]
        match kind:
            case "claim":
                self._claim(author, claim(run, task), parents)
            case "takeover" if self.claims:
                _, at, each = self.claims[what % len(self.claims)]
                self._claim(author, claim(each.run, each.task, each.attempt + 1, at), parents)
            case "done" if self.claims:
                _, at, each = (mine or self.claims)[what % len(mine or self.claims)]
                status = STATUSES[(what + len(self.pen.events)) % len(STATUSES)]
                self.pen.write(
                    author, done(each.run, at, status, task=each.task, attempt=each.attempt), parents=parents
                )
            case "release" if self.claims:
                _, at, each = (mine or self.claims)[what % len(mine or self.claims)]
                self.pen.write(author, release(each.run, at, task=each.task, attempt=each.attempt), parents=parents)
            case "cancel" if what % 40 == 0:
                self.pen.write(author, cancel(run), parents=parents)
            case _:
                pass

    def _claim(self, author: int, op: Claim, parents: list[Event] | None) -> None:
        self.claims.append((author, self.pen.write(author, op, parents=parents), op))


class Observer(Headers):
    """A clock and a state that take events as they come; keeps few headers in memory when told so."""

    def __init__(self, coterie: Cid, recent_max: int = 8192) -> None:
        self.stored: dict[Cid, Header] = {}
        self.clock = Clock(coterie, self, recent_max)
        self.state = State(self.clock)
        self.inserted: list[Event] = []

    def header(self, cid: Cid) -> Header | None:
        """As the store has it."""
        return self.stored.get(cid)

    def receive(self, event: Event) -> int:
        """Inserts an event; returns how many became known by it."""
        news = self.clock.insert(event)
        for each in news:
            wanted = {*each.header.parents, *([each.header.prev] if each.header.prev else [])}
            assert wanted <= self.stored.keys(), "parents come before children"
            assert each.cid not in self.stored, "nothing comes twice"
            self.stored[each.cid] = each.header
            self.state.apply(each)
        self.inserted += news
        return len(news)

    def receive_all(self, events: Sequence[Event], chance: Random | None = None, copies: int = 1) -> None:
        """Delivers in a random order, with duplicates, and again until nothing new comes of it: as sync does."""
        while True:
            order = [event for event in events for _ in range(copies)]
            if chance is not None:
                chance.shuffle(order)
            if not sum([self.receive(event) for event in order]):
                return

    def look(self) -> dict[str, object]:
        """All that a peer could say of what it knows, in a form to be compared."""
        authority = self.state.authority
        return {
            "fingerprint": self.clock.fingerprint,
            "heads": [head.cid for head in self.clock.heads],
            "frontier": dict(self.clock.frontier),
            "forks": dict(self.clock.forks),
            "count": self.clock.count,
            "pending": self.clock.pending_count,
            "members": dict(self.state.members),
            "runs": {run.id: self._look_at(run.id) for run in self.state.runs},
            "digest": self.state.digest(),
            "authority": sorted(authority.members),
        }

    def _look_at(self, id: object) -> dict[str, object]:
        run = next(run for run in self.state.runs if run.id == id)
        authority = self.state.authority
        return {
            "status": run.status(authority),
            "cancelled": run.cancelled(authority),
            "views": {task: run.view(task, authority) for task in run.specs},
            "needs": {task: run.need_results(spec, authority) for task, spec in run.specs.items()},
            "consumed": {task: run.consumed(spec, authority) for task, spec in run.specs.items()},
            "ancestors": {task: run.ancestor_results(spec, authority) for task, spec in run.specs.items()},
        }
