"""What the records of one task come to, case by case; `test_state.py` compares with the naive model at large."""

from coterie_protocols.event import Event
from coterie_protocols.ops import Care, Status
from coterie_protocols.run import Run
from coterie_protocols.task import ATTEMPTS_LOST_MAX, Standing, TaskView
from protocols.building import Pen, claim, done, key, release, run_of, spec, submit
from protocols.histories import Observer
from protocols.naive import Naive


class Case:
    """One run of one task `t`, written by members 2 to 4, all of them workers."""

    def __init__(self, retries: int = 0, care: Care = "normal") -> None:
        self.pen = Pen()
        self.workers = [2, 3, 4]
        for worker in self.workers:
            self.pen.join(worker)
        self.pen.join(5, "observe")
        self.submission = self.pen.write(1, submit(retries=retries, care=care))
        self.run = run_of(self.submission)

    def claim(self, author: int, attempt: int = 1, supersedes: Event | None = None, *, knows: bool = True) -> Event:
        """A claim; one that does not know of any other is written over the submission alone."""
        over = None if knows else [self.submission]
        return self.pen.write(author, claim(self.run, "t", attempt, supersedes), parents=over)

    def done(self, author: int, at: Event, status: Status = "success", attempt: int = 1) -> Event:
        """A result."""
        return self.pen.write(author, done(self.run, at, status, attempt=attempt))

    def release(self, author: int, at: Event, attempt: int = 1) -> Event:
        """A claim given up."""
        return self.pen.write(author, release(self.run, at, attempt=attempt))

    def by_rank(self, attempt: int = 1) -> list[int]:
        """The workers, nearest first."""
        naive = Naive(self.pen.events).run(self.run)
        return sorted(self.workers, key=lambda worker: naive.order("t", attempt, key(worker).peer_id))

    def view(self) -> TaskView:
        """What it comes to, after a look at each step."""
        observer = Observer(self.pen.coterie)
        for event in self.pen.events:
            observer.receive(event)
        run = observer.state.run(self.run)
        assert isinstance(run, Run)
        return run.view("t", observer.state.authority)

    def standing(self) -> Standing:
        """The same, its run left aside."""
        return self.view().standing


def test_a_task_that_nobody_claimed_is_open() -> None:
    view = Case().view()
    assert (view.standing.phase, view.standing.attempt, view.ready, view.status) == ("open", 1, True, None)


def test_of_concurrent_claims_the_nearest_holds() -> None:
    case = Case()
    near, far = case.by_rank()[0], case.by_rank()[2]
    case.claim(far, knows=False)
    better = case.claim(near, knows=False)
    standing = case.standing()
    assert (standing.phase, standing.claim and standing.claim.cid) == ("claimed", better.cid)


def test_who_knew_of_a_claim_cannot_take_the_attempt_away() -> None:
    case = Case()
    near, far = case.by_rank()[0], case.by_rank()[2]
    first = case.claim(far)
    case.claim(near)
    assert case.standing().claim is not None
    assert case.standing().claim.cid == first.cid  # type: ignore[union-attr]


def test_a_void_claim_in_the_past_bars_nobody() -> None:
    case = Case()
    case.claim(5)  # an observer
    mine = case.claim(2)
    assert case.standing().claim.cid == mine.cid  # type: ignore[union-attr]


def test_a_result_ends_the_task() -> None:
    case = Case()
    held = case.claim(2)
    result = case.done(2, held)
    view = case.view()
    assert (view.status, view.ready, view.standing.phase) == ("success", False, "ended")
    assert view.done is not None
    assert view.done.header.cid == result.cid


def test_a_result_by_another_than_the_holder_is_nothing() -> None:
    case = Case()
    held = case.claim(2)
    case.done(3, held)
    case.release(3, held)
    assert case.standing().phase == "claimed"


def test_a_result_for_an_attempt_that_the_claim_is_not_of_is_nothing() -> None:
    case = Case()
    held = case.claim(2)
    case.done(2, held, attempt=2)
    assert case.standing().phase == "claimed"


def test_a_released_attempt_opens_the_next_and_names_the_claim_to_follow() -> None:
    case = Case()
    held = case.claim(2)
    case.release(2, held)
    standing = case.standing()
    assert (standing.phase, standing.attempt, standing.claim and standing.claim.cid) == ("open", 2, held.cid)


def test_a_takeover_must_name_a_valid_claim_of_the_attempt_before() -> None:
    case = Case()
    first = case.claim(2)
    case.claim(3, 2, None)
    case.claim(3, 3, first)
    assert case.standing().attempt == 1
    second = case.claim(4, 2, first)
    assert (case.standing().attempt, case.standing().claim.cid) == (2, second.cid)  # type: ignore[union-attr]


def test_the_result_of_the_earlier_attempt_counts_even_when_it_comes_later() -> None:
    case = Case()
    first = case.claim(2)
    second = case.claim(3, 2, first)
    case.done(3, second, "failure", attempt=2)
    assert case.view().status == "failure"
    case.done(2, first)
    assert (case.view().status, case.standing().attempt) == ("success", 1)


def test_of_two_results_of_one_attempt_the_nearer_claims_counts() -> None:
    case = Case()
    near, far = case.by_rank()[0], case.by_rank()[2]
    worse, better = case.claim(far, knows=False), case.claim(near, knows=False)
    case.done(far, worse, "failure")
    assert case.view().status == "failure"
    case.done(near, better)
    assert case.view().status == "success"


def test_failures_are_retried_as_often_as_the_submission_says() -> None:
    case = Case(retries=1)
    first = case.claim(2)
    case.done(2, first, "failure")
    assert (case.standing().phase, case.standing().attempt, case.standing().failures) == ("open", 2, 1)
    second = case.claim(3, 2, first)
    case.done(3, second, "failure", attempt=2)
    assert (case.view().status, case.standing().attempt) == ("failure", 2)


def test_a_cancelled_attempt_is_not_retried() -> None:
    case = Case(retries=5)
    case.done(2, case.claim(2), "cancelled")
    assert case.view().status == "cancelled"


def give_up(case: Case, times: int) -> Event:
    """As many attempts, each released."""
    held = None
    for attempt in range(1, times + 1):
        held = case.claim(2, attempt, held)
        case.release(2, held, attempt)
    assert held is not None
    return held


def test_a_task_that_everybody_gives_back_fails_in_the_end() -> None:
    case = Case()
    give_up(case, ATTEMPTS_LOST_MAX - 1)
    assert case.view().status is None
    give_up(case := Case(), ATTEMPTS_LOST_MAX)
    assert (case.view().status, case.view().reason) == ("failure", "given up after 20 attempts that nobody finished")


def test_what_was_given_up_stays_so_whatever_is_claimed_afterwards() -> None:
    case = Case()
    last = give_up(case, ATTEMPTS_LOST_MAX)
    again = case.claim(3, ATTEMPTS_LOST_MAX + 1, last)
    assert case.view().status == "failure"
    case.done(3, again, attempt=ATTEMPTS_LOST_MAX + 1)
    assert case.view().status == "failure"


def test_specs_of_the_builder_are_jobs_of_their_own() -> None:
    assert spec("a").job == "a"
