"""The order of peers is the design's, to the bit, and does not depend on what order things come in."""

import hashlib
import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_protocols.assignment import HASH_BITS, claim_order, combined, distance, head_of, rank, task_hash
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId, SigningKey
from protocols.assignment_vectors import FILE, text

VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
PEERS = [SigningKey(number.to_bytes(32, "big")).peer_id for number in range(1, 11)]


def test_the_file_of_vectors_is_what_its_script_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == text()


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_vectors(vector: dict[str, Any]) -> None:
    head = head_of(Cid(parent) for parent in vector["parents"])
    hashed = task_hash(vector["task"])
    both = combined(head, hashed, vector["attempt"])
    assert (head.hex(), hashed.hex(), both.hex()) == (vector["head"], vector["task_hash"], vector["combined"])
    peers = [PeerId(each["peer"]) for each in vector["ranked"]]
    assert rank(both, sorted(peers)) == rank(both, reversed(peers)) == peers
    for peer, each in zip(peers, vector["ranked"], strict=True):
        assert claim_order(both, peer) == (each["distance"], bytes.fromhex(each["tie"]))


def test_some_vector_is_decided_by_the_tie() -> None:
    assert any(len({each["distance"] for each in vector["ranked"]}) < len(vector["ranked"]) for vector in VECTORS)


@given(st.binary(min_size=32, max_size=32), st.permutations(PEERS))
def test_every_peer_ranks_alike(seed: bytes, peers: list[PeerId]) -> None:
    ranking = rank(seed, peers)
    assert sorted(ranking) == sorted(PEERS)
    assert ranking == rank(seed, PEERS)
    orders = [claim_order(seed, peer) for peer in ranking]
    assert orders == sorted(orders)
    assert all(0 <= each[0] <= HASH_BITS for each in orders)


def test_the_first_attempt_is_named_by_no_number() -> None:
    head, hashed = bytes(32), bytes(range(32))
    assert combined(head, hashed) == combined(head, hashed, 1)
    assert len({combined(head, hashed, attempt) for attempt in range(1, 300)}) == 299


def test_distance_is_that_of_the_hash_of_the_id() -> None:
    hashed = hashlib.sha256(PEERS[0].encode()).digest()
    assert distance(hashed, PEERS[0]) == 0
    assert distance(bytes(byte ^ 0xFF for byte in hashed), PEERS[0]) == HASH_BITS
    assert distance(bytes([hashed[0] ^ 1]) + hashed[1:], PEERS[0]) == 1


def test_a_peer_that_leaves_moves_only_its_own_tasks() -> None:
    seeds = [Random(seed).randbytes(32) for seed in range(300)]
    for seed in seeds:
        first, second = rank(seed, PEERS)[:2]
        left = [peer for peer in PEERS if peer != PEERS[0]]
        assert rank(seed, left)[0] == (second if first == PEERS[0] else first)


def test_no_peer_is_left_without_tasks() -> None:
    random = Random(5)
    nearest = Counter(rank(random.randbytes(32), PEERS)[0] for _ in range(3000))
    assert set(nearest) == set(PEERS)
    assert max(nearest.values()) < 2 * 3000 / len(PEERS)
