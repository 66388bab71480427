"""The daemon as the control socket sees it: finds things by prefix, plans what is submitted, streams logs."""

import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, cast, get_args

import trio

from coterie.copies import Copies
from coterie.network.counters import NetworkCounters
from coterie.peer import Peer
from coterie.ports import Blobs, Logs, Network, Store, Unreachable
from coterie.rebuilt import PROBLEMS_MAX, Rebuilt
from coterie.serving import closing, read_file
from coterie.view_of import clock_view, member_view, run_view, spec_of
from coterie.views import ClockView, InviteView, MemberView, RunView, StatusView, SubmitRequest, VerifyView
from coterie.wall_clock import rfc3339, unix_ms
from coterie_protocols.errors import BadMessage, NotAllowed, NotFound, TryLater, UserError
from coterie_protocols.event import Event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.invite import Token, issue_certificate, token_from_text_untrusted, token_to_text
from coterie_protocols.messages import EVENTS_FRAME_BYTES, LogRequest, encode_request
from coterie_protocols.ops import LABELS_MAX, ROLES, Join, Role, Submit
from coterie_protocols.replica import Replica
from coterie_protocols.run import Run, RunStatus
from coterie_protocols.task import ClaimRecord
from coterie_protocols.workflow.document import submission_to_bytes
from coterie_protocols.workflow.inputs import typed_inputs
from coterie_protocols.workflow.model import Json, Submission
from coterie_protocols.workflow.plan import plan_workflow
from coterie_protocols.workflow.task_specs import task_specs

CANDIDATES_SHOWN_MAX: Final = 5
VERIFY_EVENTS_AT_ONCE: Final = 200
"""About 15 ms of work."""
INVITE_VALID_S_MAX: Final = 366 * 24 * 3600.0


