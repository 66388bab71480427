"""Derives `vectors/assignment.json` from the design's words with hashlib alone, sharing no code with the product.

Run `python tests/protocols/assignment_vectors.py` to write the file; `test_assignment.py` checks that it is current.
"""

import base64
import hashlib
import json
from pathlib import Path

import coterie_protocols

FILE = Path(coterie_protocols.__file__).parent / "vectors" / "assignment.json"
PEER_KEYS = range(1, 8)
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def sha(*parts: bytes) -> bytes:
    """SHA-256 of the concatenation."""
    return hashlib.sha256(b"".join(parts)).digest()


def event_cid(number: int) -> str:
    """CIDv1, dag-cbor, sha2-256 of some bytes, as base32 text."""
    binary = bytes((0x01, 0x71, 0x12, 0x20)) + sha(b"parent", bytes([number]))
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


def binary_cid(cid: str) -> bytes:
    """The 36 bytes behind the text."""
    text = cid[1:].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


def peer_id(number: int) -> str:
    """base58 of the identity multihash of a protobuf Ed25519 key; the key's bytes are a hash, which will do here."""
    value = int.from_bytes(bytes.fromhex("002408011220") + sha(b"peer", bytes([number])), "big")
    digits = ""
    while value:
        value, digit = divmod(value, 58)
        digits = BASE58[digit] + digits
    return "1" + digits  # one leading zero byte


def cbor_text(text: str) -> bytes:
    """A CBOR text string of fewer than 24 bytes."""
    assert len(text) < 24
    return bytes([0x60 + len(text)]) + text.encode()


def bits_that_differ(one: bytes, other: bytes) -> int:
    """Hamming distance, bit by bit."""
    return sum(bin(a ^ b).count("1") for a, b in zip(one, other, strict=True))


def vector(parent_numbers: list[int], run: str, task: str, attempt: int) -> dict[str, object]:
    """One case, every step shown."""
    parents = [event_cid(number) for number in parent_numbers]
    head = sha(*sorted(binary_cid(cid) for cid in parents))
    # DAG-CBOR orders keys by length: "run" stands before "task"
    task_hash = sha(b"\xa2", cbor_text("run"), cbor_text(run), cbor_text("task"), cbor_text(task))
    combined = sha(head, task_hash) if attempt == 1 else sha(head, task_hash, attempt.to_bytes(4, "big"))
    peers = [
        {
            "peer": peer,
            "distance": bits_that_differ(combined, sha(peer.encode())),
            "tie": sha(combined, peer.encode()).hex(),
        }
        for peer in map(peer_id, PEER_KEYS)
    ]
    ranked = sorted(peers, key=lambda each: (each["distance"], each["tie"]))
    return {
        "parents": parents,
        "task": {"run": run, "task": task},
        "attempt": attempt,
        "head": head.hex(),
        "task_hash": task_hash.hex(),
        "combined": combined.hex(),
        "ranked": ranked,
    }


def vectors() -> list[dict[str, object]]:
    """One parent, many in any order, the largest head, attempts after the first, many tasks (some tie)."""
    cases = [
        vector([1], "r1", "build", 1),
        vector([3, 1, 2], "r1", "build", 1),
        vector([1, 2, 3], "r1", "build", 1),
        vector(list(range(1, 9)), "r2", "test (3.12, linux)", 1),
        vector([1], "r1", "build", 2),
        vector([1], "r1", "build", 258),
    ]
    return cases + [vector([1, 2], "r3", f"cell {number}", 1) for number in range(6)]


def text() -> str:
    """The file's content."""
    return json.dumps({"about": "SPEC.md, assignment; hex is SHA-256", "vectors": vectors()}, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
