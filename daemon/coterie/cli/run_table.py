"""A run on one screen, as plain lines: for `workflow status` and for what cannot show a live tree."""

from collections.abc import Mapping

from coterie.cli.output import paint, print_table, status_sign
from coterie.cli.words import age, duration, seconds_between, short_peer
from coterie.control.client import Document


def print_run(run: Document, names: Mapping[str, str]) -> None:
    """The run, its jobs, and why each failed; `names` says what to call each peer."""
    took = duration(seconds_between(run["submitted_at"], run["ended_at"]))
    by = names.get(run["submitter"], short_peer(run["submitter"]))
    print(f"{status_sign(run['status'])}  {paint(run['workflow'], 'bold')}  {run['run']}")
    print(paint(f"  {run['event']} by {by}, {age(run['submitted_at'])}, took {took}", "dim"))
    print()
    print_table(["job", "status", "peer", "try", "took", "note"], [_row(job, names) for job in run["jobs"]])


def job_note(job: Document) -> str:
    """Why a job failed, or what it is at."""
    if job["reason"]:
        return str(job["reason"])
    return str(job["step"] or "") if job["status"] == "running" else ""


def peer_of(job: Document, names: Mapping[str, str]) -> str:
    """Who holds or held the job."""
    return names.get(job["peer"], short_peer(job["peer"])) if job["peer"] else ""


def job_took(job: Document) -> str:
    """How long the job has run."""
    return duration(seconds_between(job["started_at"], job["ended_at"])) if job["started_at"] else ""


def _row(job: Document, names: Mapping[str, str]) -> list[str]:
    attempt = str(job["attempt"]) if job["attempt"] else ""
    return [job["id"], status_sign(job["status"]), peer_of(job, names), attempt, job_took(job), job_note(job)]
