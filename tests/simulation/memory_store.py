"""The `Store` port in memory, for the simulation and as the model that the SQLite store is checked against."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from coterie.store.errors import StoreFailed
from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Frontier, Header, Tip
from coterie_protocols.identity import PeerId


class MemoryStore:
    """Events in a list. What `append` took is durable: it outlives `crash`, as a synced disk outlives its process."""

    def __init__(self) -> None:
        self._events: list[Event] = []  # the position of an event is its index + 1
        self._positions: dict[Cid, int] = {}
        self._tips: dict[PeerId, list[Tip]] = {}  # the ends of all branches
        self._contacts: dict[PeerId, tuple[str, ...]] = {}
        self._notes: dict[str, str] = {}
        self._failures: list[StoreFailed] = []
        self._closed = False

    def append(self, events: Sequence[Event]) -> None:
        """Takes all of the events or, when it fails, none."""
        self._require_open()
        if self._failures:
            raise self._failures.pop(0)
        fresh = {event.cid: event for event in events if event.cid not in self._positions}
        lengths = len(self._events), len(fresh)
        self._check_chains(fresh)
        for event in fresh.values():
            self._events.append(event)
            self._positions[event.cid] = len(self._events)
            self._advance(event.header)
        assert len(self._events) == sum(lengths)

    def header(self, cid: Cid) -> Header | None:
        """The header of a stored event."""
        self._require_open()
        position = self._positions.get(cid)
        return None if position is None else self._events[position - 1].header

    def replay(self) -> Iterator[bytes]:
        """The events stored at the time of this call."""
        self._require_open()
        return iter([event.data for event in self._events])

    def missing(self, have: Frontier, after: int, bytes_max: int) -> tuple[int, list[bytes]]:
        """As the port says; covered is what can be reached by `prev` from the tips of `have`."""
        self._require_open()
        covers = {author: self._coverage(author, tip) for author, tip in have.items()}
        taken: list[bytes] = []
        size = 0
        for position in range(after + 1, len(self._events) + 1):
            event = self._events[position - 1]
            if covers.get(event.header.author, _nothing)(event.header):
                continue
            size += len(event.data)
            if taken and size > bytes_max:
                break
            taken.append(event.data)
            after = position
        return after, taken

    def count(self) -> int:
        """How many events are stored."""
        return len(self._events)

    def remember(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Replaces a member's addresses; none at all forgets it."""
        self._require_open()
        self._contacts.pop(peer, None)
        if addresses:
            self._contacts[peer] = tuple(addresses)

    def contacts(self) -> Mapping[PeerId, tuple[str, ...]]:
        """The remembered addresses."""
        self._require_open()
        return dict(self._contacts)

    def note(self, key: str, value: str) -> None:
        """Keeps a fact."""
        self._require_open()
        self._notes[key] = value

    def noted(self, key: str) -> str | None:
        """The fact that was kept."""
        self._require_open()
        return self._notes.get(key)

    def quick_check(self) -> tuple[str, ...]:
        """Memory has no file that could be damaged."""
        return ()

    def close(self) -> None:
        """Ends the use; `crash` opens the store again, as a new process would."""
        self._closed = True

    def crash(self) -> None:
        """The process died and another opens the store: all that was appended is there, planned failures are not."""
        self._failures.clear()
        self._closed = False

    def fail_next_append(self, failure: StoreFailed | None = None) -> None:
        """The next append raises `failure` (a full disk) and takes nothing; several calls make several fail."""
        self._failures.append(failure or StoreFailed("no room is left for the store", "free space"))

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")

    def _check_chains(self, fresh: Mapping[Cid, Event]) -> None:
        earlier: set[Cid] = set()
        for cid, event in fresh.items():
            header = event.header
            if header.prev is not None:
                prev = fresh[header.prev].header if header.prev in earlier else self.header(header.prev)
                if prev is None or prev.author != header.author or prev.seq != header.seq - 1:
                    raise ValueError(f"{cid} does not follow on a stored event of its author")
            earlier.add(cid)

    def _advance(self, header: Header) -> None:
        branches = self._tips.setdefault(header.author, [])
        branches[:] = [tip for tip in branches if tip.cid != header.prev]
        branches.append(Tip(header.seq, header.cid))

    def _coverage(self, author: PeerId, tip: Tip) -> Callable[[Header], bool]:
        held = self.header(tip.cid)
        branches = self._tips.get(author, [])
        if held is not None and held.author == author and held.seq == tip.seq:
            if len(branches) == 1:
                return lambda header: header.seq <= tip.seq
            chain = self._chain(tip.cid)
            return lambda header: header.cid in chain
        if all(branch.seq < tip.seq for branch in branches):
            return lambda header: header.seq < tip.seq
        return _nothing

    def _chain(self, last: Cid) -> set[Cid]:
        chain: set[Cid] = set()
        at: Cid | None = last
        while at is not None:
            chain.add(at)
            at = self._events[self._positions[at] - 1].header.prev
        return chain


def _nothing(header: Header) -> bool:
    return False
