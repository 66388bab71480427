"""What peers say to each other beside events: announcements by gossip, sync frames, and requests for blobs and logs.

Every message is a DAG-CBOR map with a `kind`. Events travel in them as byte strings; they always begin with 0xAA
(a map of ten), so none can be taken for a link.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, cast

from coterie_protocols.encoding import (
    Cid,
    Value,
    blob_cid_from_text_untrusted,
    decode_value_untrusted,
    encode,
    event_cid_from_link_untrusted,
    link,
)
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import EVENT_BYTES_MAX, SEQ_MAX, Frontier, Tip
from coterie_protocols.fields import Fields
from coterie_protocols.identity import decode_peer_id_untrusted
from coterie_protocols.ops import ATTEMPT_MAX, LABELS_MAX, MS_MAX, RunId

FRAME_BYTES_MAX: Final = 128 * 1024
EVENTS_FRAME_BYTES: Final = 48 * 1024
"""A frame of events is closed once it holds this much; one event more still fits into FRAME_BYTES_MAX."""
GOSSIP_BYTES_MAX: Final = 16 * 1024
INLINE_BYTES_MAX: Final = 8 * 1024
REQUEST_BYTES_MAX: Final = 4 * 1024
AUTHORS_MAX: Final = 1024
EVENTS_PER_FRAME_MAX: Final = 1024
HEADS_SHOWN_MAX: Final = 8
CLAIMS_SHOWN_MAX: Final = 64
ADDRESSES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Announcement:
    """A sign of life, and what is new: presence, the newest heads, and the newest own events while small.

    `boot_ms` is when the sender's daemon started (Unix milliseconds) and `number` counts its announcements since:
    together they order them. `claims` are the claims whose tasks it runs now; each mention renews a lease.
    """

    boot_ms: int
    number: int
    name: str
    labels: tuple[str, ...]
    slots: int
    leaving: bool
    claims: tuple[Cid, ...]
    addresses: tuple[str, ...]
    heads: tuple[Cid, ...]
    fingerprint: bytes
    events: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """Asks for what this frontier does not cover, and then for the other's frontier."""

    have: Frontier
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Events:
    """Events as exact bytes, parents first."""

    events: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SyncDone:
    """All that was asked for is sent; this is the sender's frontier, so that the other side can return the favour."""

    have: Frontier
    fingerprint: bytes
    reply_wanted: bool


Message = Announcement | SyncRequest | Events | SyncDone


def encode_message(message: Message) -> bytes:
    """The bytes of a message."""
    match message:
        case Announcement():
            return encode(_announcement_to_value(message))
        case SyncRequest():
            return encode({"kind": "want", **_frontier_to_value(message.have, message.fingerprint)})
        case SyncDone():
            value = _frontier_to_value(message.have, message.fingerprint)
            return encode({"kind": "done", "reply": message.reply_wanted, **value})
        case Events():
            return encode_events(message.events)


def encode_events(events: Sequence[bytes]) -> bytes:
    """The bytes of an `Events` message."""
    return encode({"kind": "events", "events": list(events)})


def _announcement_to_value(message: Announcement) -> dict[str, Value]:
    return {
        "kind": "announce",
        "boot": message.boot_ms,
        "n": message.number,
        "name": message.name,
        "labels": list(message.labels),
        "slots": message.slots,
        "leaving": message.leaving,
        "claims": [link(cid) for cid in message.claims],
        "addrs": list(message.addresses),
        "heads": [link(cid) for cid in message.heads],
        "set": message.fingerprint.hex(),
        "events": list(message.events),
    }


def _frontier_to_value(have: Frontier, fingerprint: bytes) -> dict[str, Value]:
    # Of more authors than a frame has room for, those with the most to say: what is left out is only sent again.
    shown = nlargest(AUTHORS_MAX, have.items(), key=lambda each: (each[1].seq, each[0]))
    tips: dict[str, Value] = {author: [tip.seq, link(tip.cid)] for author, tip in shown}
    return {"have": tips, "set": fingerprint.hex()}


