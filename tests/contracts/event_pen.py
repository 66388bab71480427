"""Writes valid events quickly, honest and forked ones, for tests that need a history."""

from collections.abc import Sequence
from random import Random

from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Tip, write_event
from coterie_protocols.identity import PeerId, SigningKey
from coterie_protocols.ops import Cancel, Genesis, RunId


def signing_key(number: int) -> SigningKey:
    """A key that is the same in every test run."""
    return SigningKey(number.to_bytes(32, "big"))


def found(number: int = 1) -> Event:
    """The genesis of a coterie by author `number`."""
    return write_event(
        signing_key(number),
        coterie=None,
        seq=1,
        prev=None,
        parents=(),
        lamport=1,
        time_ms=0,
        ops=(Genesis(name="test", nonce=bytes(16)),),
    )


def follow(number: int, genesis: Event, prev: Event | None, parents: Sequence[Event], reason: str = "") -> Event:
    """The event of author `number` after `prev` (None: its first); different reasons make different events."""
    past = [*parents, *([prev] if prev else [])]
    return write_event(
        signing_key(number),
        coterie=genesis.cid,
        seq=prev.header.seq + 1 if prev else 1,
        prev=prev.cid if prev else None,
        parents=tuple(dict.fromkeys(parent.cid for parent in parents)),
        lamport=1 + max(event.header.lamport for event in past),
        time_ms=0,
        ops=(Cancel(RunId("run"), reason),),
    )


def history(count: int, authors: int = 3, forks: int = 0, seed: int = 0) -> list[Event]:
    """`count` events by `authors` authors, parents first; `forks` of them follow on an event that is not the last."""
    random = Random(seed)
    events = [found(1)]
    of_author: dict[int, list[Event]] = {1: [events[0]]}
    forked = set(random.sample(range(authors + 1, count), forks))
    for index in range(1, count):
        number = random.randint(1, authors)
        mine = of_author.setdefault(number, [])
        prev = random.choice([None, *mine]) if index in forked and mine and number != 1 else mine[-1] if mine else None
        parents = random.sample(events[-4:], min(2, len(events)))
        event = follow(number, events[0], prev, parents, reason=str(index))
        mine.append(event)
        events.append(event)
    return events


def frontier(events: Sequence[Event]) -> dict[PeerId, Tip]:
    """The frontier of who holds `events`: per author the longest branch, then the least CID, as the clock has it."""
    tips: dict[PeerId, Tip] = {}
    for event in events:
        header = event.header
        known = tips.get(header.author)
        if known is None or (-header.seq, header.cid) < (-known.seq, known.cid):
            tips[header.author] = Tip(header.seq, header.cid)
    return tips


def cids(events: Sequence[Event]) -> list[Cid]:
    """What the events are called."""
    return [event.cid for event in events]
