"""The `Runner` port without work: a task takes its virtual time and ends as the seed says. For tests alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from coterie.ports import LogWriter
from coterie_protocols.effects import StartTask
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import TryLater
from coterie_protocols.ops import RunId
from coterie_protocols.stimuli import TaskResult
from simulation.network import Medium

KILL_S_MAX: Final = 0.5


@dataclass(slots=True)
class Attempt:
    """An attempt that really ran on a machine; times are virtual seconds, `ended_s` None while it runs."""

    machine: str
    run: RunId
    task: str
    number: int
    claim: Cid
    started_s: float
    ended_s: float | None = None
    finished: bool = False


@dataclass(slots=True)
class Journal:
    """Every attempt that ever ran in a swarm, in the order of their starts."""

    attempts: list[Attempt] = field(default_factory=list[Attempt])
    live: dict[str, list[Attempt]] = field(default_factory=dict[str, list[Attempt]])
    on_start: Callable[[Attempt], None] = lambda attempt: None

    def start(self, attempt: Attempt) -> None:
        """An attempt begins."""
        self.attempts.append(attempt)
        self.live.setdefault(attempt.machine, []).append(attempt)
        self.on_start(attempt)

    def end(self, attempt: Attempt, now: float) -> None:
        """An attempt is over: it ended, or its machine was killed."""
        if attempt.ended_s is None:
            attempt.ended_s = now
            self.live[attempt.machine].remove(attempt)

    def kill(self, machine: str, now: float) -> None:
        """Nothing runs on a killed machine."""
        for attempt in list(self.live.get(machine, ())):
            self.end(attempt, now)

    def of(self, run: RunId, task: str) -> list[Attempt]:
        """The attempts of one task."""
        return [each for each in self.attempts if each.run == run and each.task == task]


@dataclass(frozen=True, slots=True)
class Work:
    """How long tasks take (log-normal: median and sigma, at most `longest_s`), and how often they go wrong."""

    median_s: float = 1.0
    sigma: float = 1.0
    longest_s: float = 40.0
    fail_share: float = 0.0
    give_back_share: float = 0.0


class PretendRunner:
    """Runs the tasks of one machine. How long and how well depends on the seed, the task and the attempt alone."""

    def __init__(self, machine: str, work: Work, seed: int, journal: Journal, medium: Medium) -> None:
        self._machine = machine
        self._work = work
        self._seed = seed
        self._journal = journal
        self._medium = medium
        self._now = medium.now

    async def run(self, task: StartTask, log: LogWriter, report: Callable[[str], None]) -> TaskResult:
        """Takes its time; when cancelled, takes a moment more to die."""
        chance = Random(f"{self._seed}/{task.run}/{task.task}/{task.attempt}")
        attempt = Attempt(self._machine, task.run, task.task, task.attempt, task.claim, self._now())
        self._journal.start(attempt)
        report("step 1")
        log.line(f"attempt {task.attempt} on {self._machine}")
        try:
            return await self._work_on(task, chance, attempt)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(chance.uniform(0, KILL_S_MAX))
            raise
        finally:
            self._journal.end(attempt, self._now())

    async def _work_on(self, task: StartTask, chance: Random, attempt: Attempt) -> TaskResult:
        work = self._work
        takes_s = min(work.longest_s, work.median_s * chance.lognormvariate(0, work.sigma))
        await trio.sleep(self._medium.on_grid(self._now() + takes_s) - self._now())
        if chance.random() < work.give_back_share:
            raise TryLater("the machine has no room for it", "it is tried elsewhere")
        attempt.finished = True
        failed = chance.random() < work.fail_share
        outputs = {"token": f"{task.attempt}/{task.claim}"}
        return TaskResult("failure" if failed else "success", {} if failed else outputs)