def decode_announcement_untrusted(data: bytes) -> Announcement:
    """The announcement that came by gossip. Raises BadMessage."""
    f = Fields(decode_value_untrusted(data, GOSSIP_BYTES_MAX), "announcement")
    f.choice("kind", frozenset({"announce"}))
    return _announcement(f)


def _announcement(f: Fields) -> Announcement:
    return Announcement(
        boot_ms=f.integer("boot", 0, MS_MAX),
        number=f.integer("n", 0, SEQ_MAX),
        name=f.text("name", 64),
        labels=f.texts("labels", LABELS_MAX),
        slots=f.integer("slots", 0, 10_000),
        leaving=f.flag("leaving"),
        claims=f.items("claims", CLAIMS_SHOWN_MAX, event_cid_from_link_untrusted),
        addresses=f.texts("addrs", ADDRESSES_MAX),
        heads=f.items("heads", HEADS_SHOWN_MAX, event_cid_from_link_untrusted),
        fingerprint=f.hex("set", 32),
        events=f.items("events", EVENTS_PER_FRAME_MAX, _event_bytes),
    )


def decode_frame_untrusted(data: bytes) -> Message:
    """The message that came on a stream. Raises BadMessage."""
    f = Fields(decode_value_untrusted(data, FRAME_BYTES_MAX), "frame")
    match f.text("kind", 16):
        case "events":
            return Events(f.items("events", EVENTS_PER_FRAME_MAX, _event_bytes))
        case "announce":
            return _announcement(f)
        case "want":
            return SyncRequest(_frontier(f), f.hex("set", 32))
        case "done":
            return SyncDone(_frontier(f), f.hex("set", 32), f.flag("reply"))
        case other:
            raise BadMessage(f"frame: unknown kind {other!r}")


def _event_bytes(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) > EVENT_BYTES_MAX:
        raise BadMessage("not the bytes of an event")
    return value


def _frontier(f: Fields) -> Frontier:
    tips = f.mapping("have", AUTHORS_MAX, _tip)
    return {decode_peer_id_untrusted(author): tip for author, tip in tips.items()}


def _tip(value: object) -> Tip:
    if not isinstance(value, list) or len(pair := cast(list[object], value)) != 2:
        raise BadMessage("frontier: not [seq, link]")
    seq, cid = pair
    if type(seq) is not int or not 1 <= seq <= SEQ_MAX:
        raise BadMessage("frontier: not a seq")
    return Tip(seq, event_cid_from_link_untrusted(cid))


# -- requests that are answered by a stream of chunks -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlobRequest:
    """Asks for a blob's bytes."""

    blob: Cid


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Asks for the log of an attempt from byte `offset` on; with `follow`, until the attempt ends."""

    run: RunId
    task: str
    attempt: int
    offset: int
    follow: bool


Request = BlobRequest | LogRequest


def encode_request(request: Request) -> bytes:
    """The bytes of a request."""
    match request:
        case BlobRequest():
            return encode({"kind": "blob", "cid": request.blob})
        case LogRequest():
            return encode(
                {
                    "kind": "log",
                    "run": request.run,
                    "task": request.task,
                    "attempt": request.attempt,
                    "offset": request.offset,
                    "follow": request.follow,
                }
            )


def decode_request_untrusted(data: bytes) -> Request:
    """The request that a member sent. Raises BadMessage."""
    f = Fields(decode_value_untrusted(data, REQUEST_BYTES_MAX), "request")
    match f.text("kind", 16):
        case "blob":
            return BlobRequest(blob_cid_from_text_untrusted(f.raw("cid")))
        case "log":
            return LogRequest(
                run=RunId(f.text("run", 32)),
                task=f.text("task"),
                attempt=f.integer("attempt", 1, ATTEMPT_MAX),
                offset=f.integer("offset", 0, SEQ_MAX),
                follow=f.flag("follow"),
            )
        case other:
            raise BadMessage(f"request: unknown kind {other!r}")
