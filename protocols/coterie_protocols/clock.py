"""The Merkle clock: which events are known, in causal order, and what is still waited for.

Everything that changes the clock lives in this file. An event is inserted when its parents and its author's
previous event are; until then it is pending, within bounds. Who may write at all is decided here too, because it
follows from the event and its ancestors alone: an author's first event is the genesis, or carries a join whose
certificate was signed by a peer that entered as admin by one of the event's parents.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol, cast

from coterie_protocols.encoding import Cid, link
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import PARENTS_MAX, Event, Frontier, Header, Tip, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.invite import check_join_untrusted
from coterie_protocols.ops import Genesis, Join, Op

PENDING_MAX: Final = 4096
PENDING_PER_AUTHOR_MAX: Final = 1000
RECENT_MAX: Final = 8192
_FINGERPRINT_MODULUS: Final = 2**256


class Headers(Protocol):
    """Where the headers of events that left the clock's own memory can be read."""

    def header(self, cid: Cid) -> Header | None:
        """The header of a stored event, None if there is none."""
        ...


class NoHeaders:
    """Headers of an empty store."""

    def header(self, cid: Cid) -> Header | None:
        """Always None."""
        return None


class Clock:
    """The causal order of one coterie's events: headers and tips only, so that memory does not grow with history."""

    def __init__(self, coterie: Cid, stored: Headers, recent_max: int = RECENT_MAX) -> None:
        self.coterie = coterie
        self.count = 0
        self.forks: dict[PeerId, int] = {}
        self.entries: dict[PeerId, dict[Cid, bool]] = {}  # an author's first events -> did one make it an admin?
        self._stored = stored
        self._recent: dict[Cid, Header] = {}
        self._recent_max = recent_max
        self._forget_at = recent_max + recent_max // 8 + 1
        self._heads: dict[Cid, Header] = {}
        self._tips: dict[PeerId, Tip] = {}
        self._pending: dict[Cid, Event] = {}
        self._pending_by_author: dict[PeerId, int] = {}
        self._waiting: dict[Cid, list[Cid]] = {}
        self._fingerprint = 0

    @property
    def heads(self) -> tuple[Header, ...]:
        """The events that no known event has as a parent, newest first."""
        return tuple(sorted(self._heads.values(), key=lambda h: (-h.lamport, h.cid)))

    @property
    def frontier(self) -> Frontier:
        """Per author, the last event held; of a fork's branches the longest, then the least CID."""
        return self._tips

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that tell the set of known events: the sum of their hashes modulo 2^256."""
        return self._fingerprint.to_bytes(32, "big")

    @property
    def pending_count(self) -> int:
        """How many events wait for others."""
        return len(self._pending)

    def header(self, cid: Cid) -> Header | None:
        """The header of an inserted event."""
        return self._recent.get(cid) or self._stored.header(cid)

    def knows(self, cid: Cid) -> bool:
        """Is the event inserted?"""
        return self.header(cid) is not None

    def _has(self, header: Header) -> bool:
        """The same, without a look into the store for what lies beyond all that is known of its author."""
        tip = self._tips.get(header.author)
        return tip is not None and header.seq <= tip.seq and self.knows(header.cid)

    def recalls(self, cid: Cid) -> bool:
        """Is the event among the newest that were inserted, or pending? Looks at memory alone."""
        return cid in self._recent or cid in self._pending

    def missing(self) -> tuple[Cid, ...]:
        """The events that pending ones wait for."""
        return tuple(cid for cid in self._waiting if cid not in self._pending)

    def insert(self, event: Event) -> list[Event]:
        """Inserts `event` and what waited for it, in causal order; a known one changes nothing.

        Returns what was inserted, which must be made durable before anybody sees it. Raises BadMessage if the event
        can never be part of this coterie.
        """
        if event.cid in self._pending or self._has(event.header):
            return []
        lacking = self._lacking(event)
        if lacking:
            self._wait(event, lacking)
            return []
        try:
            self._check(event)
        except BadMessage:
            self._drop_what_waits_for(event.cid)
            raise
        self._add(event)
        return [event, *self._wake(event.cid)]

    def restore(self, event: Event) -> None:
        """Takes in, in the order in which they were inserted, events that this peer checked and stored earlier."""
        self._add(event, saved=True)

    def _lacking(self, event: Event) -> list[Cid]:
        header = event.header
        wanted = header.parents if header.prev is None else (*header.parents, header.prev)
        return [cid for cid in dict.fromkeys(wanted) if not self.knows(cid)]

    def _wait(self, event: Event, lacking: Sequence[Cid]) -> None:
        author = event.header.author
        if event.header.coterie != self.coterie:
            raise BadMessage("an event of another coterie")
        if author not in self.entries:
            return  # strangers do not fill the pool; a newcomer's events come back by sync
        mine = self._pending_by_author.get(author, 0)
        if len(self._pending) >= PENDING_MAX or mine >= PENDING_PER_AUTHOR_MAX:
            return  # it comes back by sync
        self._pending[event.cid] = event
        self._pending_by_author[author] = mine + 1
        for cid in lacking:
            self._waiting.setdefault(cid, []).append(event.cid)

    def _wake(self, arrived: Cid) -> list[Event]:
        woken: list[Event] = []
        queue = [arrived]
        while queue:
            for cid in self._waiting.pop(queue.pop(0), ()):
                event = self._pending.get(cid)
                if event is None or self._lacking(event):
                    continue
                self._forget_pending(event)
                try:
                    self._check(event)
                except BadMessage:  # it was let in to wait before its parents could tell that it is worthless
                    self._drop_what_waits_for(cid)
                    continue
                self._add(event)
                woken.append(event)
                queue.append(cid)
        return woken

    def _drop_what_waits_for(self, worthless: Cid) -> None:
        """What descends from an event that can never be inserted can't be either: it makes room in the pool."""
        queue = [worthless]
        while queue:
            for cid in self._waiting.pop(queue.pop(), ()):
                event = self._pending.get(cid)
                if event is None:
                    continue
                self._forget_pending(event)
                queue.append(cid)
                for other in self._lacking(event):
                    waiting = [each for each in self._waiting.pop(other, ()) if each != cid]
                    if waiting:
                        self._waiting[other] = waiting

    def _forget_pending(self, event: Event) -> None:
        del self._pending[event.cid]
        self._pending_by_author[event.header.author] -= 1

    def _check(self, event: Event) -> None:
        header = event.header
        if header.coterie is None:
            if event.cid != self.coterie or not (event.ops and isinstance(event.ops[0], Genesis)):
                raise BadMessage("a genesis of another coterie")
            return
        if header.coterie != self.coterie:
            raise BadMessage("an event of another coterie")
        relatives = [cast(Header, self.header(cid)) for cid in header.parents]
        if header.prev is None:
            self._check_entry(event)
        else:
            prev = cast(Header, self.header(header.prev))
            if prev.author != header.author or prev.seq + 1 != header.seq:
                raise BadMessage("event: prev is not the author's previous event")
            relatives.append(prev)
        if header.lamport != 1 + max(relative.lamport for relative in relatives):
            raise BadMessage("event: lamport does not follow from the parents")

    def _check_entry(self, event: Event) -> None:
        join = event.ops[0] if event.ops else None
        if not isinstance(join, Join):
            raise BadMessage("a stranger's event")
        check_join_untrusted(join, self.coterie, event.header.author, event.header.time_ms)
        entries = self.entries.get(join.certificate.issuer, {})
        if not any(entries.get(parent, False) for parent in event.header.parents):
            raise BadMessage("join: the certificate is not by an admin among the event's parents")

    def _add(self, event: Event, *, saved: bool = False) -> None:
        header = event.header
        self._recent[header.cid] = header
        self._forget_recent(saved)
        self.count += 1
        digest = int.from_bytes(link(event.cid)[4:], "big")
        self._fingerprint = (self._fingerprint + digest) % _FINGERPRINT_MODULUS
        for parent in header.parents:
            self._heads.pop(parent, None)
        self._heads[event.cid] = header
        self._advance(header)
        if header.prev is None:
            first = event.ops[0]
            admin = isinstance(first, Genesis) or (isinstance(first, Join) and "admin" in first.certificate.roles)
            self.entries.setdefault(header.author, {})[event.cid] = admin

    def _forget_recent(self, saved: bool) -> None:
        """Drops what the store can tell, many at once: a look into the store is dear.

        One fsync pays for many events, and until then the clock alone knows them. They are saved in the order in which
        they were inserted, so the newest of those to be dropped speaks for all.
        """
        if len(self._recent) < self._forget_at:
            return
        surplus = list(islice(self._recent, len(self._recent) - self._recent_max))
        if saved or self._stored.header(surplus[-1]) is not None:
            for cid in surplus:
                del self._recent[cid]
        self._forget_at = len(self._recent) + self._recent_max // 8 + 1

    def _advance(self, header: Header) -> None:
        tip = self._tips.get(header.author)
        if tip is None or header.seq > tip.seq:
            self._tips[header.author] = Tip(header.seq, header.cid)
            return
        self.forks[header.author] = min(header.seq, self.forks.get(header.author, header.seq))
        if header.seq == tip.seq and header.cid < tip.cid:
            self._tips[header.author] = Tip(header.seq, header.cid)

    def write(self, key: SigningKey, ops: tuple[Op, ...], time_ms: int) -> Event:
        """Writes and inserts the next event of `key`, over the newest heads. Raises ValueError if it is too large."""
        tip = self._tips.get(key.peer_id)
        if tip is None:
            raise ValueError("the author has not entered this coterie")
        parents = self.heads[:PARENTS_MAX]
        prev = cast(Header, self.header(tip.cid))
        lamport = 1 + max(prev.lamport, *(head.lamport for head in parents))
        event = write_event(
            key,
            coterie=self.coterie,
            seq=tip.seq + 1,
            prev=tip.cid,
            parents=tuple(head.cid for head in parents),
            lamport=lamport,
            time_ms=time_ms,
            ops=ops,
        )
        self._add(event)
        return event

    def is_ancestor(self, older: Cid, newer: Header) -> bool:
        """Is `older` in the causal past of `newer`? Walks back, but never below the Lamport time of `older`."""
        target = self.header(older)
        if target is None or target.lamport >= newer.lamport:
            return False
        seen: set[Cid] = set()
        stack = [newer]
        while stack:
            header = stack.pop()
            for cid in header.parents if header.prev is None else (*header.parents, header.prev):
                if cid == older:
                    return True
                parent = self.header(cid)
                if cid in seen or parent is None or parent.lamport <= target.lamport:
                    continue
                seen.add(cid)
                stack.append(parent)
        return False


def found_coterie(key: SigningKey, name: str, nonce: bytes, time_ms: int) -> Event:
    """The genesis event of a new coterie; its CID is the coterie's id. `nonce` is 16 random bytes."""
    return write_event(
        key,
        coterie=None,
        seq=1,
        prev=None,
        parents=(),
        lamport=1,
        time_ms=time_ms,
        ops=(Genesis(name=name, nonce=nonce),),
    )


def enter_coterie(key: SigningKey, genesis: Cid, issuer_entry: Header, join: Join, time_ms: int) -> Event:
    """A newcomer's first event, over the genesis and the issuer's own entry."""
    parents = (issuer_entry.cid,) if issuer_entry.cid == genesis else (issuer_entry.cid, genesis)
    return write_event(
        key,
        coterie=genesis,
        seq=1,
        prev=None,
        parents=parents,
        lamport=issuer_entry.lamport + 1,
        time_ms=time_ms,
        ops=(join,),
    )
