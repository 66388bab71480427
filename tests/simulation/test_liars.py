"""One kind of liar at a time, in a swarm that is otherwise well: the honest must not so much as notice."""

from random import Random
from typing import Final

import pytest

from coterie_protocols.identity import SigningKey
from coterie_protocols.ops import Role
from simulation.byzantine import MISDEEDS, Rogue
from simulation.end import check_the_end
from simulation.swarm import Member, Swarm, SwarmSettings
from simulation.workloads import independent_submit

UNTIL_S: Final = 40.0


def play_with_liars(misdeeds: tuple[str, ...], roles: tuple[Role, ...] | None, count: int = 1) -> None:
    """Five honest machines run three runs while liars are at it."""
    members = [Member("founder"), *(Member(f"m{number}") for number in range(1, 5))]
    swarm = Swarm(SwarmSettings(seed=5), members)
    founding = swarm.founding
    rogues: list[Rogue] = []
    for number in range(count):
        name = f"rogue{number}"
        key = SigningKey(Random(name).randbytes(32))
        entry = () if roles is None else (founding.entry(key, Member(name, roles)),)
        events = (founding.genesis, *entry)
        rogues.append(Rogue(name, key, events, founding.founder.peer_id, swarm.medium, 5, misdeeds))

    async def scene(swarm: Swarm) -> None:
        for rogue in rogues:
            swarm.start(rogue.run, 2.0, UNTIL_S)
        for at_s in (5, 15, 25):
            await swarm.until(at_s)
            swarm.submit("m2", independent_submit(swarm.blob("m2"), 6))
        await swarm.until(UNTIL_S)
        await swarm.peace()
        check_the_end(swarm, liars=True)
        check_the_runs(swarm)
        assert len(swarm.machines["m1"].replica.state.members) == len(members) + (0 if roles is None else count)

    swarm.run(scene)


def check_the_runs(swarm: Swarm) -> None:
    """The three runs went well, and each of their results is that of an honest machine."""
    state = swarm.machines["m4"].replica.state
    honest = {machine.peer_id for machine in swarm.machines.values()}
    assert len(swarm.acknowledged) == 3
    for id in swarm.acknowledged:
        run = state.run(id)
        assert run is not None
        assert run.status(state.authority) == "success"
        for task in run.specs:
            done = run.view(task, state.authority).done
            assert done is not None
            assert done.header.author in honest


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_an_observer_that_lies_changes_nothing(misdeed: str) -> None:
    play_with_liars((misdeed,), ("observe",))


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_a_stranger_changes_nothing(misdeed: str) -> None:
    play_with_liars((misdeed,), None)


def test_ten_liars_of_all_kinds_at_once() -> None:
    play_with_liars(MISDEEDS, ("observe",), count=10)
