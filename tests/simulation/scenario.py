"""From a seed, a whole story: machines, users, faults, liars, and then peace. `play` tells it and checks it."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.ops import Role
from simulation.byzantine import Rogue
from simulation.end import check_the_end
from simulation.faults import (
    Crash,
    Cut,
    Delay,
    DiskFull,
    Duplicate,
    Fault,
    Lose,
    LoseTail,
    Restart,
    Skew,
    Slow,
)
from simulation.runner import Work
from simulation.swarm import Member, Swarm, SwarmSettings
from simulation.workloads import LABELS, independent_submit, random_submit

TROUBLE_S: Final = 90.0
"""Faults, liars and users come within so many virtual seconds; then there is peace."""
RUNS: Final = (4, 12)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    trace: str
    steps: int
    events: int
    runs: int
    attempts: int
    peace_at_s: float


def play(seed: int, peers: int = 20) -> Outcome:
    """Plays one seed. Raises CheckFailed."""
    chance = Random(f"{seed}/scenario")
    members = random_members(chance, peers)
    faults = random_faults(chance, [member.name for member in members])
    settings = SwarmSettings(
        seed=seed,
        work=Work(
            sigma=chance.choice((0.5, 1.5)), fail_share=chance.choice((0, 0.2)), give_back_share=chance.choice((0, 0.1))
        ),
        lease_s=chance.choice((3.0, 6.0, 12.0)),
        anti_entropy_interval_s=chance.choice((10.0, 30.0)),
        stop_when_isolated=chance.random() < 0.3,
        grid_s=chance.choice((0.0, 0.0, 0.05)),
    )
    swarm = Swarm(settings, members, faults)
    rogues = [_rogue(swarm, f"rogue{number}", chance) for number in range(chance.choice((0, 0, 1, 2)))]

    async def scene(swarm: Swarm) -> None:
        for rogue in rogues:
            swarm.start(rogue.run, chance.uniform(0, TROUBLE_S / 2), TROUBLE_S)
        if rogues:
            swarm.start(_clear_up, swarm, frozenset(rogue.peer_id for rogue in rogues))
        for _ in range(chance.randint(*RUNS)):
            swarm.start(_user, swarm, chance.uniform(2, TROUBLE_S), Random(chance.random()))
        await swarm.until(TROUBLE_S)
        await swarm.peace()
        check_the_end(swarm, liars=bool(rogues))

    swarm.run(scene)
    checkers = swarm.checkers
    return Outcome(
        seed,
        checkers.trace.hexdigest(),
        checkers.steps,
        len(checkers.events),
        len(swarm.acknowledged),
        len(swarm.journal.attempts),
        swarm.peace_at_s,
    )


async def _user(swarm: Swarm, at_s: float, chance: Random) -> None:
    """Submits a run somewhere, and cancels it now and then, from anywhere."""
    await swarm.until(at_s)
    name = chance.choice(sorted(swarm.machines))
    plan = swarm.blob(name, f"plan {at_s}".encode())
    source = swarm.blob(name, f"source {at_s}".encode()) if chance.random() < 0.5 else None
    crowd = chance.random() < 0.2
    swarm.submit(
        name, independent_submit(plan, chance.randint(10, 80)) if crowd else random_submit(chance, plan, source)
    )
    if chance.random() < 0.2:
        await swarm.until(at_s + chance.uniform(0.5, 20))
        if swarm.acknowledged:
            swarm.cancel(chance.choice(sorted(swarm.machines)), chance.choice(swarm.acknowledged))


async def _clear_up(swarm: Swarm, liars: frozenset[PeerId]) -> None:
    """What liars submit has no blobs, and takes long to be given up: the founder's user cancels it."""
    while True:
        await trio.sleep(5.0)
        founder = swarm.machines["founder"]
        if founder.peer is not None:
            state = founder.replica.state
            for run in state.runs:
                submitter = run.submission.header.author if run.submission else None
                if submitter in liars and run.status(state.authority) in ("queued", "running"):
                    founder.cancel(run.id)


