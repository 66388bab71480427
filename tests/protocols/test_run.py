"""A run's tasks together: needs, matrices, cancellation, what the run comes to."""

import pytest

from coterie_protocols.event import Event
from coterie_protocols.ops import TASKS_MAX, Status, TaskSpec
from coterie_protocols.run import Run, run_id
from coterie_protocols.task import ATTEMPTS_LOST_MAX, TaskView
from protocols.building import Pen, cancel, claim, done, release, run_of, spec, submit
from protocols.histories import Observer


class Case:
    """One run, submitted by the founder; member 2 does all work, in the order that a test says."""

    def __init__(self, *tasks: TaskSpec, retries: int = 0) -> None:
        self.pen = Pen()
        self.pen.join(2)
        self.pen.join(3, "work")
        self.submission = self.pen.write(1, submit(*tasks, retries=retries))
        self.id = run_of(self.submission)
        self.observer = Observer(self.pen.coterie)
        self.catch_up()

    def catch_up(self) -> None:
        """The observer hears of everything."""
        for event in self.pen.events:
            if self.observer.receive(event):
                run = self.observer.state.run(self.id)
                if run is not None:
                    for task in run.specs:  # fills the caches
                        run.view(task, self.observer.state.authority)

    @property
    def run(self) -> Run:
        """The run as observed."""
        run = self.observer.state.run(self.id)
        assert run is not None
        return run

    def claim(self, task: str) -> Event:
        """Claims a task for member 2."""
        event = self.pen.write(2, claim(self.id, task))
        self.catch_up()
        return event

    def end(self, task: str, status: Status = "success") -> Event:
        """Claims a task and ends it."""
        event = self.pen.write(2, done(self.id, self.claim(task), status, task=task))
        self.catch_up()
        return event

    def lose(self, task: str) -> None:
        """Gives a task up until nobody tries it any more."""
        held: Event | None = None
        for attempt in range(1, ATTEMPTS_LOST_MAX + 1):
            held = self.pen.write(2, claim(self.id, task, attempt, held))
            self.pen.write(2, release(self.id, held, task=task, attempt=attempt))
        self.catch_up()

    def cancel(self, author: int = 1) -> None:
        """Asks for a stop."""
        self.pen.write(author, cancel(self.id))
        self.catch_up()

    def view(self, task: str) -> TaskView:
        """A task as everybody sees it."""
        return self.run.view(task, self.observer.state.authority)

    def ready(self) -> list[str]:
        """What may be claimed."""
        return [task for task in self.run.specs if self.view(task).ready]

    def statuses(self) -> dict[str, Status | None]:
        """All tasks."""
        return {task: self.view(task).status for task in self.run.specs}

    def status(self) -> str:
        """The run."""
        return self.run.status(self.observer.state.authority)


def matrix(count: int, *, fail_fast: bool = False, max_parallel: int = 0, coe: bool = False) -> list[TaskSpec]:
    """The cells `m0`, `m1`, … of one job."""
    return [
        spec(f"m{i}", job="m", fail_fast=fail_fast, max_parallel=max_parallel, continue_on_error=coe)
        for i in range(count)
    ]


def test_needs_come_first() -> None:
    case = Case(spec("a"), spec("b", "a"), spec("c"))
    assert (case.ready(), case.status(), case.view("b").reason) == (["a", "c"], "queued", "waits for its needs")
    case.claim("c")
    assert (case.ready(), case.status()) == (["a"], "running")
    case.end("a")
    assert case.ready() == ["b"]


@pytest.mark.parametrize("status", ["failure", "cancelled", "skipped"])
def test_what_needs_an_unsuccessful_task_is_skipped_and_so_is_what_needs_that(status: Status) -> None:
    case = Case(spec("a"), spec("b", "a"), spec("c", "b"), spec("last", "c", conditional=True))
    case.end("a", status)
    assert case.statuses() == {"a": status, "b": "skipped", "c": "skipped", "last": None}
    assert case.view("b").reason == "needs a, which did not succeed"
    assert case.ready() == ["last"]  # somebody has to look at its condition


def test_a_failure_that_may_be_is_a_success_to_others() -> None:
    case = Case(spec("a", continue_on_error=True), spec("b", "a"))
    case.end("a", "failure")
    assert (case.ready(), case.view("a").status) == (["b"], "failure")
    case.end("b")
    assert case.status() == "success"


def test_a_failed_cell_cancels_the_others_of_its_matrix() -> None:
    case = Case(*matrix(3, fail_fast=True), spec("after", "m0", "m1", "m2"))
    running = case.claim("m2")
    case.end("m1", "failure")
    assert case.statuses() == {"m0": "cancelled", "m1": "failure", "m2": "cancelled", "after": "skipped"}
    assert case.view("m0").reason == "fail-fast: m1 failed"
    assert case.status() == "failure"
    case.pen.write(2, done(case.id, running, task="m2"))
    case.catch_up()
    assert case.view("m2").status == "success"  # it was quicker than the news


def test_a_cell_that_may_fail_cancels_nobody() -> None:
    case = Case(*matrix(2, fail_fast=True, coe=True))
    case.end("m0", "failure")
    assert case.ready() == ["m1"]


