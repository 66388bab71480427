"""The signed, content-addressed node of the Merkle clock.

An event is a DAG-CBOR map whose last key, in canonical order, is `signature`. What is signed is a domain tag,
then the canonical bytes of the same map without that key; so the signed bytes and the bytes that are stored
differ only in the map's head and in a tail of fixed size, and nothing is ever re-encoded to be checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from coterie_protocols.encoding import (
    Cid,
    Value,
    cid_of_event,
    decode_value_untrusted,
    encode,
    event_cid_from_link_untrusted,
    link,
)
from coterie_protocols.errors import BadMessage
from coterie_protocols.fields import Fields
from coterie_protocols.identity import (
    SIGNATURE_BYTES,
    PeerId,
    SigningKey,
    decode_peer_id_untrusted,
    verify_untrusted,
)
from coterie_protocols.op_reading import op_untrusted
from coterie_protocols.op_writing import op_to_value
from coterie_protocols.ops import MS_MAX, OPS_MAX, Claim, Op

VERSION: Final = 1
EVENT_BYTES_MAX: Final = 64 * 1024
PARENTS_MAX: Final = 8
DOMAIN: Final = b"coterie/event/1\n"
_TAIL: Final = b"\x69signature\x58\x40"  # text(9) "signature", bytes(64)
_TAIL_BYTES: Final = len(_TAIL) + SIGNATURE_BYTES
_BODY_KEYS: Final = frozenset({"v", "coterie", "author", "seq", "prev", "parents", "lamport", "time", "ops"})
SEQ_MAX: Final = 2**53


@dataclass(frozen=True, slots=True)
class Tip:
    """An author's last event that somebody holds."""

    seq: int
    cid: Cid


Frontier = Mapping[PeerId, Tip]


@dataclass(frozen=True, slots=True)
class Header:
    """What causality needs to know of an event. `coterie` is None for the genesis alone."""

    cid: Cid
    coterie: Cid | None
    author: PeerId
    seq: int
    prev: Cid | None
    parents: tuple[Cid, ...]
    lamport: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Event:
    """A header, its ops, and the exact bytes they came in."""

    header: Header
    ops: tuple[Op, ...]
    data: bytes

    @property
    def cid(self) -> Cid:
        """The event's content id."""
        return self.header.cid


def write_event(
    key: SigningKey,
    *,
    coterie: Cid | None,
    seq: int,
    prev: Cid | None,
    parents: tuple[Cid, ...],
    lamport: int,
    time_ms: int,
    ops: tuple[Op, ...],
) -> Event:
    """A new event, signed. Raises ValueError if it would be larger than EVENT_BYTES_MAX."""
    body: dict[str, Value] = {
        "v": VERSION,
        "coterie": None if coterie is None else link(coterie),
        "author": key.peer_id,
        "seq": seq,
        "prev": None if prev is None else link(prev),
        "parents": [link(parent) for parent in parents],
        "lamport": lamport,
        "time": time_ms,
        "ops": [op_to_value(op) for op in ops],
    }
    signed = encode(body)
    data = bytes((signed[0] + 1,)) + signed[1:] + _TAIL + key.sign(DOMAIN + signed)
    if len(data) > EVENT_BYTES_MAX:
        raise ValueError(f"an event of {len(data)} bytes; the limit is {EVENT_BYTES_MAX}")
    header = Header(cid_of_event(data), coterie, key.peer_id, seq, prev, parents, lamport, time_ms)
    return Event(header, ops, data)


def decode_event_untrusted(data: bytes, *, verify: bool = True) -> Event:
    """The event that `data` holds, its signature checked. Raises BadMessage, and nothing else.

    `verify=False` is for bytes that this machine verified and stored before.
    """
    if not _TAIL_BYTES < len(data) <= EVENT_BYTES_MAX:
        raise BadMessage(f"an event of {len(data)} bytes")
    if data[0] != 0xA0 + len(_BODY_KEYS) + 1 or not data.startswith(_TAIL, len(data) - _TAIL_BYTES):
        raise BadMessage("not an event")
    signed = bytes((data[0] - 1,)) + data[1:-_TAIL_BYTES]
    f = Fields(decode_value_untrusted(signed, EVENT_BYTES_MAX), "event")
    f.exactly(_BODY_KEYS)
    f.integer("v", VERSION, VERSION)
    author = decode_peer_id_untrusted(f.raw("author"))
    if verify:
        verify_untrusted(author, DOMAIN + signed, data[-SIGNATURE_BYTES:])
    header = Header(
        cid=cid_of_event(data),
        coterie=_optional_link(f.raw("coterie")),
        author=author,
        seq=f.integer("seq", 1, SEQ_MAX),
        prev=_optional_link(f.raw("prev")),
        parents=f.items("parents", PARENTS_MAX, event_cid_from_link_untrusted),
        lamport=f.integer("lamport", 1, SEQ_MAX),
        time_ms=f.integer("time", 0, MS_MAX),
    )
    _check_shape(header)
    ops = f.items("ops", OPS_MAX, op_untrusted)
    if sum(isinstance(op, Claim) for op in ops) > 1:
        raise BadMessage("event: a claim is named by its event, so there is one at most")
    return Event(header, ops, data)


def _optional_link(value: object) -> Cid | None:
    return None if value is None else event_cid_from_link_untrusted(value)


def _check_shape(header: Header) -> None:
    if (header.seq == 1) != (header.prev is None):
        raise BadMessage("event: prev and seq disagree")
    if (header.coterie is None) != (not header.parents):
        raise BadMessage("event: only a genesis has neither coterie nor parents")
    if header.coterie is None and (header.seq, header.lamport) != (1, 1):
        raise BadMessage("event: a genesis is the first of all")
    if len(set(header.parents)) != len(header.parents):
        raise BadMessage("event: a parent is named twice")
