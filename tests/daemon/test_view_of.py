"""What people are shown of runs, jobs and members, in every status there is."""

from dataclasses import replace

import pytest

from coterie.view_of import clock_view, member_view, run_view, spec_of
from coterie.views import JobView, RunView
from coterie_protocols.event import Event
from coterie_protocols.messages import Announcement
from coterie_protocols.ops import Done, JobReport, RunId, Submit
from protocols.building import Pen, cancel, claim, done, key, release, run_of, spec, submit
from shell_doubles import Home

ME, OTHER = key(1).peer_id, key(2).peer_id


class Story:
    """One run in a coterie of two, told event by event; this peer is number 1."""

    def __init__(self, op: Submit, labels: tuple[str, ...] = (), slots: int = 2) -> None:
        self.pen, self._labels, self._slots = Pen(), labels, slots
        self.pen.join(2, slots=slots, labels=labels)
        self.run = run_of(self.pen.write(1, op))
        self.steps: dict[str, str] = {}

    def claimed(self, task: str = "t", author: int = 2, attempt: int = 1, after: Event | None = None) -> Event:
        return self.pen.write(author, claim(self.run, task, attempt, after), time_ms=60_000)

    def ended(
        self, claimed: Event, status: str = "success", task: str = "t", attempt: int = 1, **more: object
    ) -> Event:
        op = done(self.run, claimed, status, task=task, attempt=attempt)  # type: ignore[arg-type]
        return self.pen.write(2, replace(op, started_ms=61_000, ended_ms=62_500, **more))  # type: ignore[arg-type]

    def home(self) -> Home:
        return Home(self.pen, slots=self._slots, labels=self._labels)

    def view(self) -> RunView:
        home = self.home()
        run = home.replica.state.run(self.run)
        assert run is not None
        return run_view(home.replica, run, self.steps)  # type: ignore[arg-type]

    def job(self, id: str = "t") -> JobView:
        return next(job for job in self.view().jobs if job.id == id)


def test_a_run_that_nobody_has_begun_is_queued() -> None:
    view = Story(submit(priority=2.0)).view()
    assert (view.status, view.workflow, view.event, view.priority, view.placement) == (
        "queued",
        "ci.yml",
        "push",
        2.0,
        "job",
    )
    assert (view.submitted_at, view.ended_at, view.submitter) == ("1970-01-01T00:00:01.000Z", None, ME)
    (job,) = view.jobs
    assert (job.status, job.peer, job.attempt, job.started_at, job.reason) == ("queued", None, 0, None, "")


def test_a_job_that_nobody_can_run_says_which_labels_are_wanting() -> None:
    job = Story(submit(spec("t", labels=("gpu", "Linux"))), labels=("linux",)).job()
    assert (job.status, job.reason) == ("queued", "no member offers the labels gpu, Linux")


def test_a_job_that_waits_for_a_slot_says_so() -> None:
    job = Story(submit(), slots=0).job()
    assert (job.status, job.reason) == ("queued", "all slots of the 2 fitting members are taken")


def test_a_job_waits_for_its_needs() -> None:
    story = Story(submit(spec("a"), spec("t", "a")))
    job = story.job()
    assert (job.status, job.needs, job.reason) == ("waiting", ("a",), "waits for its needs")


def test_max_parallel_is_a_reason_to_wait() -> None:
    cells = (spec("t (1)", job="t", max_parallel=1), spec("t (2)", job="t", max_parallel=1))
    story = Story(submit(*cells))
    assert [job.reason for job in story.view().jobs] == ["", "max-parallel is 1"]


def test_a_job_that_runs_shows_who_since_when_and_at_what() -> None:
    story = Story(submit())
    story.steps[story.claimed().cid] = "make"
    view = story.view()
    (job,) = view.jobs
    assert (view.status, job.status, job.peer, job.attempt) == ("running", "running", OTHER, 1)
    assert (job.started_at, job.ended_at, job.step) == ("1970-01-01T00:01:00.000Z", None, "make")


@pytest.mark.parametrize("status", ["success", "failure"])
def test_a_job_that_ended_shows_its_result(status: str) -> None:
    story = Story(submit())
    story.ended(story.claimed(), status, reason="because")
    view = story.view()
    (job,) = view.jobs
    assert (view.status, job.status, job.peer, job.outputs) == (status, status, OTHER, {"made": status})
    assert (job.started_at, job.ended_at, job.reason) == (
        "1970-01-01T00:01:01.000Z",
        "1970-01-01T00:01:02.500Z",
        "because",
    )
    assert view.ended_at == job.ended_at
    assert job.step is None


def test_a_job_given_back_is_queued_again() -> None:
    story = Story(submit())
    claimed = story.claimed()
    story.pen.write(2, release(story.run, claimed))
    job = story.job()
    assert (job.status, job.peer, job.attempt) == ("queued", None, 0)
    second = story.claimed(author=1, attempt=2, after=claimed)
    assert (story.job().status, story.job().peer, story.job().attempt) == ("running", ME, 2)
    assert second


def test_a_job_that_is_tried_again_after_a_failure() -> None:
    story = Story(submit(retries=1))
    first = story.claimed()
    story.ended(first, "failure")
    assert story.job().status == "queued"
    second = story.claimed(attempt=2, after=first)
    assert (story.job().status, story.job().attempt) == ("running", 2)
    story.ended(second, attempt=2)
    assert (story.job().status, story.job().attempt, story.view().status) == ("success", 2, "success")


