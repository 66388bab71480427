"""The `Store` port on one SQLite file."""

import hashlib
import heapq
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from coterie.store.coverage import Chain, Place, covered, wanted
from coterie.store.errors import StoreFailed, damaged, failures_of
from coterie.store.opening import open_database
from coterie_protocols.encoding import Cid, link
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import Event, Frontier, Header, Tip, decode_event_untrusted
from coterie_protocols.identity import PeerId

HEADERS_MAX = 1_024  # newest and last asked for; about a kilobyte each
REPLAY_ROWS = 256
PROBLEMS_MAX = 20
_PREFIX_BYTES = 4  # of a binary CID: version, codec, hash, length

_PLACE = "SELECT chain, position, seq FROM event WHERE digest = ?"
_PREV = """
    SELECT e.chain, e.position, e.seq,
           EXISTS (SELECT 1 FROM event l WHERE l.chain = e.chain AND l.position > e.position)
    FROM event e JOIN chain c ON c.id = e.chain WHERE e.digest = ? AND c.author = ?"""
_CHAINS = """
    SELECT c.author, b.chain, b.position, b.seq, l.chain, l.position, l.seq
    FROM chain c JOIN event l ON l.position = (SELECT max(position) FROM event WHERE chain = c.id)
    LEFT JOIN event b ON b.position = c.base"""
_FROM_ALL = "SELECT position, data FROM event WHERE position > ? ORDER BY position"
_FROM_CHAIN = "SELECT position, data FROM event WHERE chain = ? AND position > ? ORDER BY position"


