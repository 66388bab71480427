"""What users would notice at once: leaving takes no time, idling costs nothing, clocks may be wrong."""

from dataclasses import replace
from typing import Final

from coterie_protocols.ops import TaskSpec
from simulation.end import check_the_end
from simulation.faults import Crash, Fault, Restart, Skew
from simulation.runner import Work
from simulation.swarm import Member, Swarm, SwarmSettings
from simulation.workloads import independent_submit

BUSY: Final = Work(median_s=30.0, sigma=0.0)


def stopping_s(busy: bool, finish: bool = False) -> float:
    """How long one of three machines takes to stop."""
    took: list[float] = []
    members = [Member("founder", ("work", "submit")), Member("m1"), Member("m2")]
    settings = SwarmSettings(seed=1, work=BUSY)
    swarm = Swarm(settings, members, [Restart("m1", 20.0, 30.0, finish)])

    async def scene(swarm: Swarm) -> None:
        await swarm.until(15)
        if busy:
            swarm.submit("founder", independent_submit(swarm.blob("founder"), 6))
        await swarm.until(20)
        while swarm.machines["m1"].peer is not None:
            await swarm.until(swarm.medium.now() + 0.01)
        took.append(swarm.medium.now() - 20)
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
    return took[0]


def test_an_idle_machine_stops_at_once() -> None:
    assert stopping_s(busy=False) < 0.2


def test_a_busy_machine_gives_its_tasks_back_and_stops() -> None:
    assert stopping_s(busy=True) < 1.0


def test_idling_costs_next_to_nothing() -> None:
    members = [Member("founder"), *(Member(f"m{number}") for number in range(1, 6))]
    swarm = Swarm(SwarmSettings(seed=1), members)
    steps: list[int] = []

    async def scene(swarm: Swarm) -> None:
        for at_s in (60, 120):
            await swarm.until(at_s)
            steps.append(swarm.checkers.steps)

    swarm.run(scene)
    assert (steps[1] - steps[0]) / len(members) / 60 < 1.0, "steps a second and machine"


def test_who_may_not_work_does_not_wake_for_work() -> None:
    """The founder's slots are full for long; an observer with slots of its own just looks on."""
    members = [Member("founder", slots=1), Member("watcher", ("observe",), slots=4)]
    settings = SwarmSettings(seed=1, work=BUSY)
    swarm = Swarm(settings, members)
    steps: list[int] = []

    async def scene(swarm: Swarm) -> None:
        await swarm.until(10)
        swarm.submit("founder", independent_submit(swarm.blob("founder"), 4))
        await swarm.until(20)
        steps.append(swarm.checkers.steps)
        await swarm.until(80)
        steps.append(swarm.checkers.steps)
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
    assert steps[1] - steps[0] < 300


def test_a_machine_that_restarts_with_its_clock_set_back_is_still_heard() -> None:
    faults: list[Fault] = [Skew("m1", 20.0, -3600.0), Crash("m1", 21.0, 1.0), Skew("m2", 20.0, -3600.0)]
    faults.append(Restart("m2", 21.0, 1.0))
    members = [Member("founder", slots=0), Member("m1", slots=1), Member("m2", slots=1)]
    swarm = Swarm(SwarmSettings(seed=1, work=BUSY, lease_s=3.0), members, faults)

    async def scene(swarm: Swarm) -> None:
        await swarm.until(40)
        swarm.submit("founder", independent_submit(swarm.blob("founder"), 2))
        await swarm.until(42)
        founder = swarm.machines["founder"].replica.presence
        assert {founder.liveness(machine.peer_id, 1e9) for machine in swarm.machines.values()} <= {"alive", "unknown"}
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
    assert len(swarm.journal.attempts) == 2, "nobody takes over from a holder that gives signs of life"


def test_a_matrix_with_turns_goes_on_after_a_cell_that_was_given_up() -> None:
    """One cell is given back twenty times and so has failed; with max-parallel 1 the next must still get its turn."""
    swarm = Swarm(
        SwarmSettings(seed=1, work=Work(median_s=0.1, give_back_share=1.0)), [Member("founder"), Member("m1")]
    )

    async def scene(swarm: Swarm) -> None:
        await swarm.until(10)
        op = independent_submit(swarm.blob("founder"), 1)
        cells = tuple(TaskSpec(f"job ({cell})", "job", (), (), max_parallel=1) for cell in range(2))
        swarm.submit("founder", replace(op, tasks=cells))
        await swarm.until(2000)
        await swarm.peace()
        check_the_end(swarm)

    swarm.run(scene)
