"""What a testnet leaves on disk, so that another command can find, list and stop it."""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from coterie.locations import SOCKET_NAME, SOCKET_PATH_BYTES_MAX, user_data_dir
from coterie_protocols.errors import NotFound, UserError

STATE_FILE = "testnet.json"
CONFIG_FILE = "coterie.yaml"
SCHEMA = "coterie.testnet-state/1"
PEERS_MAX = 64


@dataclass(frozen=True, slots=True)
class PeerState:
    """One daemon; `started` is its process's start in Unix seconds, so that a reused pid is told from it."""

    name: str
    dir: str
    socket: str
    peer: str = ""
    pid: int = 0
    started: float = 0.0

    @property
    def log(self) -> Path:
        """What the daemon wrote to its standard output and error."""
        return Path(self.dir) / "daemon.log"


@dataclass(frozen=True, slots=True)
class TestnetState:
    """A testnet. `own_dir` tells that the directory is its own to remove, `socket_dir` where sockets had to go."""

    dir: Path
    own_dir: bool
    socket_dir: str
    peers: tuple[PeerState, ...]

    def with_peer(self, peer: PeerState) -> "TestnetState":
        """The state with that peer changed, saved."""
        peers = tuple(peer if each.name == peer.name else each for each in self.peers)
        changed = replace(self, peers=peers)
        changed.save()
        return changed

    def save(self) -> None:
        """Writes the state file, whole or not at all."""
        document = {
            "schema": SCHEMA,
            "own_dir": self.own_dir,
            "socket_dir": self.socket_dir,
            "peers": [asdict(peer) for peer in self.peers],
        }
        temporary = self.dir / f"{STATE_FILE}.new"
        temporary.write_text(json.dumps(document, indent=1) + "\n")
        temporary.replace(self.dir / STATE_FILE)

    def remove(self) -> None:
        """Removes all that the testnet made, and nothing else: a file that somebody put there keeps its directory."""
        for peer in self.peers:
            shutil.rmtree(peer.dir, ignore_errors=True)
        if self.socket_dir:
            shutil.rmtree(self.socket_dir, ignore_errors=True)
        for name in (CONFIG_FILE, STATE_FILE):
            (self.dir / name).unlink(missing_ok=True)
        if self.own_dir and not any(self.dir.iterdir()):
            self.dir.rmdir()


def default_dir() -> Path:
    """Where a testnet lies when nobody says otherwise."""
    return user_data_dir().with_name("coterie-testnet")


def create_state(directory: Path, peers: int) -> TestnetState:
    """Lays out a new testnet and saves it. Raises UserError where one is already, or the place can't be written."""
    directory = directory.absolute()
    try:
        own_dir = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made exclusively, this file is the lock between two commands that start at once.
        os.close(os.open(directory / STATE_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise UserError(
            f"there is a testnet in {directory} already",
            f"stop it with `coterie testnet down --dir {directory}`, or choose another --dir",
        ) from None
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror}", "choose another place with --dir") from None
    names = [f"peer-{number}" for number in range(1, peers + 1)]
    longest = directory / names[-1] / SOCKET_NAME
    deep = len(os.fsencode(longest)) > SOCKET_PATH_BYTES_MAX
    socket_dir = tempfile.mkdtemp(prefix="coterie-") if deep else ""
    layout = tuple(
        PeerState(
            name,
            str(directory / name),
            f"{socket_dir}/{name}.sock" if deep else str(directory / name / SOCKET_NAME),
        )
        for name in names
    )
    state = TestnetState(directory, own_dir, socket_dir, layout)
    state.save()
    return state


def load_state(directory: Path) -> TestnetState:
    """The testnet in a directory. Raises NotFound where there is none, UserError where the file is damaged."""
    directory = directory.absolute()
    try:
        text = (directory / STATE_FILE).read_text()
    except FileNotFoundError:
        raise NotFound(f"no testnet in {directory}", "start one: coterie testnet up --peers 3") from None
    try:
        document = json.loads(text)
        peers = tuple(PeerState(**peer) for peer in document["peers"])
        return TestnetState(directory, document["own_dir"], document["socket_dir"], peers)
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{directory / STATE_FILE} is damaged or still being written", f"look at it, then remove {directory}"
        ) from None
