"""Which stored events somebody's frontier covers, in time that grows with authors and not with history.

A frontier names one event per author. Who holds an event holds its whole chain of `prev`, and of a forked author
perhaps no more than that; so an event is covered exactly if it lies on the chain of the named one. Where the named
event is not held here:

- it lies beyond all that we hold of the author: the asker is ahead, and everything counts as covered. (Should it
  be ahead on another branch, it serves that branch to us, and from then on the first rule holds.)
- we hold the author as far as that or further: the asker is on a branch that we lack, or lost its way, and
  nothing counts as covered.

So two peers that pull from each other in turn hold the union of both after three pulls, forks and lost tails
included; and each later pull repeats of a forked author only the branches that the asker's frontier can't name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from coterie_protocols.event import Frontier, Tip
from coterie_protocols.identity import PeerId


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event is stored: its chain, its position, its seq."""

    chain: int
    position: int
    seq: int


@dataclass(frozen=True, slots=True)
class Chain:
    """A branch of an author's log: where it leaves another branch (None: nowhere), and its last event."""

    author: PeerId
    base: Place | None
    last: Place


def covered(chains: Mapping[int, Chain], have: Frontier, find: Callable[[Tip], Place | None]) -> dict[int, int]:
    """For every chain that `have` covers in part, the position of the last covered event.

    `find` tells where a tip's event is stored.
    """
    ends: dict[int, int] = {}
    of_author: dict[PeerId, list[Chain]] = {}
    for chain in chains.values():
        of_author.setdefault(chain.author, []).append(chain)
    for author, tip in have.items():
        branches = of_author.get(author, [])
        place = find(tip) if branches else None
        if place is not None and place.seq == tip.seq and chains[place.chain].author == author:
            _follow(chains, place, ends)
        elif all(chain.last.seq < tip.seq for chain in branches):
            ends.update((chain.last.chain, chain.last.position) for chain in branches)
    return ends


def wanted(chains: Iterable[Chain], ends: Mapping[int, int], after: int) -> list[tuple[int, int]]:
    """(chain, position after which its events are wanted) of the chains that have any beyond `after`."""
    starts = ((chain.last, max(after, ends.get(chain.last.chain, 0))) for chain in chains)
    return [(last.chain, start) for last, start in starts if last.position > start]


def _follow(chains: Mapping[int, Chain], place: Place, ends: dict[int, int]) -> None:
    at: Place | None = place
    while at is not None:  # each base lies earlier than the chain that leaves it
        ends[at.chain] = at.position
        at = chains[at.chain].base
