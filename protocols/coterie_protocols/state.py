"""What a coterie's events come to: members and runs. A deterministic function of the set of events.

Events are applied parents first; beyond that their order changes nothing. Ops are recorded as they come and
judged when somebody asks, by the authority as it is then: so a member lost or won late needs no second pass.
"""

import hashlib
from collections.abc import Mapping
from typing import assert_never

from coterie_protocols.authority import Authority, AuthorityOp, Member, authority_op, resolve_authority
from coterie_protocols.clock import Clock
from coterie_protocols.encoding import Value, encode
from coterie_protocols.event import Event, Header
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import Cancel, Claim, Done, Genesis, Join, Op, Release, RunId, Submit, Unknown
from coterie_protocols.run import Run, Submission, run_id

Touched = tuple[RunId, str | None]
"""A run and the task of it that an event spoke of; None for the whole run."""


class State:
    """Members and runs, as far as the applied events tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._authority_ops: list[AuthorityOp] = []
        self._runs: dict[RunId, Run] = {}
        self.authority = Authority({})
        self.coterie_name = ""

    def apply(self, event: Event) -> set[Touched]:
        """Takes in an event whose parents were applied; returns what it may have changed."""
        entry = authority_op(event)
        touched: set[Touched] = set()
        if entry is not None:
            self._enter(entry)
            touched |= {(id, None) for id in self._runs}  # whose word counts in them may have changed
        for index, op in enumerate(event.ops):
            touched |= self._take(event.header, index, op)
        return touched

    def _enter(self, entry: AuthorityOp) -> None:
        self._authority_ops.append(entry)
        self.authority = resolve_authority(self._authority_ops)
        for run in self._runs.values():
            run.forget_all()
        if isinstance(entry[1], Genesis):
            self.coterie_name = entry[1].name

    def _take(self, header: Header, index: int, op: Op) -> set[Touched]:
        match op:
            case Genesis() | Join() | Unknown():
                return set()
            case Submit():
                id = run_id(header.cid, index)
                self._run(id).submit(Submission(header, op))
                return {(id, None)}
            case Claim():
                self._run(op.run).claim(header, op, self._clock)
            case Release():
                self._run(op.run).release(header, op)
            case Done():
                self._run(op.run).done(header, op)
            case Cancel():
                self._run(op.run).cancel(header, op)
                return {(op.run, None)}
            case _:
                assert_never(op)
        return {(op.run, op.task)}

    def _run(self, id: RunId) -> Run:
        return self._runs.setdefault(id, Run(id))

    @property
    def members(self) -> Mapping[PeerId, Member]:
        """The members by peer id."""
        return self.authority.members

    def run(self, id: RunId) -> Run | None:
        """A run that was submitted by somebody who may."""
        run = self._runs.get(id)
        return run if run is not None and self._valid(run) else None

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs that were submitted by somebody who may, in the order of arrival."""
        return tuple(run for run in self._runs.values() if self._valid(run))

    def _valid(self, run: Run) -> bool:
        return run.submission is not None and self.authority.may(run.submission.header.author, "submit")

    def digest(self) -> str:
        """SHA-256 in hex over members and runs: equal for equal sets of events."""
        members: list[Value] = [
            [m.peer, m.entry, sorted(m.roles)] for m in sorted(self.members.values(), key=lambda m: m.peer)
        ]
        hasher = hashlib.sha256(encode(members))
        for id in sorted(self._runs):
            hasher.update(self._runs[id].digest(self.authority))
        return hasher.hexdigest()