def test_a_cell_that_was_given_up_failed_like_any_other() -> None:
    case = Case(*matrix(2, fail_fast=True))
    case.lose("m0")
    assert case.statuses() == {"m0": "failure", "m1": "cancelled"}


def test_no_more_cells_at_once_than_the_matrix_allows() -> None:
    case = Case(*matrix(4, max_parallel=2))
    assert (case.ready(), case.view("m2").reason) == (["m0", "m1"], "max-parallel is 2")
    case.claim("m0")
    assert case.ready() == ["m1"]
    case.end("m1")
    assert case.ready() == ["m2"]


def test_a_cell_that_was_given_up_keeps_no_place() -> None:
    case = Case(*matrix(2, max_parallel=1))
    case.lose("m0")
    assert case.ready() == ["m1"]


def test_cancel_ends_what_has_no_result() -> None:
    case = Case(spec("a"), spec("b"), spec("c", "b"))
    case.end("a")
    case.claim("b")
    case.cancel()
    assert case.statuses() == {"a": "success", "b": "cancelled", "c": "cancelled"}
    assert (case.status(), case.view("b").reason) == ("cancelled", "enough")


def test_a_cancel_by_who_may_not_submit_is_nothing() -> None:
    case = Case(spec("a"))
    case.cancel(author=3)
    assert case.ready() == ["a"]


def test_needs_context() -> None:
    case = Case(*matrix(3), spec("after", "m0", "m1", "m2", conditional=True), spec("end", "after"))
    case.end("m0")
    case.end("m1", "failure")
    case.end("m2")
    authority = case.observer.state.authority
    results = case.run.need_results(case.run.specs["after"], authority)
    assert {job: result.result for job, result in results.items()} == {"m": "failure"}
    assert results["m"].outputs == {"made": "success"}  # of the last one
    assert case.run.ancestor_results(case.run.specs["end"], authority) == {"m": "failure", "after": "success"}
    consumed = case.run.consumed(case.run.specs["after"], authority)
    assert consumed == {
        task: case.view(task).done.header.cid  # type: ignore[union-attr]
        for task in ("m0", "m1", "m2")
    }


@pytest.mark.parametrize(
    ("ends", "result"),
    [(("success", "cancelled"), "cancelled"), (("skipped", "skipped"), "skipped"), (("skipped", "success"), "success")],
)
def test_the_worst_cell_is_the_jobs_result(ends: tuple[Status, Status], result: Status) -> None:
    case = Case(*matrix(2), spec("after", "m0", "m1", conditional=True))
    for index, status in enumerate(ends):
        case.end(f"m{index}", status)
    authority = case.observer.state.authority
    assert case.run.need_results(case.run.specs["after"], authority)["m"].result == result


def test_statuses_of_runs() -> None:
    case = Case(spec("a"), spec("b"))
    assert case.status() == "queued"
    case.end("a", "cancelled")
    assert case.status() == "running"
    case.end("b")
    assert case.status() == "cancelled"  # its runner was told to stop, though nobody cancelled the run


def test_the_longest_chain_of_needs() -> None:
    chain = [spec("0"), *(spec(str(i), str(i - 1)) for i in range(1, TASKS_MAX))]
    case = Case(*chain)
    assert case.ready() == ["0"]
    case.end("0", "failure")
    assert case.view(str(TASKS_MAX - 1)).status == "skipped"
    assert case.status() == "failure"


def test_the_end_of_the_longest_chain_may_be_asked_for_first() -> None:
    pen = Pen()
    event = pen.write(1, submit(spec("0"), *(spec(str(i), str(i - 1)) for i in range(1, TASKS_MAX))))
    observer = Observer(pen.coterie)
    observer.receive_all(pen.events)
    run = observer.state.run(run_of(event))
    assert run is not None
    assert run.view(str(TASKS_MAX - 1), observer.state.authority).reason == "waits for its needs"


def test_claims_for_a_run_that_is_not_known_yet_are_ranked_when_it_is() -> None:
    pen = Pen()
    pen.join(2)
    pen.join(3)
    submission = pen.write(1, submit())
    run = run_of(submission)
    early = [pen.write(author, claim(run), parents=[pen.genesis]) for author in (2, 3)]
    first, last = Observer(pen.coterie), Observer(pen.coterie)
    first.receive_all(pen.events)
    last.receive_all([event for event in pen.events if event is not submission])
    assert last.state.run(run) is None
    last.receive(submission)
    assert last.look() == first.look()
    standing = last.state.runs[0].view("t", last.state.authority).standing
    assert standing.claim is not None
    assert standing.claim.cid in {event.cid for event in early}


def test_two_runs_of_one_event() -> None:
    pen = Pen()
    event = pen.write(1, submit(), submit(spec("other")))
    observer = Observer(pen.coterie)
    observer.receive_all(pen.events)
    assert [run.id for run in observer.state.runs] == [run_id(event.cid, 0), run_id(event.cid, 1)]
    assert len(run_id(event.cid, 0)) == 26
