"""Which peer is nearest to a task: the Hamming order that all peers compute alike from the submission alone.

Nothing here depends on what a peer knows now: the head is that of the submitting event. The order balances load
and decides between concurrent claims. It is no defence: a submitter can try tasks until one falls to a chosen peer.
Vectors for other implementations: `vectors/assignment.json`.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from coterie_protocols.encoding import Cid, Value, encode, link
from coterie_protocols.identity import PeerId

HASH_BITS: Final = 256
_ATTEMPT_BYTES: Final = 4

ClaimOrder = tuple[int, bytes]
"""(distance, tie): the least is the nearest."""


def head_of(parents: Iterable[Cid]) -> bytes:
    """The clock head that a submission fixed: SHA-256 of its parents' CIDs, 36 bytes each, in ascending order."""
    return hashlib.sha256(b"".join(sorted(link(parent) for parent in parents))).digest()


def task_hash(task: Value) -> bytes:
    """SHA-256 of the canonical DAG-CBOR of `task`: the map {"run": run id, "task": task id}."""
    return hashlib.sha256(encode(task)).digest()


def combined(head: bytes, task_hash: bytes, attempt: int = 1) -> bytes:
    """What peers are compared with: SHA-256(head ‖ task hash), from attempt 2 on SHA-256(head ‖ task hash ‖ attempt).

    The attempt is 4 bytes, big-endian, so that each new attempt ranks the peers anew.
    """
    suffix = b"" if attempt == 1 else attempt.to_bytes(_ATTEMPT_BYTES, "big")
    return hashlib.sha256(head + task_hash + suffix).digest()


def distance(combined: bytes, peer: PeerId) -> int:
    """In how many of 256 bits `combined` and SHA-256 of the peer id's text differ (R. W. Hamming, 1950)."""
    return (int.from_bytes(combined, "big") ^ _peer_bits(peer)).bit_count()


def claim_order(combined: bytes, peer: PeerId) -> ClaimOrder:
    """What is least for the nearest peer: (distance, SHA-256(combined ‖ the peer id's text))."""
    return distance(combined, peer), hashlib.sha256(combined + peer.encode()).digest()


def rank(combined: bytes, peers: Iterable[PeerId]) -> list[PeerId]:
    """The peers, nearest first, whatever order they come in."""
    return sorted(peers, key=lambda peer: claim_order(combined, peer))


@lru_cache(maxsize=4096)
def _peer_bits(peer: PeerId) -> int:
    return int.from_bytes(hashlib.sha256(peer.encode()).digest(), "big")
