"""Canonical bytes: DAG-CBOR and CIDs (CIDv1, dag-cbor or raw, sha2-256).

libipld cannot tell a byte string from a link once decoded, so nothing of ours uses CBOR byte strings: a
`bytes` value is always a link, and other binary values travel as hex text.
Source of the formats: ipld.io/specs/codecs/dag-cbor and github.com/multiformats/cid.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NewType, cast

import libipld

from coterie_protocols.errors import BadMessage

Cid = NewType("Cid", str)
"""A CIDv1 as base32 text, `bafyrei…` for events and `bafkrei…` for raw blobs."""

Value = None | bool | int | float | str | bytes | Sequence["Value"] | Mapping[str, "Value"]

_DAG_CBOR_PREFIX = b"\x01\x71\x12\x20"
_RAW_PREFIX = b"\x01\x55\x12\x20"
_CID_BYTES = 36
_Container = dict[str, object] | list[object]

DEPTH_MAX: Final = 32
"""How deep lists and maps may stand in each other, the outermost counted."""


def encode(value: Value) -> bytes:
    """The one DAG-CBOR encoding of `value`; `bytes` become links."""
    return libipld.encode_dag_cbor(value)


def decode_value_untrusted(data: bytes, bytes_max: int) -> Value:
    """The value that `data` encodes canonically. Raises BadMessage, and nothing else, whatever the bytes."""
    if len(data) > bytes_max:
        raise BadMessage(f"{len(data)} bytes; the limit is {bytes_max}")
    try:
        value: Value = libipld.decode_dag_cbor(data)
        canonical = libipld.encode_dag_cbor(value)
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        raise BadMessage(f"not DAG-CBOR: {str(error)[:120]}") from None
    if canonical != data:
        raise BadMessage("not the canonical DAG-CBOR encoding")
    _check_depth(value)
    return value


def _check_depth(value: object) -> None:
    """All peers must draw the same line. The codec's own is the interpreter's recursion limit, which is a setting."""
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        containers = [cast(_Container, each) for each in level if type(each) in (dict, list)]
        if not containers:
            return
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
    raise BadMessage(f"more than {DEPTH_MAX} lists and maps in each other")


def cid_of_event(data: bytes) -> Cid:
    """The CID of an event's exact bytes."""
    return Cid(libipld.encode_cid(_DAG_CBOR_PREFIX + hashlib.sha256(data).digest()))


def cid_of_blob(digest: bytes) -> Cid:
    """The CID of a raw blob whose SHA-256 is `digest` (32 bytes)."""
    return Cid(libipld.encode_cid(_RAW_PREFIX + digest))


def link(cid: Cid) -> bytes:
    """The link that stands for `cid` in an encoded value."""
    decoded: tuple[str, bytes] = libipld.decode_multibase(cid)
    return decoded[1]


def event_cid_from_link_untrusted(value: object) -> Cid:
    """The event CID behind a decoded link. Raises BadMessage."""
    if not isinstance(value, bytes) or len(value) != _CID_BYTES or not value.startswith(_DAG_CBOR_PREFIX):
        raise BadMessage("not a link to an event")
    return Cid(libipld.encode_cid(value))


def blob_cid_from_text_untrusted(value: object) -> Cid:
    """The blob CID that `value` spells. Raises BadMessage."""
    return _cid_from_text(value, _RAW_PREFIX, "blob")


def event_cid_from_text_untrusted(value: object) -> Cid:
    """The event CID that `value` spells. Raises BadMessage."""
    return _cid_from_text(value, _DAG_CBOR_PREFIX, "event")


def _cid_from_text(value: object, prefix: bytes, kind: str) -> Cid:
    if not isinstance(value, str) or len(value) != 59:
        raise BadMessage(f"not the CID of a {kind}")
    try:
        _, raw = libipld.decode_multibase(value)
    except (ValueError, TypeError):
        raise BadMessage(f"not the CID of a {kind}") from None
    if len(raw) != _CID_BYTES or not raw.startswith(prefix) or libipld.encode_cid(raw) != value:
        raise BadMessage(f"not the CID of a {kind}")
    return Cid(value)
