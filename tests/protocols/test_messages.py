"""What peers say to each other: round trips, bounds, and nothing but BadMessage for all else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols import messages
from coterie_protocols.encoding import Value, cid_of_blob, decode_value_untrusted, encode, link
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import EVENT_BYTES_MAX, Tip
from coterie_protocols.identity import SigningKey
from coterie_protocols.messages import (
    AUTHORS_MAX,
    EVENTS_FRAME_BYTES,
    EVENTS_PER_FRAME_MAX,
    FRAME_BYTES_MAX,
    GOSSIP_BYTES_MAX,
    REQUEST_BYTES_MAX,
    Announcement,
    BlobRequest,
    Events,
    LogRequest,
    Message,
    SyncDone,
    SyncRequest,
    decode_announcement_untrusted,
    decode_frame_untrusted,
    decode_request_untrusted,
    encode_message,
    encode_request,
)
from coterie_protocols.ops import RunId
from protocols.building import Pen, key
from protocols.mangling import EVENT_LINK, cut, flipped, spoilt

pen = Pen()
two = pen.join(2)
HAVE = {key(1).peer_id: Tip(1, pen.genesis.cid), key(2).peer_id: Tip(1, two.cid)}
ANNOUNCEMENT = Announcement(
    boot_ms=5,
    number=7,
    name="büro",
    labels=("linux", "gpu"),
    slots=4,
    leaving=False,
    claims=(two.cid,),
    addresses=("/ip4/127.0.0.1/tcp/4001",),
    heads=(two.cid, pen.genesis.cid),
    fingerprint=bytes(range(32)),
    events=(two.data,),
)
MESSAGES: dict[str, Message] = {
    "announcement": ANNOUNCEMENT,
    "bare announcement": Announcement(0, 0, "", (), 0, True, (), (), (), bytes(32), ()),
    "request": SyncRequest(HAVE, bytes(32)),
    "request of one who has nothing": SyncRequest({}, bytes(32)),
    "events": Events((pen.genesis.data, two.data)),
    "no events": Events(()),
    "done": SyncDone(HAVE, b"\xff" * 32, True),
    "last done": SyncDone(HAVE, b"\xff" * 32, False),
}
REQUESTS: dict[str, messages.Request] = {
    "blob": BlobRequest(cid_of_blob(bytes(32))),
    "log": LogRequest(RunId("r"), "test (3.12, linux)", 2, 10, True),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_round_trip(message: Message) -> None:
    data = encode_message(message)
    assert decode_frame_untrusted(data) == message
    assert encode_message(decode_frame_untrusted(data)) == data


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_round_trip_of_requests(request_: messages.Request) -> None:
    data = encode_request(request_)
    assert decode_request_untrusted(data) == request_
    assert encode_request(decode_request_untrusted(data)) == data


def test_only_announcements_come_by_gossip() -> None:
    assert decode_announcement_untrusted(encode_message(ANNOUNCEMENT)) == ANNOUNCEMENT
    for message in MESSAGES.values():
        if not isinstance(message, Announcement):
            with pytest.raises(BadMessage):
                decode_announcement_untrusted(encode_message(message))


Decode = Callable[[bytes], object]
EVERY: list[tuple[Decode, bytes]] = [
    *((decode_frame_untrusted, encode_message(message)) for message in MESSAGES.values()),
    (decode_announcement_untrusted, encode_message(ANNOUNCEMENT)),
    *((decode_request_untrusted, encode_request(request)) for request in REQUESTS.values()),
]


def encoded(value: object) -> bytes:
    """Whatever was decoded, as bytes again."""
    if isinstance(value, BlobRequest | LogRequest):
        return encode_request(value)
    assert isinstance(value, Announcement | SyncRequest | Events | SyncDone)
    return encode_message(value)


@pytest.mark.parametrize(("decode", "data"), EVERY)
def test_cut_anywhere(decode: Decode, data: bytes) -> None:
    for worse in cut(data):
        with pytest.raises(BadMessage):
            decode(worse)


@pytest.mark.parametrize(("decode", "data"), EVERY)
def test_flipped_anywhere(decode: Decode, data: bytes) -> None:
    for worse in flipped(data):
        try:
            again = decode(worse)
        except BadMessage:
            continue
        assert decode(encoded(again)) == again


@pytest.mark.parametrize(("decode", "data"), EVERY)
def test_spoilt_fields(decode: Decode, data: bytes) -> None:
    for worse in spoilt(decode_value_untrusted(data, FRAME_BYTES_MAX)):
        try:
            again = decode(encode(worse))
        except BadMessage:
            continue
        assert decode(encoded(again)) == again


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    for decode in (decode_frame_untrusted, decode_announcement_untrusted, decode_request_untrusted):
        for each in (data, b"\xa1\x64kind" + data, b"\xa2\x64kind\x66events\x66events" + data):
            try:
                again = decode(each)
            except BadMessage:
                continue
            assert decode(encoded(again)) == again


LINK = EVENT_LINK + bytes(32)
PEER = key(1).peer_id
BAD: dict[str, Value] = {
    "no kind": {"have": {}, "set": "00" * 32},
    "a kind of no meaning": {"kind": "hello"},
    "no map": ["events"],
    "an event that is a text": {"kind": "events", "events": ["x"]},
    "an event too long": {"kind": "events", "events": [b"\xaa" * (EVENT_BYTES_MAX + 1)]},
    "too many events": {"kind": "events", "events": [b"\xaa"] * (EVENTS_PER_FRAME_MAX + 1)},
    "a frontier of strangers": {"kind": "want", "have": {"me": [1, LINK]}, "set": "00" * 32},
    "a tip without its event": {"kind": "want", "have": {PEER: [1]}, "set": "00" * 32},
    "a tip that is a map": {"kind": "want", "have": {PEER: {"seq": 1}}, "set": "00" * 32},
    "a tip before the first": {"kind": "want", "have": {PEER: [0, LINK]}, "set": "00" * 32},
    "a tip at a fraction": {"kind": "want", "have": {PEER: [1.5, LINK]}, "set": "00" * 32},
    "a tip at true": {"kind": "want", "have": {PEER: [True, LINK]}, "set": "00" * 32},
    "a tip by name": {"kind": "want", "have": {PEER: [1, pen.genesis.cid]}, "set": "00" * 32},
    "half a fingerprint": {"kind": "want", "have": {}, "set": "00" * 16},
    "done without a word on a reply": {"kind": "done", "have": {}, "set": "00" * 32},
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_bad_frames(value: Value) -> None:
    with pytest.raises(BadMessage):
        decode_frame_untrusted(encode(value))


def test_bad_requests() -> None:
    for value in ({"kind": "tree"}, {"kind": "blob", "cid": pen.genesis.cid}, {"kind": "log", "run": "r"}, ["blob"]):
        with pytest.raises(BadMessage):
            decode_request_untrusted(encode(value))


def test_sizes() -> None:
    for decode, limit in (
        (decode_frame_untrusted, FRAME_BYTES_MAX),
        (decode_announcement_untrusted, GOSSIP_BYTES_MAX),
        (decode_request_untrusted, REQUEST_BYTES_MAX),
    ):
        with pytest.raises(BadMessage, match=f"the limit is {limit}"):
            decode(bytes(limit + 1))


def test_the_largest_frontier_fits_into_a_frame() -> None:
    have = {key(number).peer_id: Tip(2**53, two.cid) for number in range(1, AUTHORS_MAX + 1)}
    request = SyncRequest(have, bytes(32))
    data = encode_message(request)
    assert len(data) <= FRAME_BYTES_MAX
    assert decode_frame_untrusted(data) == request
    tips: dict[str, Value] = {author: [tip.seq, link(tip.cid)] for author, tip in have.items()}
    tips[key(0).peer_id] = [1, link(two.cid)]
    with pytest.raises(BadMessage, match=f"map of at most {AUTHORS_MAX}"):
        decode_frame_untrusted(encode({"kind": "want", "have": tips, "set": bytes(32).hex()}))


def test_a_frame_of_events_with_one_more_fits() -> None:
    events = Events((b"\xaa" * EVENTS_FRAME_BYTES, b"\xaa" * EVENT_BYTES_MAX))
    assert len(encode_message(events)) <= FRAME_BYTES_MAX


def test_fields_of_a_later_version_are_passed_over() -> None:
    value = decode_value_untrusted(encode_message(ANNOUNCEMENT), FRAME_BYTES_MAX)
    assert isinstance(value, dict)
    assert decode_frame_untrusted(encode({**value, "later": 1})) == ANNOUNCEMENT
    assert decode_frame_untrusted(encode({**value, "n": 8})) == replace(ANNOUNCEMENT, number=8)


def test_a_frontier_of_more_authors_than_a_frame_holds_is_cut_not_refused() -> None:
    authors = [SigningKey(number.to_bytes(32, "big")).peer_id for number in range(AUTHORS_MAX + 7)]
    have = {author: Tip(number + 1, pen.genesis.cid) for number, author in enumerate(authors)}

    message = decode_frame_untrusted(encode_message(SyncRequest(have, bytes(32))))

    assert isinstance(message, SyncRequest)
    assert dict(message.have) == {author: have[author] for author in authors[7:]}