def test_a_job_whose_need_failed_is_skipped() -> None:
    story = Story(submit(spec("a"), spec("t", "a")))
    story.ended(story.claimed("a"), "failure", task="a")
    job = story.job()
    assert (job.status, job.reason, job.started_at) == ("skipped", "needs a, which did not succeed", None)
    assert story.view().status == "failure"


def test_a_cancelled_run_says_why() -> None:
    story = Story(submit(spec("a"), spec("t", "a")))
    story.claimed("a")
    story.pen.write(1, cancel(story.run))
    view = story.view()
    assert view.status == "cancelled"
    assert {(job.status, job.reason, job.peer) for job in view.jobs} == {("cancelled", "enough", None)}


def test_fail_fast_cancels_the_siblings() -> None:
    cells = (spec("t (1)", job="t", fail_fast=True), spec("t (2)", job="t", fail_fast=True))
    story = Story(submit(*cells))
    story.ended(story.claimed("t (1)"), "failure", task="t (1)")
    assert (story.job("t (2)").status, story.job("t (2)").reason) == ("cancelled", "fail-fast: t (1) failed")


def test_a_whole_run_on_one_peer_shows_the_jobs_that_it_reported() -> None:
    story = Story(submit(spec("run"), placement="run"))
    assert [job.id for job in story.view().jobs] == ["run"]
    claimed = story.claimed("run")
    assert [(job.id, job.status, job.peer) for job in story.view().jobs] == [("run", "running", OTHER)]
    reports = (JobReport("build", "success", 1_000, 2_000), JobReport("test (a)", "skipped", 0, 0))
    story.ended(claimed, task="run", jobs=reports)
    view = story.view()
    assert [(job.id, job.job, job.status) for job in view.jobs] == [
        ("build", "build", "success"),
        ("test (a)", "test", "skipped"),
    ]
    assert [(job.started_at is not None, job.ended_at is not None) for job in view.jobs] == [
        (True, True),
        (False, False),
    ]
    assert view.ended_at == "1970-01-01T00:00:02.000Z"


def test_the_times_of_a_liar_can_be_shown() -> None:
    story = Story(submit())
    claimed = story.claimed()
    story.pen.write(2, replace(done(story.run, claimed), started_ms=2**53, ended_ms=0))
    assert story.job().started_at == "9999-12-31T23:59:59.999Z"
    assert isinstance(done(story.run, claimed), Done)


# -- members and clock ----------------------------------------------------------------------------------------------


def announced(home: Home, leaving: bool = False) -> None:
    addresses = ("/ip4/127.0.0.1/tcp/9",)
    announcement = Announcement(1, 1, "box", ("gpu",), 5, leaving, (), addresses, (), bytes(32), ())
    home.replica.presence.hear(OTHER, announcement, 100.0)


def test_a_member_that_was_never_seen() -> None:
    home = Story(submit()).home()
    view = member_view(home.replica, OTHER, 100.0, frozenset(), "home")
    assert (view.name, view.state, view.connected, view.seen_s, view.addresses) == (
        "peer 2",
        "unknown",
        False,
        None,
        (),
    )
    assert (view.roles, view.slots, view.free) == (("submit", "work"), 2, 2)


def test_a_member_that_was_heard() -> None:
    home = Story(submit()).home()
    announced(home)
    view = member_view(home.replica, OTHER, 103.5, frozenset({OTHER}), "home")
    assert (view.name, view.state, view.connected, view.seen_s) == ("box", "alive", True, 3.5)
    assert (view.labels, view.slots, view.addresses) == (("gpu",), 5, ("/ip4/127.0.0.1/tcp/9",))
    assert member_view(home.replica, OTHER, 1e6, frozenset(), "home").state == "suspect"


def test_a_member_that_said_goodbye() -> None:
    home = Story(submit()).home()
    announced(home, leaving=True)
    assert member_view(home.replica, OTHER, 100.0, frozenset(), "home").state == "gone"


def test_ourselves() -> None:
    home = Story(submit()).home()
    view = member_view(home.replica, ME, 100.0, frozenset(), "my name")
    assert (view.name, view.state, view.connected, view.seen_s) == ("my name", "self", True, None)


def test_the_clock() -> None:
    home = Story(submit()).home()
    view = clock_view(home.replica)
    assert (view.coterie, view.events, view.pending) == (home.pen.coterie, 3, 0)
    assert view.heads == (home.pen.events[-1].cid,)
    assert view.frontier == {ME: (2, home.pen.events[-1].cid), OTHER: (1, home.pen.events[1].cid)}


def test_jobs_are_found_by_id_then_by_key_then_by_the_beginning() -> None:
    cells = (spec("test (a)", job="test"), spec("test (b)", job="test"), spec("tester"), spec("build"))
    story = Story(submit(*cells))
    run = story.home().replica.state.run(RunId(story.run))
    assert run is not None
    found = {text: [each.id for each in spec_of(run, text)] for text in ("test (a)", "test", "teste", "b", "x", "")}
    assert found == {
        "test (a)": ["test (a)"],
        "test": ["test (a)", "test (b)"],
        "teste": ["tester"],
        "b": ["build"],
        "x": [],
        "": ["test (a)", "test (b)", "tester", "build"],
    }
