"""A founder who only submits and three workers, one of them on the stage."""

from coterie_protocols.effects import Effect, StartTask
from coterie_protocols.event import Event
from coterie_protocols.ops import Care, Status, TaskSpec
from coterie_protocols.scheduler_settings import SchedulerSettings
from coterie_protocols.stimuli import TaskEnded, TaskResult
from protocols.building import Pen, claim, run_of, submit
from protocols.stage import SCHEDULING, Stage, ranking

WORKERS = (2, 3, 4)
LEASE_S = SCHEDULING.lease_s


class Play:
    """A founder who only submits, three workers, one of them on the stage: the one of a given rank for task `t`."""

    def __init__(
        self,
        *tasks: TaskSpec,
        rank: int = 0,
        settings: SchedulerSettings = SCHEDULING,
        care: Care = "normal",
        retries: int = 0,
        present: tuple[int, ...] = (0, 1, 2),
        first: str = "t",
        attempt: int = 1,
    ) -> None:
        self.pen = pen = Pen()
        for worker in WORKERS:
            pen.join(worker)
        before = list(pen.events)
        self.submission = pen.write(1, submit(*tasks, care=care, retries=retries))
        self.run = run_of(self.submission)
        self.ranking = ranking(pen, self.submission, WORKERS, first, attempt)
        self.stage = Stage(pen, self.ranking[rank], settings, known=before)
        self.others = [worker for at, worker in enumerate(self.ranking) if at != rank]
        self.stage.connect(*(self.ranking[at] for at in present if at != rank))
        self.stage.wait(5.0)

    def begin(self) -> list[Effect]:
        """The submission arrives."""
        return self.stage.hear(self.submission)

    def starts(self, seconds: float) -> list[tuple[float, str, int]]:
        """What is started within some seconds: (when, task, attempt)."""
        start = self.stage.now
        happened = [(0.0, effect) for effect in self.stage.hear(self.submission)] + self.stage.wait(seconds)
        return [
            (round(at - start if at else 0.0, 3), effect.task, effect.attempt)
            for at, effect in happened
            if isinstance(effect, StartTask)
        ]

    def claim_of(self, peer: int, task: str = "t", attempt: int = 1, supersedes: Event | None = None) -> Event:
        """Another peer's claim, which knows of the submission alone."""
        parents = [self.submission, *([supersedes] if supersedes else [])]
        return self.pen.write(peer, claim(self.run, task, attempt, supersedes), parents=parents)


def result(play: Stage, start: StartTask, status: Status = "success") -> list[Effect]:
    """The runner is through."""
    ended = TaskEnded(start.run, start.task, start.claim, TaskResult(status))
    return play.handle(ended)
