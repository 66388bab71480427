"""Starts a testnet and waits until its peers agree; lists it; takes it down."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from coterie.control.client import Client, Document
from coterie.testnet.processes import last_lines, neutral_settings, process_of, start_daemon, stop_daemons
from coterie.testnet.state import CONFIG_FILE, PeerState, TestnetState, create_state, load_state
from coterie_protocols.errors import TryLater, UserError

BASE_TIMEOUT_S = 30.0
PEER_TIMEOUT_S = 6.0  # every daemon loads its libraries first, and they share the processors
LOOK_S = 0.1
LOG_LINES = 8
COTERIE_NAME = "testnet"

# The same as config/testnet.yaml says: loopback alone, any free port, a lease short enough to watch a takeover.
SETTINGS: dict[str, object] = {
    "listen": ["/ip4/127.0.0.1/tcp/0"],
    "slots": 2,
    "lease_s": 3.0,
    "presence_interval_s": 1.0,
    "stagger_s": 0.2,
    "anti_entropy_interval_s": 5.0,
}

Tell = Callable[[str], None]


def start(directory: Path, peers: int, overrides: dict[str, object], tell: Tell) -> TestnetState:
    """Starts `peers` daemons, lets the first found a coterie and the others join, and waits until all agree.

    Raises UserError with the end of a log where a daemon fails; then nothing runs any more.
    """
    state = create_state(directory, peers)
    try:
        return _start(state, overrides, tell, time.monotonic() + BASE_TIMEOUT_S + PEER_TIMEOUT_S * peers)
    except BaseException:
        left = load_state(directory)
        stop_daemons(left.peers)
        if not any(peer.log.exists() for peer in left.peers):
            left.remove()  # no daemon got as far as having something to say
        raise


def stop(directory: Path) -> tuple[TestnetState, tuple[str, ...]]:
    """Stops a testnet and removes what it made; also names the peers that had to be killed. Raises NotFound."""
    state = load_state(directory)
    killed = stop_daemons(state.peers)
    state.remove()
    return state, killed


def describe(state: TestnetState) -> Document:
    """The testnet as coterie.testnet/1: what is known of each peer now."""
    return {"schema": "coterie.testnet/1", "dir": str(state.dir), "peers": [_peer(peer) for peer in state.peers]}


def alive_client(state: TestnetState) -> Client:
    """The client of the first peer that lives. Raises TryLater."""
    for peer in state.peers:
        if process_of(peer) is not None:
            return Client(Path(peer.socket))
    raise TryLater(f"no peer of the testnet in {state.dir} is alive", "take it down: coterie testnet down")


def _start(state: TestnetState, overrides: dict[str, object], tell: Tell, deadline: float) -> TestnetState:
    from coterie.founding import found, join
    from coterie.settings import load_settings

    config = state.dir / CONFIG_FILE
    config.write_text(json.dumps(SETTINGS | overrides, indent=2) + "\n")  # JSON is YAML
    with neutral_settings():
        settings = load_settings(config)
    first, *others = state.peers
    tell(f"founding a coterie on {first.name}")
    state = _launch(state, first, str(found(Path(first.dir), COTERIE_NAME).peer), config)
    _wait_ready(state.peers[:1], deadline)
    if others:
        tell(f"inviting {len(others)} more")
        invited = {"roles": ["submit", "work"], "uses": len(others), "valid_s": 3600.0}
        token = Client(Path(first.socket)).invite(invited)["token"]
        for peer in others:
            joined = join(Path(peer.dir), token, peer.name, settings.offered_labels(), settings.slots)
            state = _launch(state, peer, str(joined.peer), config)
        _wait_ready(state.peers, deadline)
    tell("waiting until all agree")
    _wait_agreed(state.peers, deadline)
    return state


def _launch(state: TestnetState, peer: PeerState, peer_id: str, config: Path) -> TestnetState:
    started = start_daemon(peer, config)
    return state.with_peer(PeerState(started.name, started.dir, started.socket, peer_id, started.pid, started.started))


def _wait_ready(peers: Sequence[PeerState], deadline: float) -> None:
    for peer in peers:
        _wait(lambda peer=peer: _answers(peer), peers, deadline, f"{peer.name} does not answer")  # type: ignore[misc]


def _wait_agreed(peers: Sequence[PeerState], deadline: float) -> None:
    def agreed() -> bool:
        seen = [Client(Path(peer.socket)).status() for peer in peers]
        met = all(each["members"] == len(peers) and each["connected"] == len(peers) - 1 for each in seen)
        return met and len({each["digest"] for each in seen}) == 1

    _wait(agreed, peers, deadline, "the peers do not agree")


def _wait(done: Callable[[], bool], peers: Sequence[PeerState], deadline: float, complaint: str) -> None:
    """Asks until it is done: other processes have no other way to tell us."""
    while not done():
        dead = next((peer for peer in peers if process_of(peer) is None), None)
        if dead is not None:
            raise _failure(f"{dead.name} has ended", dead)
        if time.monotonic() > deadline:
            raise _failure(f"{complaint} in time", peers[-1])
        time.sleep(LOOK_S)


def _failure(complaint: str, peer: PeerState) -> UserError:
    lines = "".join(f"\n  {line}" for line in last_lines(peer, LOG_LINES))
    return TryLater(
        f"{complaint}; the end of {peer.log}:{lines or ' (empty)'}",
        f"the logs are kept; remove them with `coterie testnet down --dir {Path(peer.dir).parent}`",
    )


def _answers(peer: PeerState) -> bool:
    try:
        Client(Path(peer.socket)).health()
    except UserError:
        return False
    return True


def _peer(peer: PeerState) -> Document:
    alive = process_of(peer) is not None
    known: Document = {"digest": None, "events": None, "members": None, "connected": None}
    if alive:
        try:
            status = Client(Path(peer.socket)).status()
            known = {key: status[key] for key in known}
        except UserError:
            pass  # alive and silent: the nulls say so
    return {
        "name": peer.name,
        "peer": peer.peer,
        "pid": peer.pid,
        "alive": alive,
        "socket": peer.socket,
        "dir": peer.dir,
        **known,
    }
