"""Canonical bytes, against a slow and independent implementation; and what is refused."""

import base64
import hashlib
import struct
from collections.abc import Mapping

import dag_cbor
import pytest
from dag_cbor import IPLDKind
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID

from coterie_protocols.encoding import (
    DEPTH_MAX,
    Cid,
    Value,
    blob_cid_from_text_untrusted,
    cid_of_blob,
    cid_of_event,
    decode_value_untrusted,
    encode,
    event_cid_from_link_untrusted,
    event_cid_from_text_untrusted,
    link,
)
from coterie_protocols.errors import BadMessage
from protocols.mangling import cut, event_links, flipped, scalars, values

LIMIT = 1 << 20


def for_the_oracle(value: Value) -> IPLDKind:
    """The same value, with links as the oracle has them."""
    match value:
        case bytes():
            return CID.decode(value)
        case Mapping():
            return {key: for_the_oracle(item) for key, item in value.items()}
        case str() | None | bool() | int() | float():
            return value
        case _:
            return [for_the_oracle(item) for item in value]


@given(values)
def test_the_bytes_are_those_of_the_oracle(value: Value) -> None:
    data = encode(value)
    assert data == dag_cbor.encode(for_the_oracle(value))
    again = decode_value_untrusted(data, LIMIT)
    assert again == value
    assert encode(again) == data


@settings(max_examples=300)
@given(st.binary(max_size=64))
def test_garbage_is_bad_or_canonical(data: bytes) -> None:
    try:
        value = decode_value_untrusted(data, LIMIT)
    except BadMessage:
        return
    assert encode(value) == data


@given(values)
def test_what_was_cut_or_changed_is_bad_or_another_value(value: Value) -> None:
    data = encode(value)
    for worse in [*cut(data), *flipped(data)]:
        try:
            assert encode(decode_value_untrusted(worse, LIMIT)) == worse
        except BadMessage:
            continue


@given(scalars)
def test_more_than_one_value_is_bad(value: Value) -> None:
    with pytest.raises(BadMessage):
        decode_value_untrusted(encode(value) * 2, LIMIT)


NOT_CANONICAL = {
    "int in two bytes": b"\x18\x01",
    "int in three bytes": b"\x19\x00\xff",
    "int in nine bytes": b"\x1b" + bytes(7) + b"\x01",
    "length in two bytes": b"\x78\x01a",
    "keys out of order": b"\xa2\x61b\x01\x61a\x02",
    "long key first": b"\xa2\x62aa\x01\x61b\x02",
    "key twice": b"\xa2\x61a\x01\x61a\x02",
    "key that is no text": b"\xa1\x01\x02",
    "float of two bytes": b"\xf9\x3c\x00",
    "float of four bytes": b"\xfa\x3f\x80\x00\x00",
    "NaN": b"\xfb" + struct.pack(">d", float("nan")),
    "infinity": b"\xfb" + struct.pack(">d", float("inf")),
    "minus infinity": b"\xfb" + struct.pack(">d", float("-inf")),
    "minus zero": b"\xfb" + struct.pack(">d", -0.0),
    "undefined": b"\xf7",
    "simple value": b"\xe0",
    "endless list": b"\x9f\x01\xff",
    "endless text": b"\x7f\x61a\xff",
    "tag of a date": b"\xc0\x61a",
    "link without its zero byte": b"\xd8\x2a\x58\x24\x01\x71\x12\x20" + bytes(32),
    "link that is a text": b"\xd8\x2a\x61a",
    "empty link": b"\xd8\x2a\x41\x00",
    "byte string that spells a link": b"\x58\x24\x01\x71\x12\x20" + bytes(32),
    "text that is not UTF-8": b"\x61\xff",
    "half a surrogate pair": b"\x63\xed\xa0\x80",
    "list longer than its bytes": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "map longer than its bytes": b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
    "text longer than its bytes": b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("data", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_what_is_not_canonical_is_bad(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_value_untrusted(data, LIMIT)
    with pytest.raises(BadMessage):
        decode_value_untrusted(b"\xa1\x61k" + data, LIMIT)


def nested(depth: int, *, maps: bool = False) -> bytes:
    """Lists or maps in each other, the innermost empty."""
    return b"\xa1\x61k" * (depth - 1) + b"\xa0" if maps else b"\x81" * (depth - 1) + b"\x80"


@pytest.mark.parametrize("maps", [False, True])
def test_depth_is_bounded_alike_for_everybody(maps: bool) -> None:
    decode_value_untrusted(nested(DEPTH_MAX, maps=maps), LIMIT)
    # Not by the interpreter's recursion limit, which is the codec's: that is a setting, and peers must not differ.
    for depth in (DEPTH_MAX + 1, 500, 950, 1_000, 100_000):
        with pytest.raises(BadMessage):
            decode_value_untrusted(nested(depth, maps=maps), LIMIT)


def test_size_is_bounded() -> None:
    assert decode_value_untrusted(encode("x" * 8), 9) == "x" * 8
    with pytest.raises(BadMessage, match="the limit is 8"):
        decode_value_untrusted(encode("x" * 8), 8)


def independent_cid(codec: int, digest: bytes) -> str:
    """CIDv1 by its specification: version, codec, multihash; base32 without padding, with its prefix."""
    return "b" + base64.b32encode(bytes((1, codec, 0x12, 32)) + digest).decode().lower().rstrip("=")


@given(st.binary(max_size=100))
def test_cids(data: bytes) -> None:
    digest = hashlib.sha256(data).digest()
    event, blob = cid_of_event(data), cid_of_blob(digest)
    assert (event, blob) == (independent_cid(0x71, digest), independent_cid(0x55, digest))
    assert CID.decode(event).digest == b"\x12\x20" + digest
    assert event_cid_from_link_untrusted(link(event)) == event_cid_from_text_untrusted(event) == event
    assert blob_cid_from_text_untrusted(blob) == blob
    for refused in (blob, event.upper(), event[:-1], event + "a", "z" + event[1:], None, 7, event.encode()):
        with pytest.raises(BadMessage):
            event_cid_from_text_untrusted(refused)
    for no_blob in (event, "", "b" + "1" * 58, [blob], "é" * 59):
        with pytest.raises(BadMessage):
            blob_cid_from_text_untrusted(no_blob)


@given(event_links)
def test_links(raw: bytes) -> None:
    assert link(event_cid_from_link_untrusted(raw)) == raw
    for refused in (raw[:-1], raw + b"\x00", b"\x01\x55" + raw[2:], b"", raw.hex(), None, Cid("bafy")):
        with pytest.raises(BadMessage):
            event_cid_from_link_untrusted(refused)


def test_the_last_characters_of_a_cid_hold_no_spare_bits() -> None:
    text = cid_of_event(b"")
    others = [text[:-1] + letter for letter in "abcdefghijklmnopqrstuvwxyz234567" if letter != text[-1]]
    for other in others:
        try:
            assert link(event_cid_from_text_untrusted(other)) != link(text)
        except BadMessage:
            continue
