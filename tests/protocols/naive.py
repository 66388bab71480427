"""What a set of events comes to, restated from the design's words: whole, slow, recursive, with no caches.

Shares nothing with the product but the decoded events. `Naive.view` answers what `Run.view` answers.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import Cancel, Claim, Done, Genesis, Join, Release, Submit, TaskSpec

GIVE_UP_AFTER = 20
Roles = frozenset[str]
Verdict = tuple[str, int, Cid | None, Cid | None, int, bool]
"""(phase, attempt, the claim that stands, the result that counts, failures, lost)."""


def sha(*parts: bytes) -> bytes:
    """SHA-256 of the concatenation."""
    return hashlib.sha256(b"".join(parts)).digest()


def binary_cid(cid: str) -> bytes:
    """The 36 bytes behind the text of a CID."""
    text = cid[1:].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


def cbor_text(text: str) -> bytes:
    """A CBOR text string of fewer than 256 bytes."""
    raw = text.encode()
    return (bytes([0x60 + len(raw)]) if len(raw) < 24 else bytes([0x78, len(raw)])) + raw


def run_name(event: Event, index: int) -> str:
    """The id of the run that op `index` of an event submits."""
    return base64.b32encode(sha(f"{event.cid}/{index}".encode())).decode().lower()[:26]


@dataclass(frozen=True)
class Said:
    """One op, and the event that said it."""

    event: Event
    op: Claim | Release | Done | Cancel


class Naive:
    """The members and runs of a set of events."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = {event.cid: event for event in events}
        self.past: dict[Cid, frozenset[Cid]] = {}
        for event in sorted(self.events.values(), key=lambda e: e.header.lamport):
            near = {*event.header.parents, *([event.header.prev] if event.header.prev else [])}
            self.past[event.cid] = frozenset(near.union(*(self.past[cid] for cid in near)))
        self.roles = self._roles()

    def _roles(self) -> dict[PeerId, Roles]:
        entries = [e for e in self.events.values() if e.header.prev is None]
        admitted: list[tuple[PeerId, Roles, PeerId | None]] = []
        for event in sorted(entries, key=lambda e: (e.header.lamport, e.cid)):
            op, author = event.ops[0], event.header.author
            if any(peer == author for peer, _, _ in admitted):
                continue
            if isinstance(op, Genesis):
                admitted.append((author, frozenset(("admin", "submit", "work", "observe")), None))
            elif isinstance(op, Join):
                paper = op.certificate
                by_admin = any(peer == paper.issuer and "admin" in roles for peer, roles, _ in admitted)
                if by_admin and sum(invite == paper.invite for _, _, invite in admitted) < paper.uses:
                    admitted.append((author, frozenset(paper.roles), paper.invite))
        return {peer: roles for peer, roles, _ in admitted}

    def may(self, event: Event, role: str) -> bool:
        """Had the event's author the role?"""
        return role in self.roles.get(event.header.author, ())

    def runs(self) -> dict[str, tuple[Event, Submit]]:
        """The runs that count."""
        return {
            run_name(event, index): (event, op)
            for event in self.events.values()
            for index, op in enumerate(event.ops)
            if isinstance(op, Submit) and self.may(event, "submit")
        }

    def all_runs(self) -> dict[str, tuple[Event, Submit] | None]:
        """Every run that anybody speaks of, with its submission by whomever."""
        spoken: dict[str, tuple[Event, Submit] | None] = {
            op.run: None
            for event in self.events.values()
            for op in event.ops
            if isinstance(op, Claim | Release | Done | Cancel)
        }
        for event in self.events.values():
            for index, op in enumerate(event.ops):
                if isinstance(op, Submit):
                    spoken[run_name(event, index)] = (event, op)
        return spoken

    def digest_of(self, name: str) -> list[object]:
        """What the state digest covers of a run (SPEC.md, section 9)."""
        submitted = self.all_runs()[name]
        run = NaiveRun(self, name, *submitted) if submitted else None
        said: dict[str, list[list[Cid]]] = {}
        cancels: set[Cid] = set()
        for event in self.events.values():
            for op in event.ops:
                if isinstance(op, Cancel) and op.run == name:
                    cancels.add(event.cid)
                elif isinstance(op, Claim | Release | Done) and op.run == name:
                    lists = said.setdefault(op.task, [[], [], []])
                    lists[(Claim, Release, Done).index(type(op))].append(event.cid)
        tasks: dict[str, list[object]] = {}
        for task, lists in said.items():
            tasks[task] = [sorted(set(each)) for each in lists]
            if run is not None and task in run.tasks:
                tasks[task] += run.verdict(task)[:4]
        return [name, submitted[0].cid if submitted else None, tasks, sorted(cancels)]

    def run(self, name: str) -> "NaiveRun":
        """One run that counts."""
        return NaiveRun(self, name, *self.runs()[name])