class SqliteStore:
    """Events in `path`, fsynced before `append` returns. Methods raise StoreFailed, and then nothing is half done.

    To be used by one thread of one process. `append` takes parents and `prev` before or with their children.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path)
        self._headers: OrderedDict[Cid, Header] = OrderedDict()
        self._chains: dict[int, Chain] | None = None  # as stored now; dropped by every append
        try:
            self._count = self._one_integer("SELECT count(*) FROM event")
        except StoreFailed:
            self._connection.close()
            raise

    def append(self, events: Sequence[Event]) -> None:
        """Makes the events durable in one transaction; those already held are passed over.

        Raises ValueError if an event's `prev` is not stored: that would be our bug.
        """
        with self._transaction():
            added = sum(self._add(event) for event in events)
        if added:
            self._count += added
            self._chains = None
        for event in events:
            self._keep_header(event.header)

    def header(self, cid: Cid) -> Header | None:
        """The header of a stored event."""
        known = self._headers.get(cid)
        if known is not None:
            self._headers.move_to_end(cid)
            return known
        with failures_of(self._path):
            row = self._connection.execute("SELECT data FROM event WHERE digest = ?", (_digest(cid),)).fetchone()
        if row is None:
            return None
        header = self._decode_header(cid, row[0])
        self._keep_header(header)
        return header

    def replay(self) -> Iterator[bytes]:
        """The events stored at the time of this call, in the order of insertion; appending meanwhile is fine."""
        return self._read_until(self._one_integer("SELECT coalesce(max(position), 0) FROM event"))

    def replay_checked(self) -> Iterator[bytes]:
        """The same. Raises StoreFailed at an event whose bytes are not those that were written: it must not count."""
        at = 0
        while rows := self._rows("SELECT position, digest, data FROM event WHERE position > ? ORDER BY 1 LIMIT ?", at):
            for at, digest, data in rows:
                if hashlib.sha256(data).digest() != digest:
                    raise damaged(self._path, f"the event at position {at} has other bytes than were written")
                yield data

    def _rows(self, sql: str, after: int) -> list[tuple[int, bytes, bytes]]:
        with failures_of(self._path):
            return self._connection.execute(sql, (after, REPLAY_ROWS)).fetchall()

    def missing(self, have: Frontier, after: int, bytes_max: int) -> tuple[int, list[bytes]]:
        """The next events that `have` does not cover: (position to go on from, events), no events at the end.

        At most `bytes_max` bytes, but always one event if there is any. What covers what: `coterie.store.coverage`.
        Takes O(chains + answer) time, however much is stored and covered.
        """
        with failures_of(self._path), ExitStack() as cursors:
            chains = self._all_chains()
            starts = wanted(chains.values(), covered(chains, have, self._find), after)
            ongoing = sum(chain.last.position > after for chain in chains.values())
            queries: list[tuple[str, tuple[int, ...]]] = [(_FROM_CHAIN, start) for start in starts]
            if len(starts) == ongoing and all(start == after for _, start in starts):
                queries = [(_FROM_ALL, (after,))]  # all that is left, as for a newcomer: one scan, no merge
            rows = [cursors.enter_context(closing(self._connection.execute(*query))) for query in queries]
            return _take(heapq.merge(*rows), after, bytes_max)

    def count(self) -> int:
        """How many events are stored."""
        return self._count

    def remember(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Replaces the addresses of `peer`; none at all forgets it."""
        if self.contacts().get(peer, ()) == tuple(addresses):
            return  # spares the disk a sync at each reconnection
        with self._transaction():
            self._connection.execute("DELETE FROM contact WHERE peer = ?", (peer,))
            self._connection.executemany(
                "INSERT INTO contact (peer, rank, address) VALUES (?, ?, ?)",
                [(peer, rank, address) for rank, address in enumerate(addresses)],
            )

    def contacts(self) -> Mapping[PeerId, tuple[str, ...]]:
        """The remembered addresses, in the order in which they were given."""
        found: dict[PeerId, tuple[str, ...]] = {}
        with failures_of(self._path):
            for peer, address in self._connection.execute("SELECT peer, address FROM contact ORDER BY peer, rank"):
                found[PeerId(peer)] = (*found.get(PeerId(peer), ()), address)
        return found

    def note(self, key: str, value: str) -> None:
        """Keeps a small fact; it replaces the last one of that key."""
        if self.noted(key) == value:
            return
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", (key, value))

    def noted(self, key: str) -> str | None:
        """The fact that was kept."""
        with failures_of(self._path):
            row = self._connection.execute("SELECT value FROM note WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def quick_check(self) -> tuple[str, ...]:
        """What is wrong with the file, at most PROBLEMS_MAX findings; empty when all is well. Reads every page.

        It does not check hashes and signatures: whoever replays does.
        """
        try:
            with failures_of(self._path):
                rows = self._connection.execute(f"PRAGMA quick_check({PROBLEMS_MAX})").fetchall()
                dangling = self._connection.execute("PRAGMA foreign_key_check").fetchmany(PROBLEMS_MAX)
        except StoreFailed as failure:
            return (failure.message,)
        found = [str(row[0]) for row in rows if row[0] != "ok"]
        return (*found, *(f"row {row[1]} of {row[0]} refers to nothing in {row[2]}" for row in dangling))[:PROBLEMS_MAX]

    def close(self) -> None:
        """Ends the use of the file; the write-ahead log goes into the database. May be called again."""
        with failures_of(self._path):
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        with failures_of(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite may have rolled back by itself
                    self._connection.execute("ROLLBACK")

    def _add(self, event: Event) -> bool:
        digest = _digest(event.cid)
        if self._connection.execute("SELECT 1 FROM event WHERE digest = ?", (digest,)).fetchone() is not None:
            return False
        self._connection.execute(
            "INSERT INTO event (digest, chain, seq, data) VALUES (?, ?, ?, ?)",
            (digest, self._chain_for(event.header), event.header.seq, event.data),
        )
        return True

    def _chain_for(self, header: Header) -> int:
        if header.prev is None:
            return self._begin_chain(header.author, None)
        row = self._connection.execute(_PREV, (_digest(header.prev), header.author)).fetchone()
        if row is None or row[2] != header.seq - 1:
            raise ValueError(f"{header.cid} does not follow on a stored event of its author")
        chain, position, _, continued = row
        return self._begin_chain(header.author, position) if continued else chain

    def _begin_chain(self, author: PeerId, base: int | None) -> int:
        made = self._connection.execute("INSERT INTO chain (author, base) VALUES (?, ?)", (author, base))
        assert made.lastrowid is not None
        return made.lastrowid

    def _all_chains(self) -> dict[int, Chain]:
        if self._chains is None:
            self._chains = {
                row[4]: Chain(PeerId(row[0]), None if row[1] is None else Place(*row[1:4]), Place(*row[4:7]))
                for row in self._connection.execute(_CHAINS)
            }
        return self._chains

    def _find(self, tip: Tip) -> Place | None:
        row = self._connection.execute(_PLACE, (_digest(tip.cid),)).fetchone()
        return None if row is None else Place(*row)

    def _read_until(self, end: int) -> Iterator[bytes]:
        at = 0
        while at < end:
            with failures_of(self._path):
                rows = self._connection.execute(
                    "SELECT position, data FROM event WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
                    (at, end, REPLAY_ROWS),
                ).fetchall()
            for _, data in rows:
                yield data
            at = rows[-1][0] if rows else end

    def _decode_header(self, cid: Cid, data: bytes) -> Header:
        try:
            header = decode_event_untrusted(data, verify=False).header
        except BadMessage as error:
            raise damaged(self._path, f"event {cid}: {error}") from error
        if header.cid != cid:
            raise damaged(self._path, f"event {cid} has other bytes than were written")
        return header

    def _keep_header(self, header: Header) -> None:
        self._headers[header.cid] = header
        self._headers.move_to_end(header.cid)
        while len(self._headers) > HEADERS_MAX:
            self._headers.popitem(last=False)

    def _one_integer(self, sql: str) -> int:
        with failures_of(self._path):
            number: int = self._connection.execute(sql).fetchone()[0]
        return number


def _digest(cid: Cid) -> bytes:
    return link(cid)[_PREFIX_BYTES:]


def _take(rows: Iterator[tuple[int, bytes]], after: int, bytes_max: int) -> tuple[int, list[bytes]]:
    taken: list[bytes] = []
    size = 0
    for position, data in rows:
        size += len(data)
        if taken and size > bytes_max:
            break
        taken.append(data)
        after = position
    return after, taken
