"""Turns the replica's state into what the control socket shows."""

from collections.abc import Mapping
from typing import Final

from coterie.views import ClockView, JobStatus, JobView, MemberView, RunView
from coterie.wall_clock import rfc3339
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import JobReport, TaskSpec
from coterie_protocols.replica import Replica
from coterie_protocols.run import Run
from coterie_protocols.task import TaskView

HEADS_SHOWN_MAX: Final = 64


def run_view(replica: Replica, run: Run, steps: Mapping[Cid, str]) -> RunView:
    """A submitted run. `steps` names what the tasks that run here are at, by claim."""
    submission = run.submission
    assert submission is not None, "only submitted runs are shown"
    authority = replica.state.authority
    views = [run.view(task, authority) for task in run.specs]
    careful = submission.op.care != "normal"
    if submission.op.placement == "run":
        jobs = _jobs_of_whole_run(_job_view(views[0], replica, steps, careful), views[0])
    else:
        jobs = tuple(_job_view(view, replica, steps, careful) for view in views)
    status = run.status(authority)
    ended = [job.ended_at for job in jobs if job.ended_at is not None]
    over = status not in ("queued", "running")
    return RunView(
        run=run.id,
        status=status,
        workflow=submission.op.workflow,
        event=submission.op.event,
        submitter=submission.header.author,
        priority=submission.op.priority,
        placement=submission.op.placement,
        submitted_at=rfc3339(submission.header.time_ms),
        ended_at=max(ended, default=None) if over else None,
        jobs=jobs,
    )


def _job_view(view: TaskView, replica: Replica, steps: Mapping[Cid, str], careful: bool) -> JobView:
    claim, done = view.standing.claim, view.done
    running = view.status is None and view.standing.phase == "claimed"
    started = None
    if done is not None:
        started = rfc3339(done.op.started_ms)
    elif running and claim is not None:
        started = rfc3339(claim.header.time_ms)
    shown = claim if running or done is not None else None
    return JobView(
        id=view.spec.id,
        job=view.spec.job,
        status=_status(view),
        peer=shown.author if shown else None,
        attempt=shown.op.attempt if shown else 0,
        started_at=started,
        ended_at=rfc3339(done.op.ended_ms) if done else None,
        needs=view.spec.needs,
        labels=view.spec.labels,
        step=steps.get(claim.cid) if running and claim else None,
        reason=view.reason or _why_queued(view, replica, careful),
        log=done.op.log if done else None,
        outputs=done.op.outputs if done else {},
    )


def _status(view: TaskView) -> JobStatus:
    if view.status is not None:
        return view.status
    if view.standing.phase == "claimed":
        return "running"
    return "queued" if view.ready else "waiting"


def _why_queued(view: TaskView, replica: Replica, careful: bool) -> str:
    """Why an open task is not claimed, as far as this peer can tell."""
    if not view.ready:
        return ""
    state, scheduler = replica.state, replica.scheduler
    workers = [peer for peer in state.members if state.authority.may(peer, "work")]
    wanted = frozenset(label.lower() for label in view.spec.labels)
    fitting = [peer for peer in workers if wanted <= scheduler.candidates.labels_of(peer)]
    if not fitting:
        return f"no member offers the labels {', '.join(view.spec.labels)}"
    if scheduler.candidates.alone() and scheduler.candidates.needs_company(careful):
        return "starts only while another member is in reach"
    free = scheduler.free_slots()
    if not any(free.get(peer, 0) > 0 for peer in fitting):
        return f"all slots of the {len(fitting)} fitting members are taken"
    return ""


def _jobs_of_whole_run(whole: JobView, view: TaskView) -> tuple[JobView, ...]:
    """The jobs that the one task reported, or that task itself while it has not."""
    reports = view.done.op.jobs if view.done else ()
    return tuple(_reported(report, whole) for report in reports) or (whole,)


def _reported(report: JobReport, whole: JobView) -> JobView:
    begun = report.status != "skipped" and report.started_ms
    return JobView(
        id=report.id,
        job=report.id.split(" (")[0],
        status=report.status,
        peer=whole.peer,
        attempt=whole.attempt,
        started_at=rfc3339(report.started_ms) if begun else None,
        ended_at=rfc3339(report.ended_ms) if begun else None,
        needs=(),
        labels=whole.labels,
        step=None,
        reason="",
        log=whole.log,
        outputs={},
    )


def member_view(replica: Replica, peer: PeerId, now: float, connected: frozenset[PeerId], name: str) -> MemberView:
    """A member as this peer sees it. `name` is this peer's own, which it need not hear from others."""
    member = replica.state.members[peer]
    sighting = replica.presence.sighting(peer)
    announcement = sighting.announcement
    mine = peer == replica.me
    announced = announcement.name if announcement else member.name
    return MemberView(
        peer=peer,
        name=name if mine else announced,
        roles=tuple(sorted(member.roles)),
        labels=tuple(sorted(replica.scheduler.candidates.labels_of(peer))),
        slots=replica.scheduler.candidates.slots_of(peer),
        free=max(0, replica.scheduler.free_slots().get(peer, 0)),
        state="self" if mine else replica.presence.liveness(peer, now),
        connected=mine or peer in connected,
        seen_s=None if mine or sighting.heard_at is None else round(now - sighting.heard_at, 3),
        addresses=replica.announcer.addresses if mine else announcement.addresses if announcement else (),
    )


def clock_view(replica: Replica) -> ClockView:
    """The Merkle clock and the state's digest."""
    clock = replica.clock
    return ClockView(
        coterie=clock.coterie,
        heads=tuple(head.cid for head in clock.heads[:HEADS_SHOWN_MAX]),
        frontier={author: (tip.seq, tip.cid) for author, tip in sorted(clock.frontier.items())},
        digest=replica.state.digest(),
        events=clock.count,
        pending=clock.pending_count,
    )


def spec_of(run: Run, job: str) -> list[TaskSpec]:
    """The tasks whose id is `job`, else those whose id or job key begins with it."""
    if job in run.specs:
        return [run.specs[job]]
    exact = [spec for spec in run.specs.values() if spec.job == job]
    return exact or [spec for spec in run.specs.values() if spec.id.startswith(job)]
