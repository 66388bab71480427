"""Clocks come together: soon, by one question, and without a peer's contradicting itself."""

from typing import Final

from coterie_protocols.identity import PeerId
from coterie_protocols.merkle_clock import MerkleClock
from coterie_protocols.messages import SyncRequest, decode_frame_untrusted
from simulation.end import check_the_end
from simulation.faults import Lose, LoseTail
from simulation.machine import WALL_MS_AT_START
from simulation.swarm import Member, Swarm, SwarmSettings
from simulation.workloads import independent_submit

MANY: Final = 10_000


def members(count: int) -> list[Member]:
    return [Member("founder"), *(Member(f"m{number}") for number in range(1, count))]


def test_ten_machines_learn_of_an_event_within_a_third_of_a_second() -> None:
    seen: list[float] = []

    async def scene(swarm: Swarm) -> None:
        await swarm.until(10)
        swarm.submit("m3", independent_submit(swarm.blob("m3"), 1))
        while not all(machine.replica.state.runs for machine in swarm.machines.values()):
            await swarm.until(swarm.medium.now() + 0.001)
        seen.append(swarm.medium.now() - 10)
        await swarm.peace()
        check_the_end(swarm)

    Swarm(SwarmSettings(seed=1), members(10)).run(scene)
    assert seen[0] < 0.3


def test_without_any_gossip_they_converge_all_the_same() -> None:
    async def scene(swarm: Swarm) -> None:
        await swarm.until(20)
        swarm.submit("m2", independent_submit(swarm.blob("m2"), 3))
        await swarm.peace()
        check_the_end(swarm)

    Swarm(SwarmSettings(seed=2), members(6), [Lose(1.0)]).run(scene)


def test_who_was_away_for_ten_thousand_events_catches_up_by_one_question() -> None:
    """However many members it meets at once, and with hardly a byte more than the events themselves."""
    swarm = Swarm(SwarmSettings(seed=3), [*members(6), Member("late", joins_at_s=5)])
    event_bytes = _write_many(swarm)
    late = swarm.machines["late"].peer_id
    questions: list[bytes] = []
    received: list[int] = []

    def count(sender: PeerId, receiver: PeerId, data: bytes) -> None:
        if sender == late and isinstance(decode_frame_untrusted(data), SyncRequest):
            questions.append(data)
        if receiver == late:
            received.append(len(data))

    swarm.medium.on_frame = count

    async def scene(swarm: Swarm) -> None:
        await swarm.until(5)
        while swarm.unrest() is not None:
            await swarm.until(swarm.medium.now() + 0.1)
        assert swarm.machines["late"].replica.clock.count >= MANY
        assert swarm.medium.now() < 7

    swarm.run(scene)
    assert len(questions) == 1
    assert sum(received) < 1.1 * event_bytes


def _write_many(swarm: Swarm) -> int:
    """All but the last have a long common history already; its size in bytes."""
    founder, *others = swarm.machines.values()
    clock = MerkleClock(founder.settings.coterie)
    clock.insert(founder.settings.founding[0])
    events = [clock.append(founder.settings.key, (), WALL_MS_AT_START) for _ in range(MANY)]
    for machine in (founder, *others[:-1]):
        machine.store.append(events)
    return sum(len(event.data) for event in events)


def test_who_lost_the_tail_of_its_log_fetches_it_before_it_writes() -> None:
    faults = [LoseTail("m1", at_s, 1.0, events=10) for at_s in (30.0, 45.0, 60.0)]

    async def scene(swarm: Swarm) -> None:
        for at_s in range(10, 80, 4):
            await swarm.until(at_s)
            swarm.submit("m1", independent_submit(swarm.blob("m1"), 2))
        await swarm.peace()
        check_the_end(swarm)
        forks = [seq for (_, seq), events in swarm.checkers.authored.items() if len(events) > 1]
        assert not forks

    Swarm(SwarmSettings(seed=4), members(4), faults).run(scene)
