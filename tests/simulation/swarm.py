"""Many machines, one coterie, one process: founds it, lets faults and users loose, heals, and waits for peace."""

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, assert_never, cast

import structlog
import trio
import trio._core._run as trio_run  # the one way to seed trio's scheduler; its own tests do the same
import trio.testing

from coterie_protocols.clock import enter_coterie, found_coterie
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.invite import issue_certificate, join_op
from coterie_protocols.ops import Role, RunId, Submit
from coterie_protocols.replica_settings import ReplicaSettings
from coterie_protocols.scheduler_settings import SchedulerSettings
from simulation.checkers import Checkers, CheckFailed
from simulation.faults import (
    Crash,
    Cut,
    Delay,
    DiskFull,
    Duplicate,
    Fault,
    Lose,
    LoseTail,
    MachineFault,
    Restart,
    Skew,
    Slow,
    Weather,
)
from simulation.machine import WALL_MS_AT_START, Machine, MachineSettings
from simulation.network import Medium
from simulation.runner import Journal, Work

PEACE_S_MAX: Final = 900.0
"""Virtual seconds from the last fault to the end of everything."""
ADDRESS_OF_FOUNDER: Final = "/dns4/founder/tcp/7411"
EXPIRES_MS: Final = 2**52
WORKER: Final[tuple[Role, ...]] = ("work", "submit")


@dataclass(frozen=True, slots=True)
class Member:
    """A machine to be: its roles, what it offers, and how it is set."""

    name: str
    roles: tuple[Role, ...] = WORKER
    labels: frozenset[str] = frozenset()
    slots: int = 2
    joins_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """What all machines of a swarm share."""

    seed: int = 0
    work: Work = field(default_factory=Work)
    lease_s: float = 12.0
    presence_interval_s: float = 10.0
    anti_entropy_interval_s: float = 30.0
    stop_when_isolated: bool = False
    grid_s: float = 0.0


@dataclass(slots=True)
class Founding:
    """A founded coterie before any machine runs: the founder's key, the genesis, and the keys that invite."""

    founder: SigningKey
    genesis: Event
    seed: int

    def key(self, name: str) -> SigningKey:
        """The key of the machine of that name."""
        return SigningKey(Random(f"{self.seed}/key/{name}").randbytes(32))

    def entry(self, key: SigningKey, member: Member) -> Event:
        """The event by which a machine enters, with an invitation of its own."""
        invite = SigningKey(Random(f"{self.seed}/invite/{member.name}").randbytes(32))
        coterie = self.genesis.cid
        certificate = issue_certificate(
            self.founder,
            coterie=coterie,
            invite=invite.peer_id,
            roles=member.roles,
            labels=(),
            expires_ms=EXPIRES_MS,
            uses=1,
        )
        labels = tuple(sorted(member.labels))
        join = join_op(invite, certificate, newcomer=key.peer_id, name=member.name, labels=labels, slots=member.slots)
        return enter_coterie(key, coterie, self.genesis.header, join, WALL_MS_AT_START)


def found(seed: int) -> Founding:
    """A coterie of one."""
    key = SigningKey(Random(f"{seed}/key/founder").randbytes(32))
    return Founding(key, found_coterie(key, "swarm", Random(seed).randbytes(16), WALL_MS_AT_START), seed)


