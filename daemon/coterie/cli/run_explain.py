"""Why the jobs of a run of the coterie stand where they do, from what the daemon tells of run and members."""

from collections.abc import Sequence

from coterie.cli.words import clock_time, peer_names
from coterie.cli.workflow_logs import find_job
from coterie.control.client import Document

UNSUCCESSFUL = ("failure", "cancelled", "skipped")
PRESENT = ("self", "alive")


def explain_run(run: Document, members: Document, wanted: str | None) -> Document:
    """coterie.run-explanation/1, of one job or of all that are not simply done. Raises NotFound."""
    jobs: list[Document] = run["jobs"]
    if wanted is not None:
        name = find_job(run, wanted)
        chosen = [job for job in jobs if job["id"] == name]
    else:
        chosen = [job for job in jobs if job["status"] != "success" or job["attempt"] > 1]
    steps = [_explained(job, jobs, members) for job in chosen]
    return {"schema": "coterie.run-explanation/1", "run": run["run"], "steps": steps}


def _explained(job: Document, jobs: Sequence[Document], members: Document) -> Document:
    return {
        "step": job["id"],
        "state": job["status"],
        "attempt": job["attempt"],
        "why": _why(job, jobs, members),
        "history": [],
    }


def _why(job: Document, jobs: Sequence[Document], members: Document) -> str:
    names = peer_names(members)
    where = f" on {names.get(job['peer'], job['peer'])}" if job["peer"] else ""
    tries = f", try {job['attempt']}: an earlier one failed or its peer was lost" if job["attempt"] > 1 else ""
    match job["status"]:
        case "waiting":
            return _waits_for(job, jobs)
        case "queued":
            return _lacking(job, members, names) or job["reason"] or _nobody_yet(job, members, names)
        case "running":
            since = f" since {clock_time(job['started_at'])}" if job["started_at"] else ""
            at = f", at step {job['step']!r}" if job["step"] else ""
            return f"runs{where}{since}{at}{tries}"
        case "skipped":
            return job["reason"] or _skipped_after(job, jobs)
        case _:
            said = f": {job['reason']}" if job["reason"] else ""
            return f"ended{where}{said}{tries}"


def _waits_for(job: Document, jobs: Sequence[Document]) -> str:
    open_ = [f"{other['id']} ({other['status']})" for other in _needed(job, jobs) if other["ended_at"] is None]
    return f"waits for {', '.join(open_)}" if open_ else job["reason"] or "waits for the jobs that it needs"


def _skipped_after(job: Document, jobs: Sequence[Document]) -> str:
    bad = [f"{other['id']} ({other['status']})" for other in _needed(job, jobs) if other["status"] in UNSUCCESSFUL]
    return f"its needs did not succeed: {', '.join(bad)}" if bad else "its `if` was false"


def _needed(job: Document, jobs: Sequence[Document]) -> list[Document]:
    """The jobs that it needs: each cell of a matrix has the id of the job before its bracket."""
    needs = set(job["needs"])
    return [other for other in jobs if other["id"] in needs or other["job"] in needs]


def _lacking(job: Document, members: Document, names: dict[str, str]) -> str:
    """What no member could ever give the job."""
    workers = _workers(members)
    if not workers:
        return "no member of the coterie may work; invite one with the role `work`"
    if _fitting(job, workers):
        return ""
    told = "; ".join(f"{names[member['peer']]} has {', '.join(member['labels']) or 'none'}" for member in workers)
    return f"no peer has the labels {', '.join(job['labels'])}: {told}"


def _nobody_yet(job: Document, members: Document, names: dict[str, str]) -> str:
    """Why no peer that could run the job has claimed it."""
    fitting = _fitting(job, _workers(members))
    here = [member for member in fitting if member["state"] in PRESENT]
    if not here:
        told = ", ".join(f"{names[member['peer']]} is {member['state']}" for member in fitting)
        return f"no peer that has the labels is there: {told}"
    free = [names[member["peer"]] for member in here if member["free"] > 0]
    if not free:
        told = ", ".join(f"{names[member['peer']]} ({member['slots']} slots)" for member in here)
        return f"every peer that could run it is busy: {told}"
    return f"waits to be claimed by {', '.join(free)}"


def _workers(members: Document) -> list[Document]:
    return [member for member in members["members"] if "work" in member["roles"]]


def _fitting(job: Document, workers: Sequence[Document]) -> list[Document]:
    """Those whose labels are enough; upper and lower case are one."""
    wanted = {str(label).lower() for label in job["labels"]}
    return [member for member in workers if wanted <= {str(label).lower() for label in member["labels"]}]
