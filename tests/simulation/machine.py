"""One machine of a swarm: what outlives its process, and the process, made of the real core and the real shell."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Protocol

import trio

from coterie.copies import Copies
from coterie.peer import Peer, PeerSettings
from coterie.store.errors import StoreFailed
from coterie_protocols.clock import Headers
from coterie_protocols.effects import Effect
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import UserError
from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.ops import RunId, Submit
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import Instant, ReplicaSettings
from coterie_protocols.stimuli import Stimulus
from simulation.memory_files import MemoryFiles, server_of
from simulation.memory_store import MemoryStore
from simulation.network import Medium, MemoryNetwork
from simulation.runner import Journal, PretendRunner, Work

WALL_MS_AT_START = 1_750_000_000_000


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """What one machine is."""

    name: str
    key: SigningKey
    coterie: Cid
    founding: tuple[Event, ...]
    contacts: dict[PeerId, tuple[str, ...]]
    replica: ReplicaSettings
    work: Work
    seed: int


class WatchedStore(MemoryStore):
    """A store that tells what became durable."""

    def __init__(self, saved: Callable[[Sequence[Event]], None]) -> None:
        super().__init__()
        self._saved = saved

    def append(self, events: Sequence[Event]) -> None:
        super().append(events)
        self._saved(events)


class WatchedReplica(Replica):
    """A replica that shows somebody every stimulus and what came of it."""

    def __init__(
        self,
        key: SigningKey,
        coterie: Cid,
        stored: Headers,
        settings: ReplicaSettings,
        chance: Random,
        watch: Callable[["WatchedReplica", Stimulus | None, Sequence[Effect], Instant], None],
    ) -> None:
        super().__init__(key, coterie, stored, settings, chance)
        self._watch = watch

    def start(self, now: Instant, addresses: tuple[str, ...], boot_ms: int | None = None) -> list[Effect]:
        effects = super().start(now, addresses, boot_ms)
        self._watch(self, None, effects, now)
        return effects

    def handle(self, stimulus: Stimulus, now: Instant) -> list[Effect]:
        effects = super().handle(stimulus, now)
        self._watch(self, stimulus, effects, now)
        return effects


class Watch(Protocol):
    """Who is shown everything that a machine does."""

    def watch(
        self,
        machine: "Machine",
        replica: WatchedReplica,
        stimulus: Stimulus | None,
        effects: Sequence[Effect],
        now: Instant,
    ) -> None:
        """The core took a step; `stimulus` is None at its start."""
        ...

    def saved(self, machine: "Machine", events: Sequence[Event]) -> None:
        """Events became durable."""
        ...


class Machine:
    """Runs its daemon again and again, until `run` is cancelled."""

    def __init__(self, settings: MachineSettings, medium: Medium, journal: Journal, watch: Watch) -> None:
        self.settings = settings
        self.name = settings.name
        self._watch = watch
        self.peer_id: PeerId = settings.key.peer_id
        self.repair_s = 0.0
        self.peer: Peer | None = None
        self.store = self._new_store()
        self.files = MemoryFiles()
        self.skew_s = 0.0
        self.lives = 0
        self.asking = 0
        self.network: MemoryNetwork | None = None
        self._medium = medium
        self._journal = journal
        self._nursery: trio.Nursery | None = None
        self._may_start = trio.Event()
        self.store.append(settings.founding)
        for peer, addresses in settings.contacts.items():
            self.store.remember(peer, addresses)

    def _new_store(self) -> MemoryStore:
        return WatchedStore(lambda events: self._watch.saved(self, events))

    def wall_ms(self) -> int:
        """The wall clock, which may jump."""
        return WALL_MS_AT_START + int(1000 * (self._medium.now() + self.skew_s))

    @property
    def replica(self) -> Replica:
        """The core of the present life."""
        assert self.peer is not None, f"{self.name} is down"
        return self.peer.replica

    async def run(self) -> None:
        """Lives, and is born again when it may."""
        while True:
            await self._may_start.wait()
            await self._live()

    def allow_start(self) -> None:
        """The daemon is started now, if it is down."""
        self._may_start.set()

    async def _live(self) -> None:
        self.lives += 1
        self.store.crash()
        peer = self.peer = self._new_peer()
        members = peer.replica.state
        network = MemoryNetwork(
            self._medium,
            self.name,
            self.peer_id,
            peer.deliver,
            server_of(self.files),
            lambda other: other in members.members,
        )
        self.network = network
        copies = Copies(self.files, network, lambda: tuple(members.members))
        network.rise()
        failed = False
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(network.run)
                self._nursery.start_soon(copies.run)
                self._nursery.start_soon(peer.run, network, copies)
        except* StoreFailed:
            failed = True
        finally:
            self._end_life()
        if failed:
            await trio.sleep(self.repair_s)

    def _new_peer(self) -> Peer:
        settings = self.settings
        chance = Random(f"{settings.seed}/{self.name}/{self.lives}")

        def watch(replica: WatchedReplica, stimulus: Stimulus | None, effects: Sequence[Effect], now: Instant) -> None:
            self._watch.watch(self, replica, stimulus, effects, now)

        replica = WatchedReplica(settings.key, settings.coterie, self.store, settings.replica, chance, watch)
        replica.load(self.store.replay())
        runner = PretendRunner(self.name, settings.work, settings.seed, self._journal, self._medium)
        return Peer(replica, self.store, runner, self.files, self.files, self.wall_ms, PeerSettings())

    def _end_life(self) -> None:
        self._journal.kill(self.name, self._medium.now())
        self._nursery = None
        self.peer = None

    # -- what happens to it ---------------------------------------------------------------------------------------

    def kill(self, silently: bool = False) -> None:
        """Ends the process at once; it is not started again before `allow_start`."""
        self._hold()
        if self.peer is not None and self.network is not None and self._nursery is not None:
            self.network.fall(silently)
            self._end_life_of(self._nursery)

    def _end_life_of(self, nursery: trio.Nursery) -> None:
        nursery.cancel_scope.cancel()
        self._journal.kill(self.name, self._medium.now())

    def fill_disk(self, repair_s: float) -> None:
        """The next event can't be saved, which kills the daemon; after `repair_s` there is room again."""
        self.repair_s = repair_s
        self.store.fail_next_append()

    def restore(self, events: Sequence[bytes]) -> None:
        """The disk holds these events and no others, as after a restore from a backup."""
        contacts = self.store.contacts()
        self.store = self._new_store()
        self.store.append([decode_event_untrusted(data, verify=False) for data in events])
        for peer, addresses in contacts.items():
            self.store.remember(peer, addresses)

    def _hold(self) -> None:
        if self._may_start.is_set():
            self._may_start = trio.Event()

    def terminate(self, finish: bool) -> None:
        """Stops the daemon as SIGTERM does; it is not started again before `allow_start`."""
        self._hold()
        if self._nursery is not None:
            self._nursery.start_soon(self._stop, finish)

    async def _stop(self, finish: bool) -> None:
        peer, nursery = self.peer, self._nursery
        if peer is not None and nursery is not None:
            await peer.stop(finish)
            nursery.cancel_scope.cancel()

    def submit(self, op: Submit, acknowledged: Callable[[RunId], None]) -> None:
        """Its user submits a run; `acknowledged` is told of it if the daemon takes it."""
        if self._nursery is not None:
            self._nursery.start_soon(self._submit, op, acknowledged)

    async def _submit(self, op: Submit, acknowledged: Callable[[RunId], None]) -> None:
        if self.peer is not None:
            with self._asking():
                acknowledged(await self.peer.submit(op))

    def cancel(self, run: RunId) -> None:
        """Its user cancels a run."""
        if self._nursery is not None:
            self._nursery.start_soon(self._cancel, run)

    async def _cancel(self, run: RunId) -> None:
        if self.peer is not None:
            with self._asking():
                await self.peer.cancel(run, "no longer wanted")

    @contextmanager
    def _asking(self) -> Generator[None]:
        self.asking += 1
        try:
            yield
        except UserError:
            pass  # the user was told
        finally:
            self.asking -= 1
