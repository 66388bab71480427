"""Every decoder of what peers send: whatever the bytes, it answers, or it says BadMessage."""

import json
from collections.abc import Callable
from pathlib import Path

import coterie_protocols
from coterie_protocols.clock import Clock, NoHeaders
from coterie_protocols.encoding import Cid, decode_value_untrusted, encode
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import decode_event_untrusted
from coterie_protocols.identity import SigningKey
from coterie_protocols.invite import TOKEN_PREFIX, token_from_text_untrusted, token_to_text
from coterie_protocols.messages import (
    decode_announcement_untrusted,
    decode_frame_untrusted,
    decode_request_untrusted,
    encode_message,
    encode_request,
)
from coterie_protocols.op_reading import op_untrusted
from coterie_protocols.op_writing import op_to_value
from coterie_protocols.ops import Unknown

VECTORS = Path(coterie_protocols.__file__).parent / "vectors"
SIGNER = SigningKey(bytes(32))
TAIL = b"\x69signature\x58\x40"
BYTES_MAX = 1 << 20


def value(data: bytes) -> None:
    """Any value: one spelling."""
    assert encode(decode_value_untrusted(data, BYTES_MAX)) == data


def op(data: bytes) -> None:
    """Any op: what was read can be written and read again."""
    read = op_untrusted(decode_value_untrusted(data, BYTES_MAX))
    if not isinstance(read, Unknown):
        assert op_untrusted(decode_value_untrusted(encode(op_to_value(read)), BYTES_MAX)) == read


def event(data: bytes) -> None:
    """An event as if it had been verified, so that the fuzzer gets beyond the signature; then into a clock."""
    read = decode_event_untrusted(data, verify=False)
    assert read.data == data
    Clock(read.header.coterie or read.cid, NoHeaders()).insert(read)


def verified_event(data: bytes) -> None:
    """An event whose signature is looked at."""
    assert decode_event_untrusted(data).data == data


def body(data: bytes) -> None:
    """What stands before the signature, with one that fits in form."""
    if data:
        event(bytes(((data[0] + 1) % 256,)) + data[1:] + TAIL + bytes(64))


def frame(data: bytes) -> None:
    """A frame."""
    read = decode_frame_untrusted(data)
    assert decode_frame_untrusted(encode_message(read)) == read


def announcement(data: bytes) -> None:
    """An announcement."""
    read = decode_announcement_untrusted(data)
    assert decode_announcement_untrusted(encode_message(read)) == read


def request(data: bytes) -> None:
    """A request."""
    read = decode_request_untrusted(data)
    assert decode_request_untrusted(encode_request(read)) == read


def token(data: bytes) -> None:
    """A token, as text."""
    read = token_from_text_untrusted(TOKEN_PREFIX + data.decode("latin-1"))
    assert token_from_text_untrusted(token_to_text(read)) == read


TARGETS: tuple[Callable[[bytes], None], ...] = (
    value, op, event, verified_event, body, frame, announcement, request, token,
)  # fmt: skip


def try_all(data: bytes) -> None:
    """Gives the bytes to every decoder; raises whatever is not BadMessage."""
    for target in TARGETS:
        try:
            target(data)
        except BadMessage:
            continue


def corpus() -> list[bytes]:
    """Good and bad bytes to begin with: the vectors."""

    def load(name: str) -> dict[str, dict[str, str]]:
        loaded: dict[str, dict[str, str]] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
        return loaded

    events, messages, invites = load("events"), load("messages"), load("invites")
    texts = [
        *(each["bytes"] for each in events["good"]),  # type: ignore[index]
        *events["bad"].values(),
        *(text for kind in ("frames", "requests", "bad frames") for text in messages[kind].values()),
        *invites["bad"].values(),
    ]
    seeds = [bytes.fromhex(text) for text in texts]
    bodies = [bytes(((each[0] - 1) % 256,)) + each[1 : -64 - len(TAIL)] for each in seeds if each[:1] == b"\xaa"]
    whole_token = str(invites["token"])
    return [*seeds, *bodies, whole_token.removeprefix(TOKEN_PREFIX).encode()]


def coterie_of_vectors() -> Cid:
    """The coterie that the vectors are of."""
    return Cid(json.loads((VECTORS / "events.json").read_text(encoding="utf-8"))["coterie"])
