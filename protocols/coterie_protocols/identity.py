"""Ed25519 identities: libp2p peer ids, signing, and the one verifier (libsodium, through PyNaCl).

A peer id is base58(identity multihash of the protobuf public key), as in
github.com/libp2p/specs/blob/master/peer-ids: for Ed25519 it holds the key itself.
"""

from functools import lru_cache
from typing import NewType

import base58
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as _NaclKey
from nacl.signing import VerifyKey

from coterie_protocols.errors import BadMessage

PeerId = NewType("PeerId", str)
"""`12D3KooW…`: names a peer and holds its Ed25519 public key."""

SIGNATURE_BYTES = 64
_PREFIX = bytes.fromhex("002408011220")  # identity multihash, 36 bytes; protobuf {type: Ed25519, data: 32 bytes}

# The points of small order (RFC 7748 section 7 family, as listed in libsodium's ref10): a key among them
# would let anyone forge, and verifiers disagree about it.
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)


class SigningKey:
    """A peer's Ed25519 private key, from a 32-byte seed."""

    __slots__ = ("_key", "peer_id", "seed")

    def __init__(self, seed: bytes) -> None:
        self._key = _NaclKey(seed)
        self.seed = seed
        self.peer_id = peer_id_of(bytes(self._key.verify_key))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"SigningKey({self.peer_id})"


def peer_id_of(public_key: bytes) -> PeerId:
    """The libp2p peer id of a 32-byte Ed25519 public key."""
    return PeerId(base58.b58encode(_PREFIX + public_key).decode())


@lru_cache(maxsize=4096)
def _verify_key(peer: str) -> VerifyKey:
    try:
        raw = base58.b58decode(peer)
    except ValueError:
        raise BadMessage("not a peer id") from None
    key = raw[len(_PREFIX) :]
    if len(key) != 32 or not raw.startswith(_PREFIX) or peer_id_of(key) != peer:
        raise BadMessage("not the peer id of an Ed25519 key")
    if key in _SMALL_ORDER:
        raise BadMessage("a key of small order")
    return VerifyKey(key)


def decode_peer_id_untrusted(value: object) -> PeerId:
    """The peer id that `value` spells. Raises BadMessage."""
    if not isinstance(value, str) or not 40 <= len(value) <= 60:
        raise BadMessage("not a peer id")
    _verify_key(value)
    return PeerId(value)


def verify_untrusted(peer: PeerId, message: bytes, signature: bytes) -> None:
    """Returns if `signature` of `message` is by `peer`. Raises BadMessage."""
    key = _verify_key(peer)
    try:
        key.verify(message, signature)
    except (BadSignatureError, ValueError):
        raise BadMessage(f"not signed by {peer}") from None
