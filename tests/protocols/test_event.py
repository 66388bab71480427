"""An event's bytes: spliced signature, strict shape, one spelling."""

import hashlib

import dag_cbor
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID

from coterie_protocols.encoding import Value, encode, link
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import DOMAIN, EVENT_BYTES_MAX, PARENTS_MAX, decode_event_untrusted, write_event
from coterie_protocols.identity import SigningKey, verify_untrusted
from coterie_protocols.invite import CERTIFICATE_DOMAIN
from coterie_protocols.ops import OPS_MAX, Cancel, RunId, Unknown
from protocols.building import TAIL, Pen, cancel, claim, key, raw_body, seal, seal_bytes, spec, submit, write_unknown
from protocols.histories import History, Move, moves
from protocols.mangling import EVENT_LINK, cut, flipped, spoilt

pen = Pen()
pen.join(2)
sample = pen.write(2, submit(spec("a"), spec("b", "a")), cancel(RunId("r")))
BODY = raw_body(sample)


@settings(max_examples=30, deadline=None)
@given(moves)
def test_what_is_written_is_read(moves: list[Move]) -> None:
    for event in History(moves).pen.events:
        again = decode_event_untrusted(event.data)
        assert again == event
        assert decode_event_untrusted(event.data, verify=False) == event


def test_the_bytes_are_one_canonical_map_with_the_signature_last() -> None:
    decoded = dag_cbor.decode(sample.data)
    assert isinstance(decoded, dict)
    assert sorted(decoded) == sorted(
        ["v", "coterie", "author", "seq", "prev", "parents", "lamport", "time", "ops", "signature"]
    )
    assert list(decoded)[-1] == "signature"
    assert dag_cbor.encode(decoded) == sample.data
    signature = decoded.pop("signature")
    assert isinstance(signature, bytes)
    signed = dag_cbor.encode(decoded)
    verify_untrusted(sample.header.author, b"coterie/event/1\n" + signed, signature)
    assert CID.decode(sample.cid).digest == b"\x12\x20" + hashlib.sha256(sample.data).digest()


def test_a_signature_that_looks_like_a_link_is_a_signature() -> None:
    """The codec takes bytes that spell a CID for a link. A signature is never given to it: it is spliced."""
    signed = encode(BODY)
    data = bytes((signed[0] + 1,)) + signed[1:] + TAIL + EVENT_LINK + bytes(60)
    event = decode_event_untrusted(data, verify=False)
    assert event.data == data
    assert event.header.seq == sample.header.seq
    with pytest.raises(BadMessage):
        decode_event_untrusted(data)
    # and a real one whose first bytes are those of a CIDv0, found by trying times
    for time_ms in range(200_000):
        body = {**BODY, "time": time_ms}
        signature = key(2).sign(DOMAIN + encode(body))
        if signature.startswith((b"\x12\x20", b"\x01\x71")):
            decode_event_untrusted(seal(key(2), body))
            return
    pytest.fail("no such signature in 200,000")


def test_cut_anywhere() -> None:
    for worse in cut(sample.data):
        with pytest.raises(BadMessage):
            decode_event_untrusted(worse)


def test_flipped_anywhere() -> None:
    for worse in flipped(sample.data):
        with pytest.raises(BadMessage):
            decode_event_untrusted(worse)


def test_longer_than_it_should_be() -> None:
    for worse in (sample.data + b"\x00", sample.data * 2, b"\x00" + sample.data, sample.data + bytes(EVENT_BYTES_MAX)):
        with pytest.raises(BadMessage):
            decode_event_untrusted(worse)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    for each in (data, sample.data[:1] + data + TAIL + bytes(64), seal_bytes(key(1), b"\xa9" + data)):
        with pytest.raises(BadMessage):
            decode_event_untrusted(each)


def test_spoilt_fields_with_a_good_signature() -> None:
    for worse in spoilt(BODY):
        try:
            event = decode_event_untrusted(seal(key(2), worse))  # type: ignore[arg-type]
        except BadMessage:
            continue
        assert set(raw_body(event)) == set(BODY)