class Swarm:
    """The machines, their medium, and everything that is done to them. The first member is the founder."""

    def __init__(self, settings: SwarmSettings, members: Sequence[Member], faults: Sequence[Fault] = ()) -> None:
        self.settings = settings
        self.chance = Random(f"{settings.seed}/swarm")
        weather = Weather(faults, Random(f"{settings.seed}/weather"))
        self.medium = Medium(weather, Random(f"{settings.seed}/medium"), settings.grid_s)
        self.journal = Journal()
        self.checkers = Checkers(self.journal, self.medium.now, {member.name: member.slots for member in members})
        self.medium.on_frame = self.checkers.frame
        self.founding = found(settings.seed)
        self.machines = {member.name: self._machine(member, member is members[0]) for member in members}
        self.checkers.honest = frozenset(machine.peer_id for machine in self.machines.values())
        self.acknowledged: list[RunId] = []
        self.peace_at_s = 0.0
        self._joins = {member.name: member.joins_at_s for member in members}
        self._faults = faults
        self._nursery: trio.Nursery

    def _machine(self, member: Member, founder: bool) -> Machine:
        founding = self.founding
        key = founding.founder if founder else founding.key(member.name)
        events = (founding.genesis,) if founder else (founding.genesis, founding.entry(key, member))
        contacts: dict[PeerId, tuple[str, ...]] = {}
        if not founder:
            contacts[founding.founder.peer_id] = (ADDRESS_OF_FOUNDER,)
        settings = MachineSettings(
            name=member.name,
            key=key,
            coterie=founding.genesis.cid,
            founding=events,
            contacts=contacts,
            replica=self._replica_settings(member),
            work=self.settings.work,
            seed=self.settings.seed,
        )
        return Machine(settings, self.medium, self.journal, self.checkers)

    def _replica_settings(self, member: Member) -> ReplicaSettings:
        scheduler = SchedulerSettings(
            labels=member.labels,
            slots=member.slots,
            lease_s=self.settings.lease_s,
            when_isolated="stop" if self.settings.stop_when_isolated else "continue",
        )
        return ReplicaSettings(
            name=member.name,
            scheduler=scheduler,
            presence_interval_s=self.settings.presence_interval_s,
            anti_entropy_interval_s=self.settings.anti_entropy_interval_s,
        )

    # -- time -----------------------------------------------------------------------------------------------------

    def run(self, scene: Callable[["Swarm"], Coroutine[Any, Any, None]]) -> None:
        """Plays `scene` with all machines alive, in virtual time and in an order that the seed alone decides."""
        setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010 - trio declares it Final
        trio_run._r.seed(self.settings.seed)  # pyright: ignore[reportPrivateUsage]
        quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
        before = structlog.get_config()
        structlog.configure(wrapper_class=quiet, cache_logger_on_first_use=False)
        try:
            trio.run(self._live, scene, clock=trio.testing.MockClock(autojump_threshold=0))
        except* CheckFailed as group:
            raise innermost(group) from None
        finally:
            structlog.configure(**before)

    async def _live(self, scene: Callable[["Swarm"], Coroutine[Any, Any, None]]) -> None:
        self.medium.begin()
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self.medium.run)
            for name, machine in self.machines.items():
                self._nursery.start_soon(machine.run)
                self._nursery.start_soon(self._join_later, machine, self._joins[name])
            for fault in self._faults:
                self._nursery.start_soon(self._suffer, fault)
            await scene(self)
            self._nursery.cancel_scope.cancel()

    async def _join_later(self, machine: Machine, at_s: float) -> None:
        await self.until(at_s)
        machine.allow_start()

    async def until(self, at_s: float) -> None:
        """Sleeps until a moment of the swarm's time."""
        await trio.sleep(max(0.0, at_s - self.medium.now()))

    # -- faults ---------------------------------------------------------------------------------------------------

    async def _suffer(self, fault: Fault) -> None:
        match fault:
            case Lose() | Duplicate() | Delay() | Slow() | Cut():
                return  # the weather's
            case Crash() | Restart() | DiskFull() | LoseTail() | Skew():
                await self.until(fault.at_s)
                await self._strike(fault, self.machines[fault.machine])
            case _:
                assert_never(fault)

    async def _strike(self, fault: MachineFault, machine: Machine) -> None:
        match fault:
            case Skew():
                machine.skew_s += fault.by_s
                return
            case Crash():
                machine.kill(silently=fault.notice_s > 0)
                if fault.notice_s > 0:
                    self._nursery.start_soon(self._notice, machine, fault.notice_s)
            case Restart():
                machine.terminate(fault.finish)
            case DiskFull():
                machine.fill_disk(fault.down_s)
                return
            case LoseTail():
                machine.kill()
                self._restore_backup(machine, fault.events)
            case _:
                assert_never(fault)
        await trio.sleep(fault.down_s)
        machine.allow_start()

    async def _notice(self, machine: Machine, after_s: float) -> None:
        fallen = machine.network
        await trio.sleep(after_s)
        if fallen is not None:
            fallen.fall()

    def _restore_backup(self, machine: Machine, events_max: int) -> None:
        """Takes away the newest events, as far as others hold them."""
        stored = list(machine.store.replay())
        elsewhere = {data for other in self.machines.values() if other is not machine for data in other.store.replay()}
        kept = len(stored)
        while kept > max(2, len(stored) - events_max) and stored[kept - 1] in elsewhere:
            kept -= 1
        machine.restore(stored[:kept])
        self.checkers.forget(machine.name)

    # -- users ----------------------------------------------------------------------------------------------------

    def submit(self, name: str, op: Submit) -> None:
        """The user of a machine submits a run, if the machine is up."""
        self.machines[name].submit(op, self.acknowledged.append)

    def cancel(self, name: str, run: RunId) -> None:
        """The user of a machine cancels a run, if the machine is up."""
        self.machines[name].cancel(run)

    def start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Lets something else go on beside the machines."""
        self._nursery.start_soon(work, *arguments)

    def blob(self, name: str, data: bytes = b"plan") -> Cid:
        """Puts a blob on a machine."""
        return self.machines[name].files.put(data)

    # -- peace ----------------------------------------------------------------------------------------------------

    async def peace(self) -> None:
        """Starts whoever is down, and returns once nothing is left to do. Raises CheckFailed if that is never."""
        for machine in self.machines.values():
            machine.store.crash()  # no failure is planned any more
            machine.allow_start()
        deadline = self.medium.now() + PEACE_S_MAX
        reason: str | None = ""
        while reason is not None:
            if self.medium.now() > deadline:
                raise CheckFailed(f"after {PEACE_S_MAX:.0f} s without faults: {reason}")
            await trio.sleep(1.0)
            reason = self.unrest()
        self.peace_at_s = self.medium.now()

    def unrest(self) -> str | None:
        """What is still to be done somewhere; None if nothing is."""
        down = [machine.name for machine in self.machines.values() if machine.peer is None]
        if down:
            return f"{down[0]} is down"
        fingerprints = {machine.replica.clock.fingerprint for machine in self.machines.values()}
        if len(fingerprints) > 1:
            return f"{len(fingerprints)} different clocks"
        for machine in self.machines.values():
            if reason := unrest_of(machine):
                return f"{machine.name}: {reason}"
        return None


def unrest_of(machine: Machine) -> str | None:
    """What one machine has still to do, or to forget."""
    replica = machine.replica
    scheduler, authority = replica.scheduler, replica.state.authority
    open_runs = [run for run in replica.state.runs if run.status(authority) in ("queued", "running")]
    for run in open_runs:
        for task in run.specs:
            view = run.view(task, authority)
            if view.status is None:
                standing = view.standing
                claim = standing.claim.author[-6:] if standing.claim else "nobody"
                return f"{task} of {run.id} is {standing.phase} by {claim}, attempt {standing.attempt}: {view.reason}"
    left = {
        "unanswered requests": machine.asking,
        "held claims": len(scheduler.held),
        "leases": len(scheduler.leases),
        "openings": len(scheduler.openings),
        "running tasks": len(machine.peer.steps) if machine.peer else 0,
    }
    names = [f"{count} {name}" for name, count in left.items() if count]
    return f"left over: {', '.join(names)}" if names else None


def innermost(error: BaseException) -> BaseException:
    """The first error that is no group."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error
