"""How evenly the work is spread, and how seldom anything is started twice."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from simulation.end import check_the_end
from simulation.runner import Attempt, Work
from simulation.swarm import Member, Swarm, SwarmSettings
from simulation.workloads import independent_submit

MACHINES: Final = 10
SLOTS: Final = 2
SUBMITTED_AT_S: Final = 20.0


def play_many(seed: int, runs: int, tasks: int, every_s: float = 0.0) -> list[Attempt]:
    """Plays runs of independent log-normal tasks on machines without faults."""
    members = [Member("founder"), *(Member(f"m{number}") for number in range(1, MACHINES))]
    work = Work(median_s=4.0, sigma=0.8, longest_s=60.0)
    swarm = Swarm(SwarmSettings(seed=seed, work=work), members)

    async def scene(swarm: Swarm) -> None:
        for number in range(runs):
            await swarm.until(SUBMITTED_AT_S + number * every_s)
            name = f"m{1 + number % (MACHINES - 1)}"
            swarm.submit(name, independent_submit(swarm.blob(name), tasks))
        await swarm.until(SUBMITTED_AT_S + runs * every_s)
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
    return swarm.journal.attempts


def stretch(attempts: Sequence[Attempt]) -> float:
    """How much longer it all took than a scheduler needs that knows every length and is everywhere at once."""
    finished = [attempt for attempt in attempts if attempt.finished]
    lengths = [(attempt.ended_s or 0.0) - attempt.started_s for attempt in finished]
    perfect = max(sum(lengths) / (MACHINES * SLOTS), *lengths)
    return (max(attempt.ended_s or 0.0 for attempt in finished) - SUBMITTED_AT_S) / perfect


def doubles(attempts: Sequence[Attempt]) -> int:
    """How many attempts were started by more than one machine."""
    starts = Counter((attempt.run, attempt.task, attempt.number) for attempt in attempts)
    return sum(count - 1 for count in starts.values())


def test_a_thousand_tasks_are_spread_evenly() -> None:
    attempts = play_many(seed=1, runs=2, tasks=500)
    assert stretch(attempts) < 1.15
    assert doubles(attempts) <= 0.01 * len(attempts)


def test_with_room_to_spare_nothing_is_started_twice() -> None:
    attempts = play_many(seed=2, runs=100, tasks=2, every_s=2.0)
    assert len(attempts) == 200
    assert doubles(attempts) == 0