GENESIS = raw_body(pen.genesis)
PARENT = link(pen.genesis.cid)
BAD: dict[str, dict[str, Value]] = {
    "another version": {**BODY, "v": 2},
    "no version": {k: v for k, v in BODY.items() if k != "v"} | {"w": 1},
    "first, but with something before it": {**BODY, "seq": 1},
    "not the first, with nothing before it": {**BODY, "prev": None},
    "no parents": {**BODY, "parents": []},
    "parents that are null": {**BODY, "parents": None},
    "a parent twice": {**BODY, "parents": [PARENT, PARENT]},
    "too many parents": {**BODY, "parents": [EVENT_LINK + bytes([i] * 32) for i in range(PARENTS_MAX + 1)]},
    "a parent that is a blob": {**BODY, "parents": [b"\x01\x55\x12\x20" + bytes(32)]},
    "a parent by name": {**BODY, "parents": [pen.genesis.cid]},
    "Lamport 0": {**BODY, "lamport": 0},
    "seq too large": {**BODY, "seq": 2**53 + 1},
    "time before 1970": {**BODY, "time": -1},
    "time that is a float": {**BODY, "time": 1.5},
    "too many ops": {**BODY, "ops": [{"op": "later"}] * (OPS_MAX + 1)},
    "ops that are a map": {**BODY, "ops": {"op": "later"}},
    "two claims": {**BODY, "ops": [{"op": "claim", "run": "r", "task": "t", "attempt": 1, "consumed": {}}] * 2},
    "nobody": {**BODY, "author": "12D3KooW"},
    "a genesis with parents": {**GENESIS, "parents": [PARENT]},
    "a genesis that is not the first": {**GENESIS, "seq": 2, "prev": PARENT},
    "a genesis late in time": {**GENESIS, "lamport": 7},
    "coterie left out for something else": {**{k: v for k, v in GENESIS.items() if k != "coterie"}, "x": 1},
    "ops left out for something else": {**{k: v for k, v in BODY.items() if k != "ops"}, "x": 1},
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_bad_shapes_with_a_good_signature(body: dict[str, Value]) -> None:
    signer = key(1) if body.get("author") == key(1).peer_id else key(2)
    with pytest.raises(BadMessage):
        decode_event_untrusted(seal(signer, body))


@pytest.mark.parametrize("body", [{**BODY, "extra": 1}, {k: v for k, v in BODY.items() if k != "time"}])
def test_an_event_has_ten_keys(body: dict[str, Value]) -> None:
    with pytest.raises(BadMessage):
        decode_event_untrusted(seal(key(2), body))


def test_who_signed_and_for_what() -> None:
    with pytest.raises(BadMessage, match="not signed"):
        decode_event_untrusted(seal(key(1), BODY))
    for domain in (b"", CERTIFICATE_DOMAIN, b"coterie/event/2\n"):
        with pytest.raises(BadMessage, match="not signed"):
            decode_event_untrusted(seal(key(2), BODY, domain=domain))


def test_what_is_not_canonical_is_bad_though_signed() -> None:
    signed = encode(BODY)
    at = signed.index(b"\x61v\x01")
    for worse in (signed[:at] + b"\x61v\x18\x01" + signed[at + 3 :], signed[:1] + signed[4:] + b"\x61v\x01"):
        with pytest.raises(BadMessage):
            decode_event_untrusted(seal_bytes(key(2), worse))


def test_too_large_to_be_written() -> None:
    with pytest.raises(ValueError, match="the limit is 65536"):
        write_event(
            key(1),
            coterie=None,
            seq=1,
            prev=None,
            parents=(),
            lamport=1,
            time_ms=0,
            ops=(Cancel(RunId("r"), "x" * EVENT_BYTES_MAX),),
        )


def test_unknown_ops_are_kept_to_the_byte() -> None:
    event = write_unknown(Pen(), 1, [{"op": "later", "x": [1, 2.5, None, "é"]}])
    assert event.ops == (Unknown("later"),)
    assert decode_event_untrusted(event.data).data == event.data


def test_one_claim_to_an_event() -> None:
    with pytest.raises(BadMessage, match="one at most"):
        decode_event_untrusted(Pen().write(1, claim(RunId("r")), claim(RunId("s"))).data)


def test_keys_are_told_apart_by_their_seed() -> None:
    assert SigningKey(bytes(32)).peer_id != key(1).peer_id