@dataclass(slots=True)
class Service:
    """Implements `views.Daemon` over the parts that `app` put together."""

    key: SigningKey
    name: str
    data_dir: Path
    peer: Peer
    store: Store
    network: Network
    blobs: Blobs
    logs_here: Logs
    copies: Copies
    stopping: trio.Event
    started_at: float
    count_network: Callable[[], NetworkCounters] | None = None

    @property
    def _replica(self) -> Replica:
        return self.peer.replica

    # -- what is --------------------------------------------------------------------------------------------------

    def status(self) -> StatusView:
        """This daemon."""
        replica = self._replica
        state, scheduler = replica.state, replica.scheduler
        statuses = [run.status(state.authority) for run in state.runs]
        return StatusView(
            peer=replica.me,
            name=self.name,
            coterie=replica.clock.coterie,
            coterie_name=state.coterie_name,
            version=version("coterie"),
            pid=os.getpid(),
            uptime_s=round(trio.current_time() - self.started_at, 3),
            roles=tuple(sorted(state.members[replica.me].roles)) if replica.me in state.members else (),
            labels=tuple(sorted(scheduler.settings.labels)),
            slots=scheduler.settings.slots,
            free=scheduler.settings.slots - len(scheduler.held),
            addresses=tuple(f"{address}/p2p/{replica.me}" for address in self.network.addresses()),
            members=len(state.members),
            connected=len(self.network.connected() & state.members.keys()),
            events=replica.clock.count,
            digest=state.digest(),
            runs={status: statuses.count(status) for status in sorted(set(statuses))},
            running=tuple(f"{held.key[0]}/{held.key[1]}" for held in scheduler.held.values()),
            data_dir=str(self.data_dir),
        )

    def members(self) -> tuple[MemberView, ...]:
        """The coterie, self first."""
        replica, connected, now = self._replica, self.network.connected(), trio.current_time()
        peers = sorted(replica.state.members, key=lambda peer: (peer != replica.me, peer))
        return tuple(member_view(replica, peer, now, connected, self.name) for peer in peers)

    def clock(self) -> ClockView:
        """Heads, frontier, digest."""
        return clock_view(self._replica)

    def runs(self, limit: int) -> tuple[RunView, ...]:
        """The newest runs first."""
        runs = sorted(self._replica.state.runs, key=_submitted_ms, reverse=True)[:limit]
        return tuple(self._view(run) for run in runs)

    def run(self, prefix: str) -> RunView:
        """One run. Raises NotFound."""
        return self._view(self._find(prefix))

    def _view(self, run: Run) -> RunView:
        return run_view(self._replica, run, self.peer.steps)

    def _find(self, prefix: str) -> Run:
        runs = [run for run in self._replica.state.runs if run.id.startswith(prefix)] if prefix else []
        if len(runs) == 1:
            return runs[0]
        if not runs:
            raise NotFound(f"no run {prefix!r}", "see: coterie workflow list")
        shown = ", ".join(run.id for run in runs[:CANDIDATES_SHOWN_MAX])
        raise NotFound(f"{len(runs)} runs begin with {prefix!r}: {shown}", "give more of the id")

    # -- what is wished -------------------------------------------------------------------------------------------

    async def submit(self, request: SubmitRequest) -> RunView:
        """Plans, stores and announces a run; returns once it is durable. Raises InvalidWorkflow, NotAllowed."""
        if not self._replica.state.authority.may(self._replica.me, "submit"):
            raise NotAllowed("this peer may not submit", "ask an admin for an invitation with the role submit")
        github = cast(dict[str, Json], {**request.git, "event_name": request.event})
        plan = plan_workflow(request.file, request.text, event=request.event, inputs=request.inputs, github=github)
        payload = cast(dict[str, Json], dict(request.payload))
        inputs = typed_inputs(plan.inputs, request.inputs) if request.event == "workflow_dispatch" else {}
        document = submission_to_bytes(Submission(plan, request.event, payload, inputs, request.git))
        source = None
        if request.source is not None:
            source = await trio.to_thread.run_sync(self.blobs.put_file, Path(request.source))
        op = Submit(
            workflow=plan.name,
            event=request.event,
            plan=self.blobs.put(document),
            source=source,
            inputs=dict(request.inputs),
            priority=request.priority,
            placement=request.placement,
            care=request.care,
            retries=request.retries,
            tasks=task_specs(plan, request.placement),
        )
        return self.run(await self.peer.submit(op))

    async def cancel(self, prefix: str, reason: str) -> RunView:
        """Records that the run is to be stopped. Raises NotFound, NotAllowed."""
        return self.run(await self.peer.cancel(self._find(prefix).id, reason))

    def invite(self, roles: tuple[str, ...], labels: tuple[str, ...], uses: int, valid_s: float) -> InviteView:
        """A token for newcomers. Raises NotAllowed where this peer is no admin."""
        if not self._replica.state.authority.may(self._replica.me, "admin"):
            raise NotAllowed("only an admin may invite", "ask an admin to run: coterie invite")
        if not roles or not set(roles) <= ROLES:
            raise UserError(f"unknown role among {', '.join(roles)}", "roles are " + ", ".join(sorted(ROLES)))
        if len(labels) > LABELS_MAX or not 1 <= uses <= 1_000_000 or not 0 < valid_s <= INVITE_VALID_S_MAX:
            raise UserError("labels, uses or validity are out of bounds", "see: coterie invite --help")
        invite_key = SigningKey(secrets.token_bytes(32))
        expires_ms = unix_ms() + int(valid_s * 1000)
        certificate = issue_certificate(
            self.key,
            coterie=self._replica.clock.coterie,
            invite=invite_key.peer_id,
            roles=cast(tuple[Role, ...], tuple(dict.fromkeys(roles))),
            labels=labels,
            expires_ms=expires_ms,
            uses=uses,
        )
        token = token_to_text(Token(self._entries(), certificate, invite_key.seed, self.network.addresses()[:16]))
        try:
            token_from_text_untrusted(token)
        except BadMessage as error:
            raise UserError(f"nobody could use this invitation: {error}", "use fewer or shorter labels") from None
        return InviteView(token, roles, labels, uses, rfc3339(expires_ms))

    def _entries(self) -> tuple[Event, ...]:
        """The genesis and the chain of entries that made this peer an admin."""
        members, events = self._replica.state.members, self._replica.entries
        chain = [events[members[self._replica.me].entry]]
        while (issuer := _issuer(chain[-1])) is not None:
            chain.append(events[members[issuer].entry])
        return tuple(reversed(chain))

    async def verify(self) -> VerifyView:
        """Checks every stored event again and compares digests, in steps that leave the peer its turns."""
        replica, again = self._replica, Rebuilt(self._replica.clock.coterie)
        problems = list(self.store.quick_check())
        for number, data in enumerate(self.store.replay()):
            again.take(data)
            if number % VERIFY_EVENTS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        self._take_newest(again)  # and from here on without a pause, so that both sides are of one moment
        problems += again.problems
        if again.clock.count != replica.clock.count:
            problems.append(f"{again.clock.count} sound events are stored; {replica.clock.count} are in use")
        live, rebuilt = replica.state.digest(), again.state.digest()
        if live != rebuilt:
            problems.append("the state in use is not what the stored events come to")
        return VerifyView(again.clock.count, live, rebuilt, tuple(problems[:PROBLEMS_MAX]))

    def _take_newest(self, again: Rebuilt) -> None:
        position = 0
        while True:
            position, events = self.store.missing(again.clock.frontier, position, EVENTS_FRAME_BYTES)
            if not events:
                return
            for data in events:
                again.take(data)

    def metrics(self) -> bytes:
        """What this daemon counts, in the text format of Prometheus."""
        replica, metrics = self._replica, self.peer.metrics
        metrics.clock(replica.clock.count, replica.clock.pending_count, len(replica.clock.heads))
        metrics.peers(len(replica.state.members), len(self.network.connected() & replica.state.members.keys()))
        statuses = [run.status(replica.state.authority) for run in replica.state.runs]
        metrics.runs({status: statuses.count(status) for status in get_args(RunStatus)})
        metrics.inbox(self.peer.inbox_depth())
        if self.count_network is not None:
            metrics.network(self.count_network())
        return metrics.exposition()

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[str | None]]:
        """Run ids as they change, None for anything else."""
        return self.peer.changes.watch()

    def stop(self) -> None:
        """Begins a clean exit."""
        self.stopping.set()

    # -- logs -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def logs(
        self, prefix: str, job: str, attempt: int | None, offset: int, follow: bool
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A job's output from whichever peer has it; `attempt` None is the one that counts. Raises NotFound."""
        run = self._find(prefix)
        claim = self._attempt(run, self._task(run, job), attempt)
        task, number = claim.op.task, claim.op.attempt
        done = run.standing(task, self._replica.state.authority).done
        log = done.op.log if done is not None and done.op.claim == claim.cid else None
        if claim.author == self._replica.me and not (log and self.blobs.has(log)):
            async with closing(self.logs_here.read(run.id, task, number, offset, follow)) as chunks:
                yield chunks
        elif log is not None:
            await self.copies.need((log,), (claim.author,))
            async with aclosing(read_file(self.blobs.path(log), offset)) as chunks:
                yield chunks
        else:
            request = LogRequest(run.id, task, number, offset, follow)
            async with aclosing(self._remote_log(claim.author, request)) as chunks:
                yield chunks

    async def _remote_log(self, holder: PeerId, request: LogRequest) -> AsyncGenerator[bytes]:
        try:
            async with self.network.fetch(holder, encode_request(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except Unreachable as error:
            message = f"the log can't be had from the peer that has it: {error}"
            raise TryLater(message, "try again in a moment; see: coterie peer list") from None

    def _task(self, run: Run, job: str) -> str:
        specs = spec_of(run, job)
        if len(specs) == 1:
            return specs[0].id
        if run.submission is not None and run.submission.op.placement == "run":
            return next(iter(run.specs))
        known = ", ".join(spec.id for spec in specs or run.specs.values())
        raise NotFound(f"{'several jobs match' if specs else 'no job'} {job!r} in run {run.id}", f"jobs: {known}")

    def _attempt(self, run: Run, task: str, attempt: int | None) -> ClaimRecord:
        claims = run.claims(task)
        standing = run.standing(task, self._replica.state.authority)
        if attempt is None and standing.claim is not None:
            return standing.claim
        of_attempt = [claim for claim in claims if claim.op.attempt == attempt]
        if not of_attempt:
            what = f"attempt {attempt} of {task}" if attempt else task
            raise NotFound(f"{what} has no output: nobody has run it", f"see: coterie workflow status {run.id}")
        return min(of_attempt, key=lambda claim: claim.order)


def _submitted_ms(run: Run) -> int:
    return run.submission.header.time_ms if run.submission else 0


def _issuer(event: Event) -> PeerId | None:
    first = event.ops[0]
    return first.certificate.issuer if isinstance(first, Join) else None
