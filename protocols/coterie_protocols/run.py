"""One run: its submission, its tasks, and what they come to together."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from coterie_protocols.assignment import combined, head_of, task_hash
from coterie_protocols.authority import Authority
from coterie_protocols.clock import Clock
from coterie_protocols.effects import NeedResult
from coterie_protocols.encoding import Cid, Value, encode
from coterie_protocols.event import Header
from coterie_protocols.ops import Cancel, Claim, Done, Release, RunId, Status, Submit, TaskSpec
from coterie_protocols.task import (
    OPEN,
    ClaimRecord,
    DoneRecord,
    Standing,
    TaskRecord,
    TaskView,
    digest_value,
    new_claim,
    resolve,
)

RunStatus = Literal["queued", "running", "success", "failure", "cancelled"]
_ID_CHARS: Final = 26


def run_id(submit_event: Cid, index: int) -> RunId:
    """The id of the run that op `index` of an event submits: 130 bits of SHA-256 in base32."""
    digest = hashlib.sha256(f"{submit_event}/{index}".encode()).digest()
    return RunId(base64.b32encode(digest).decode().lower()[:_ID_CHARS])


@dataclass(frozen=True, slots=True)
class Submission:
    """The op that asked for the run, and the event that carried it."""

    header: Header
    op: Submit


class Run:
    """All that the clock says of one run. A run is known from the first op that names it, submitted or not."""

    def __init__(self, id: RunId) -> None:
        self.id = id
        self.submission: Submission | None = None
        self.cancels: dict[Cid, tuple[Header, Cancel]] = {}
        self._records: dict[str, TaskRecord] = {}
        self._specs: dict[str, TaskSpec] = {}
        self._jobs: dict[str, tuple[str, ...]] = {}
        self._dependents: dict[str, tuple[str, ...]] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._head = b""
        self._standings: dict[str, Standing] = {}
        self._views: dict[str, TaskView] = {}
        self._digest: bytes | None = None

    # -- what is said -------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> None:
        """Takes the submission; early claims (of a peer that lies about its past) are ranked from now on."""
        self.submission = submission
        self._head = head_of(submission.header.parents)
        self._specs = {spec.id: spec for spec in submission.op.tasks}
        jobs: dict[str, list[str]] = {}
        dependents: dict[str, list[str]] = {}
        for spec in submission.op.tasks:
            self._needs[spec.id] = tuple(task for need in spec.needs for task in jobs.get(need, (need,)))
            for need in self._needs[spec.id]:
                dependents.setdefault(need, []).append(spec.id)
            jobs.setdefault(spec.job, []).append(spec.id)
        self._jobs = {job: tuple(ids) for job, ids in jobs.items()}
        self._dependents = {need: tuple(ids) for need, ids in dependents.items()}
        for task, record in self._records.items():
            for cid, early in record.claims.items():
                record.claims[cid] = new_claim(early.header, early.op, self.combined(task, early.op.attempt))
        self.forget_all()

    def claim(self, header: Header, op: Claim, clock: Clock) -> None:
        """Takes a claim, with the claims of the same attempt that are in its causal past."""
        record = self._record(op.task)
        rivals = [c for c in record.claims.values() if c.op.attempt == op.attempt]
        known = tuple(rival.cid for rival in rivals if clock.is_ancestor(rival.cid, header))
        if known:
            record.rivals[header.cid] = known
        record.claims[header.cid] = new_claim(header, op, self.combined(op.task, op.attempt))
        self._forget(op.task)

    def release(self, header: Header, op: Release) -> None:
        """Takes a release."""
        self._record(op.task).releases[header.cid] = (header, op)
        self._forget(op.task)

    def done(self, header: Header, op: Done) -> None:
        """Takes a result."""
        self._record(op.task).dones[header.cid] = DoneRecord(header, op)
        self._forget(op.task)

    def cancel(self, header: Header, op: Cancel) -> None:
        """Takes a wish to cancel."""
        self.cancels[header.cid] = (header, op)
        self.forget_all()

    def _record(self, task: str) -> TaskRecord:
        return self._records.setdefault(task, TaskRecord())

    def _forget(self, task: str) -> None:
        self._digest = None
        self._standings.pop(task, None)
        spec = self._specs.get(task)
        stack = list(self._jobs.get(spec.job, ())) if spec else [task]
        while stack:
            if self._views.pop(each := stack.pop(), None) is not None:
                stack.extend(self._dependents.get(each, ()))

    def forget_all(self) -> None:
        """Drops what was derived: the submission, a cancel or the authority changed."""
        self._digest = None
        self._standings.clear()
        self._views.clear()

    # -- what it comes to ----------------------------------------------------------------------------------------

    @property
    def specs(self) -> Mapping[str, TaskSpec]:
        """The tasks by id, in an order in which needs come first."""
        return self._specs

    def related(self, task: str) -> Iterable[str]:
        """The tasks whose view may change when `task` does: itself, its matrix, and all that depend on them."""
        seen: dict[str, None] = {}
        spec = self._specs.get(task)
        stack = list(self._jobs.get(spec.job, ())) if spec else []
        while stack:
            each = stack.pop()
            if each not in seen:
                seen[each] = None
                stack.extend(self._dependents.get(each, ()))
        return seen

    def combined(self, task: str, attempt: int) -> bytes:
        """The hash that ranks peers for one attempt (`assignment.combined`)."""
        canonical: dict[str, Value] = {"run": self.id, "task": task}
        return combined(self._head, task_hash(canonical), attempt)

    def standing(self, task: str, authority: Authority) -> Standing:
        """What the task's own records come to."""
        known = self._standings.get(task)
        if known is None:
            retries = self.submission.op.retries if self.submission else 0
            record = self._records.get(task)
            known = resolve(record, retries, authority) if record is not None else OPEN
            self._standings[task] = known
        return known

    def view(self, task: str, authority: Authority) -> TaskView:
        """The task, with its needs and its run's fate taken into account."""
        if task not in self._views:
            # In the order of the submission needs come first, so that no chain of them, however long, recurses.
            for spec in self._specs.values():
                if spec.id not in self._views:
                    self._views[spec.id] = self._derive(spec, authority)
                if spec.id == task:
                    break
        return self._views[task]

    def _derive(self, spec: TaskSpec, authority: Authority) -> TaskView:
        standing = self.standing(spec.id, authority)
        if standing.done is not None:
            return TaskView(spec, standing, False, standing.done.op.status, standing.done, standing.done.op.reason)
        cancel = self.cancelled(authority)
        if cancel is not None:
            return TaskView(spec, standing, False, "cancelled", None, cancel.reason or "the run was cancelled")
        if standing.lost:
            reason = f"given up after {standing.attempt - 1} attempts that nobody finished"
            return TaskView(spec, standing, False, "failure", None, reason)
        if spec.fail_fast and (failed := self._failed_sibling(spec, authority)):
            return TaskView(spec, standing, False, "cancelled", None, f"fail-fast: {failed} failed")
        return self._await_needs(spec, standing, authority)

    def cancelled(self, authority: Authority) -> Cancel | None:
        """The wish to cancel that counts, if a member who may submit has one."""
        valid = sorted(cid for cid, (header, _) in self.cancels.items() if authority.may(header.author, "submit"))
        return self.cancels[valid[0]][1] if valid else None

    def _failed_sibling(self, spec: TaskSpec, authority: Authority) -> str | None:
        for sibling in self._jobs[spec.job]:
            standing = self.standing(sibling, authority)
            failed = standing.lost or (standing.done is not None and standing.done.op.status == "failure")
            if failed and not self._specs[sibling].continue_on_error:
                return sibling
        return None

    def _await_needs(self, spec: TaskSpec, standing: Standing, authority: Authority) -> TaskView:
        needed = [self.view(need, authority) for need in self._needs[spec.id]]
        if any(view.status is None for view in needed):
            return TaskView(spec, standing, False, None, None, "waits for its needs")
        unmet = [view.spec.id for view in needed if outcome(view) != "success"]
        if unmet and not spec.conditional:
            return TaskView(spec, standing, False, "skipped", None, f"needs {unmet[0]}, which did not succeed")
        if spec.max_parallel and not self._has_turn(spec, authority):
            return TaskView(spec, standing, False, None, None, f"max-parallel is {spec.max_parallel}")
        return TaskView(spec, standing, standing.phase == "open", None, None)

    def _has_turn(self, spec: TaskSpec, authority: Authority) -> bool:
        siblings = self._jobs[spec.job]
        before = siblings[: siblings.index(spec.id)]
        standings = [self.standing(sibling, authority) for sibling in before]
        return sum(each.done is None and not each.lost for each in standings) < spec.max_parallel

    def status(self, authority: Authority) -> RunStatus:
        """The run as a whole: GitHub's rules, a failure that `continue-on-error` allows being a success."""
        views = [self.view(task, authority) for task in self._specs]
        outcomes = {outcome(view) for view in views}
        if None in outcomes:
            begun = any(view.status or view.standing.claim is not None for view in views)
            return "running" if begun else "queued"
        if "cancelled" in outcomes and self.cancelled(authority):
            return "cancelled"
        if "failure" in outcomes:
            return "failure"
        return "cancelled" if "cancelled" in outcomes else "success"

    def need_results(self, spec: TaskSpec, authority: Authority) -> Mapping[str, NeedResult]:
        """The `needs` context of a task: by job key, the worst result of its tasks and the outputs of all."""
        jobs = dict.fromkeys(self._specs[need].job for need in self._needs[spec.id])
        return {job: self._job_result(job, authority) for job in jobs}

    def _job_result(self, job: str, authority: Authority) -> NeedResult:
        views = [self.view(task, authority) for task in self._jobs[job]]
        outcomes = {outcome(view) for view in views}
        result: Status = "success"
        if outcomes == {"skipped"}:
            result = "skipped"
        elif "failure" in outcomes:
            result = "failure"
        elif "cancelled" in outcomes:
            result = "cancelled"
        outputs: dict[str, str] = {}
        dones = [view.done for view in views if view.done is not None]
        for done in sorted(dones, key=lambda d: (d.header.lamport, d.header.cid)):
            outputs.update({name: value for name, value in done.op.outputs.items() if value or name not in outputs})
        return NeedResult(result, outputs)

    def ancestor_results(self, spec: TaskSpec, authority: Authority) -> Mapping[str, Status]:
        """The result of every job that the task depends on, directly or not."""
        seen: set[str] = set()
        stack = list(self._needs[spec.id])
        while stack:
            need = stack.pop()
            if need not in seen:
                seen.add(need)
                stack.extend(self._needs[need])
        jobs = dict.fromkeys(self._specs[task].job for task in self._specs if task in seen)
        return {job: self._job_result(job, authority).result for job in jobs}

    def consumed(self, spec: TaskSpec, authority: Authority) -> Mapping[str, Cid]:
        """The events of the results that a claim made now would read."""
        dones = {need: self.view(need, authority).done for need in self._needs[spec.id]}
        return {need: done.header.cid for need, done in dones.items() if done is not None}

    def claims(self, task: str) -> tuple[ClaimRecord, ...]:
        """Every claim of a task, valid or not."""
        record = self._records.get(task)
        return () if record is None else tuple(record.claims.values())

    def digest(self, authority: Authority) -> bytes:
        """SHA-256 of all that was said of this run, and of what it came to."""
        if self._digest is None:
            tasks: dict[str, Value] = {}
            for task, record in self._records.items():
                known = task in self._specs
                tasks[task] = digest_value(record, self.standing(task, authority) if known else None)
            submitted = self.submission.header.cid if self.submission else None
            value: list[Value] = [self.id, submitted, tasks, sorted(self.cancels)]
            self._digest = hashlib.sha256(encode(value)).digest()
        return self._digest


def outcome(view: TaskView) -> Status | None:
    """The status as dependents and the run see it: `continue-on-error` turns a failure into a success."""
    return "success" if view.status == "failure" and view.spec.continue_on_error else view.status