class NaiveRun:
    """One run of a set of events."""

    def __init__(self, world: Naive, name: str, event: Event, op: Submit) -> None:
        self.world, self.name, self.event, self.op = world, name, event, op
        self.tasks = {task.id: task for task in op.tasks}

    def said(self, kind: type[Claim] | type[Release] | type[Done], task: str) -> list[Said]:
        """What was said of a task; where one event says a thing twice, the last counts."""
        last: dict[Cid, Said] = {}
        for event in self.world.events.values():
            for op in event.ops:
                if isinstance(op, kind) and op.run == self.name and op.task == task:
                    last[event.cid] = Said(event, op)
        return list(last.values())

    def order(self, task: str, attempt: int, peer: PeerId) -> tuple[int, bytes]:
        """The nearest is the least."""
        head = sha(*sorted(binary_cid(parent) for parent in self.event.header.parents))
        task_hash = sha(b"\xa2", cbor_text("run"), cbor_text(self.name), cbor_text("task"), cbor_text(task))
        both = sha(head, task_hash, attempt.to_bytes(4, "big") if attempt > 1 else b"")
        apart = sum(bin(a ^ b).count("1") for a, b in zip(both, sha(peer.encode()), strict=True))
        return apart, sha(both, peer.encode())

    def valid_claims(self, task: str, attempt: int) -> list[Said]:
        """Claims by workers that follow a valid claim of the attempt before, and knew no valid rival."""
        if attempt == 0:
            return []
        before = {said.event.cid for said in self.valid_claims(task, attempt - 1)}
        valid: list[Said] = []
        claims = [said for said in self.said(Claim, task) if said.op.attempt == attempt]  # type: ignore[union-attr]
        for said in sorted(claims, key=lambda each: each.event.header.lamport):
            assert isinstance(said.op, Claim)
            follows = attempt == 1 or said.op.supersedes in before
            knew = any(other.event.cid in self.world.past[said.event.cid] for other in valid)
            if follows and not knew and self.world.may(said.event, "work"):
                valid.append(said)
        return valid

    def verdict(self, task: str, attempt: int = 1, failures: int = 0, last: Cid | None = None) -> Verdict:
        """From `attempt` on: is it open, claimed, or is there a result?"""
        claims = self.valid_claims(task, attempt)
        if not claims:
            return "open", attempt, last, None, failures, False
        authors = {said.event.cid: said.event.header.author for said in claims}

        def rank(cid: Cid) -> tuple[int, bytes]:
            return self.order(task, attempt, authors[cid])

        holder = min(authors, key=rank)
        results = [
            (rank(said.op.claim), said.event.cid, said.op)
            for said in self.said(Done, task)
            if isinstance(said.op, Done)
            and said.op.attempt == attempt
            and authors.get(said.op.claim) == said.event.header.author
        ]
        if results:
            _, cid, result = min(results, key=lambda each: each[:2])
            if result.status != "failure" or failures >= self.op.retries:
                return "ended", attempt, result.claim, cid, failures, False
            return self.verdict(task, attempt + 1, failures + 1, holder)
        given_up = any(
            isinstance(said.op, Release) and said.op.claim == holder and said.event.header.author == authors[holder]
            for said in self.said(Release, task)
        )
        if given_up and attempt - failures >= GIVE_UP_AFTER:
            return "open", attempt + 1, holder, None, failures, True
        if given_up or self.valid_claims(task, attempt + 1):
            return self.verdict(task, attempt + 1, failures, holder)
        return "claimed", attempt, holder, None, failures, False

    def cancelled(self) -> bool:
        """Did somebody who may submit want it stopped?"""
        return any(
            isinstance(op, Cancel) and op.run == self.name and self.world.may(event, "submit")
            for event in self.world.events.values()
            for op in event.ops
        )

    def failed(self, task: str) -> bool:
        """Did a task fail by its own records?"""
        phase, _, _, result, _, lost = self.verdict(task)
        return lost or (phase == "ended" and self._status(task, result) == "failure")

    def _status(self, task: str, result: Cid | None) -> str:
        return next(
            said.op.status for said in self.said(Done, task) if said.event.cid == result and isinstance(said.op, Done)
        )

    def status(self, task: str) -> str | None:
        """How the task ended, None while it did not."""
        phase, _, _, result, _, lost = self.verdict(task)
        if phase == "ended":
            return self._status(task, result)
        if self.cancelled():
            return "cancelled"
        if lost:
            return "failure"
        spec = self.tasks[task]
        if spec.fail_fast and any(self._fails_the_job(other) for other in self._siblings(spec)):
            return "cancelled"
        needs = [self._outcome(need) for need in self.needs(spec)]
        if None not in needs and not spec.conditional and any(need != "success" for need in needs):
            return "skipped"
        return None

    def _fails_the_job(self, task: str) -> bool:
        return self.failed(task) and not self.tasks[task].continue_on_error

    def needs(self, spec: TaskSpec) -> list[str]:
        """The tasks that it waits for: all earlier ones of a job that it names, else the one task."""
        ids = [task.id for task in self.op.tasks]
        earlier = self.op.tasks[: ids.index(spec.id)]
        jobs = {need: [task.id for task in earlier if task.job == need] for need in spec.needs}
        return [task for need in spec.needs for task in jobs[need] or [need]]

    def _siblings(self, spec: TaskSpec) -> list[str]:
        return [other.id for other in self.op.tasks if other.job == spec.job]

    def _outcome(self, task: str) -> str | None:
        status = self.status(task)
        return "success" if status == "failure" and self.tasks[task].continue_on_error else status

    def ready(self, task: str) -> bool:
        """May the open attempt be claimed?"""
        spec = self.tasks[task]
        if self.status(task) is not None or self.verdict(task)[0] != "open":
            return False
        if None in [self._outcome(need) for need in self.needs(spec)]:
            return False
        if not spec.max_parallel:
            return True
        siblings = self._siblings(spec)
        earlier = siblings[: siblings.index(task)]
        return sum(self._unfinished(other) for other in earlier) < spec.max_parallel

    def _unfinished(self, task: str) -> bool:
        phase, *_, lost = self.verdict(task)
        return phase != "ended" and not lost
