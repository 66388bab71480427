"""What must hold once a swarm is at peace: nothing lost, everything agreed, everything ended, nothing left over."""

from random import Random

from coterie_protocols.clock import Clock
from coterie_protocols.encoding import Cid, cid_of_event
from coterie_protocols.event import Event, Header, decode_event_untrusted
from coterie_protocols.state import State
from simulation.checkers import require
from simulation.machine import Machine
from simulation.swarm import Swarm

INTERNAL_ERROR = "internal error of the peer"


def check_the_end(swarm: Swarm, liars: bool = False) -> None:
    """Raises CheckFailed unless the swarm came to a good end. What liars leave pending is allowed, within bounds."""
    for machine in swarm.machines.values():
        _nothing_lost(swarm, machine)
        _all_ended(swarm, machine)
        _nothing_left(machine, liars)
    _all_agree(swarm)
    _any_order_agrees(swarm)
    for name, attempts in swarm.journal.live.items():
        require(not attempts, name, "something still runs")


def _nothing_lost(swarm: Swarm, machine: Machine) -> None:
    stored = {cid_of_event(data) for data in machine.store.replay()}
    require(len(stored) == machine.replica.clock.count, machine.name, "its store and its clock disagree")
    lost = [event for cid, event in swarm.checkers.events.items() if cid not in stored]
    require(not lost, machine.name, f"{len(lost)} events that were saved somewhere are not here")


def _all_ended(swarm: Swarm, machine: Machine) -> None:
    state = machine.replica.state
    for id in swarm.acknowledged:
        require(state.run(id) is not None, machine.name, f"the acknowledged run {id} is unknown")
    for run in state.runs:
        for task in run.specs:
            view = run.view(task, state.authority)
            require(view.status is not None, machine.name, f"{task} of {run.id} never ended")
            require(INTERNAL_ERROR not in view.reason, machine.name, f"{task} of {run.id}: {view.reason}")


def _nothing_left(machine: Machine, liars: bool) -> None:
    replica, peer = machine.replica, machine.peer
    assert peer is not None
    require(not peer.steps, machine.name, "steps of tasks that ended are kept")
    if not liars:
        require(replica.clock.pending_count == 0, machine.name, "events wait for others")
        require(not replica.clock.missing(), machine.name, "events are missed")


def _all_agree(swarm: Swarm) -> None:
    digests = {machine.replica.state.digest() for machine in swarm.machines.values()}
    clocks = {machine.replica.clock.fingerprint for machine in swarm.machines.values()}
    require(len(clocks) == 1, "swarm", "the clocks differ")
    require(len(digests) == 1, "swarm", "the states differ")


class _Known:
    def __init__(self) -> None:
        self.headers: dict[Cid, Header] = {}

    def header(self, cid: Cid) -> Header | None:
        return self.headers.get(cid)


def _any_order_agrees(swarm: Swarm) -> None:
    """The same events in another order come to the same state."""
    machine = next(iter(swarm.machines.values()))
    events = [decode_event_untrusted(data, verify=False) for data in machine.store.replay()]
    digest = machine.replica.state.digest()
    known = _Known()
    clock = Clock(machine.settings.coterie, known)
    state = State(clock)
    for event in _shuffled(events, Random(swarm.settings.seed)):
        for each in clock.insert(event):
            known.headers[each.cid] = each.header
            state.apply(each)
    require(state.digest() == digest, "swarm", "another order of arrival comes to another state")
    require(clock.fingerprint == machine.replica.clock.fingerprint, "swarm", "another order loses events")


def _shuffled(events: list[Event], chance: Random) -> list[Event]:
    """Another order in which parents come first."""
    waiting = {event.cid: event for event in events}
    children: dict[Cid, list[Cid]] = {}
    lacking: dict[Cid, int] = {}
    for event in events:
        needs = {*event.header.parents, *({event.header.prev} if event.header.prev else ())}
        lacking[event.cid] = len(needs)
        for need in needs:
            children.setdefault(need, []).append(event.cid)
    ready = [cid for cid in waiting if not lacking[cid]]
    ordered: list[Event] = []
    while ready:
        cid = ready.pop(chance.randrange(len(ready)))
        ordered.append(waiting[cid])
        for child in children.get(cid, ()):
            lacking[child] -= 1
            if not lacking[child]:
                ready.append(child)
    return ordered
