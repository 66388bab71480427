"""Peer ids and signatures: libp2p's form, one verifier, and no key of small order."""

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_protocols.errors import BadMessage
from coterie_protocols.identity import PeerId, SigningKey, decode_peer_id_untrusted, peer_id_of, verify_untrusted
from protocols.building import key

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    """Addition on the Edwards curve of Ed25519 (RFC 8032, section 5.1)."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def small_order_encodings() -> set[bytes]:
    """All 32-byte spellings of the eight points whose order divides 8, found by arithmetic, not from a list."""
    # A point of order 8 doubles to one with y = 0, so x^2 = -y^2, and then d y^4 + 2 y^2 - 1 = 0 on the curve.
    points = {(0, 1), (0, P - 1)}
    root = pow(2, (P - 1) // 4, P)  # a square root of -1
    points |= {(root, 0), (P - root, 0)}
    for y2 in ((s - 1) * pow(D, -1, P) % P for s in _square_roots((1 + D) % P)):
        for y in _square_roots(y2):
            x2 = (y2 - 1) * pow(D * y2 + 1, -1, P) % P
            points |= {(x, y) for x in _square_roots(x2)}
    points = {point for point in points if _times_eight(point) == (0, 1)}
    spellings: set[bytes] = set()
    for x, y in points:
        for spelt in (y, y + P):
            if spelt < 2**255:
                signs = (0, 1) if x == 0 else (x & 1,)
                spellings |= {(spelt | sign << 255).to_bytes(32, "little") for sign in signs}
    return spellings


def _square_roots(square: int) -> list[int]:
    root = pow(square, (P + 3) // 8, P)
    for candidate in (root, root * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square:
            return [candidate, P - candidate]
    return []


def _times_eight(point: Point) -> Point:
    for _ in range(3):
        point = add(point, point)
    return point


def test_all_points_of_small_order_are_refused() -> None:
    spellings = small_order_encodings()
    assert len(spellings) >= 12
    for spelling in spellings:
        peer = peer_id_of(spelling)
        with pytest.raises(BadMessage, match="small order"):
            decode_peer_id_untrusted(peer)
        with pytest.raises(BadMessage):
            verify_untrusted(peer, b"anything", bytes(64))


def test_peer_ids_have_libp2ps_form() -> None:
    peer = key(1).peer_id
    assert peer.startswith("12D3KooW")
    raw = base58.b58decode(peer)
    assert raw[:6] == bytes.fromhex("002408011220")
    assert len(raw) == 38
    assert repr(key(1)) == f"SigningKey({peer})"  # never the seed


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        b"12D3KooW",
        "",
        "12D3KooW",
        "0" * 52,
        "é" * 52,
        "1" * 52,
        base58.b58encode(bytes.fromhex("002408021220") + bytes(31) + b"\x09").decode(),  # secp256k1
        base58.b58encode(bytes.fromhex("12200801") + bytes(34)).decode(),
        "1" + key(1).peer_id,
        key(1).peer_id + " ",
        key(1).peer_id[:-1],
    ],
)
def test_what_is_no_peer_id(value: object) -> None:
    with pytest.raises(BadMessage):
        decode_peer_id_untrusted(value)


@given(st.text(min_size=38, max_size=62))
def test_any_text_is_a_peer_id_or_bad(text: str) -> None:
    with pytest.raises(BadMessage):
        decode_peer_id_untrusted(text)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_signatures(seed: bytes, message: bytes) -> None:
    signer = SigningKey(seed)
    assert decode_peer_id_untrusted(str(signer.peer_id)) == signer.peer_id
    signature = signer.sign(message)
    verify_untrusted(signer.peer_id, message, signature)
    spoilt = bytes([signature[0] ^ 1]) + signature[1:]
    for peer, said, by in [
        (signer.peer_id, message + b"x", signature),
        (signer.peer_id, message, spoilt),
        (signer.peer_id, message, signature[:-1]),
        (signer.peer_id, message, b""),
        (key(1).peer_id, message, signature),
        (PeerId("nobody"), message, signature),
    ]:
        with pytest.raises(BadMessage):
            verify_untrusted(peer, said, by)


def test_a_signature_has_one_spelling() -> None:
    """S + L verifies under the group equation; who accepted it would give one event two ids."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = key(1).sign(b"message")
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(BadMessage):
        verify_untrusted(key(1).peer_id, b"message", signature[:32] + s.to_bytes(32, "little"))