def _rogue(swarm: Swarm, name: str, chance: Random) -> Rogue:
    """A member without the roles it would need, or a stranger with a coterie of its own."""
    founding = swarm.founding
    key = SigningKey(chance.randbytes(32))
    roles: tuple[Role, ...] | None = chance.choice((("observe",), ("observe",), ("submit",), None))
    entry = () if roles is None else (founding.entry(key, Member(name, roles)),)
    events = (founding.genesis, *entry)
    return Rogue(name, key, events, founding.founder.peer_id, swarm.medium, swarm.settings.seed)


def random_members(chance: Random, count: int) -> list[Member]:
    """The founder, who can do everything, and others; every label is offered by several."""
    everything = frozenset(LABELS)
    members = [Member("founder", labels=everything, slots=chance.randint(1, 3))]
    for number in range(1, count):
        roles: tuple[Role, ...] = ("work", "submit")
        if number > 3 and chance.random() < 0.2:
            roles = chance.choice((("observe",), ("submit",), ("work",)))
        labels = everything if number < 3 else frozenset(chance.sample(LABELS, chance.randint(0, len(LABELS))))
        joins_at_s = chance.choice((0.0, 0.0, 0.0, chance.uniform(0, TROUBLE_S)))
        members.append(Member(f"m{number}", roles, labels, chance.randint(0 if number > 3 else 1, 3), joins_at_s))
    return members


def random_faults(chance: Random, names: Sequence[str]) -> list[Fault]:
    """A mixture of everything, in measure; a tenth of all seeds has none."""
    faults: list[Fault] = []
    if chance.random() < 0.1:
        return faults
    if chance.random() < 0.7:
        faults += [Lose(chance.choice((0.05, 0.2, 0.6)), 0, TROUBLE_S), Duplicate(0.1, 0, TROUBLE_S)]
    if chance.random() < 0.5:
        faults.append(Delay(0.001, chance.choice((0.1, 1.0)), chance.uniform(0, 30), TROUBLE_S))
    faults += [_slow(chance, names) for _ in range(chance.choice((0, 1, 2)))]
    faults += [_cut(chance, names) for _ in range(chance.choice((0, 1, 1, 2, 3)))]
    faults += [_mishap(chance, chance.choice(names)) for _ in range(chance.choice((0, 1, 3, 6, 12)))]
    return faults


def _slow(chance: Random, names: Sequence[str]) -> Slow:
    from_s = chance.uniform(0, TROUBLE_S)
    return Slow(chance.choice(names), chance.uniform(0.1, 3.0), from_s, min(TROUBLE_S, from_s + 30))


def _cut(chance: Random, names: Sequence[str]) -> Cut:
    side = frozenset(chance.sample(names, chance.choice((1, 2, len(names) // 2))))
    from_s = chance.uniform(0, TROUBLE_S - 5)
    return Cut(
        side,
        frozenset(names) - side,
        from_s,
        min(TROUBLE_S, from_s + chance.choice((2.0, 20.0, 60.0))),
        one_way=chance.random() < 0.3,
        notice_s=chance.choice((0.0, 1.0, 15.0)),
    )


def _mishap(chance: Random, name: str) -> Fault:
    at_s = chance.uniform(1, TROUBLE_S - 1)
    down_s = chance.choice((0.1, 5.0, 40.0))
    mishaps: tuple[Fault, ...] = (
        Crash(name, at_s, down_s),
        Crash(name, at_s, down_s, notice_s=chance.choice((1.0, 15.0))),
        Restart(name, at_s, down_s, finish=chance.random() < 0.5),
        DiskFull(name, at_s, down_s),
        LoseTail(name, at_s, down_s, chance.choice((1, 5, 50))),
        Skew(name, at_s, chance.choice((-86_400.0, -5.0, 5.0, 86_400.0))),
    )
    return chance.choice(mishaps)
