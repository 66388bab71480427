"""Certificates, the proof that a newcomer gives, and the token that carries both to a person."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from coterie_protocols.encoding import Cid, Value, decode_value_untrusted, encode
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.fields import Fields
from coterie_protocols.identity import PeerId, SigningKey, verify_untrusted
from coterie_protocols.op_reading import certificate_untrusted
from coterie_protocols.op_writing import certificate_body, certificate_to_value
from coterie_protocols.ops import Certificate, Join, Role

CERTIFICATE_DOMAIN: Final = b"coterie/certificate/1\n"
PROOF_DOMAIN: Final = b"coterie/join/1\n"
TOKEN_PREFIX: Final = "coterie1."
TOKEN_BYTES_MAX: Final = 64 * 1024
ADDRESSES_MAX: Final = 16
TOKEN_EVENTS_MAX: Final = 32


def issue_certificate(
    key: SigningKey,
    *,
    coterie: Cid,
    invite: PeerId,
    roles: tuple[Role, ...],
    labels: tuple[str, ...],
    expires_ms: int,
    uses: int,
) -> Certificate:
    """A certificate signed by `key`, which must be an admin's to be of use."""
    unsigned = Certificate(coterie, key.peer_id, invite, roles, labels, expires_ms, uses, b"")
    signature = key.sign(CERTIFICATE_DOMAIN + encode(certificate_body(unsigned)))
    return Certificate(coterie, key.peer_id, invite, roles, labels, expires_ms, uses, signature)


def join_op(
    invite_key: SigningKey,
    certificate: Certificate,
    *,
    newcomer: PeerId,
    name: str,
    labels: tuple[str, ...],
    slots: int,
) -> Join:
    """The op by which `newcomer` enters: it proves possession of the invite's key for this one peer id."""
    proof = invite_key.sign(_proof_message(certificate.coterie, newcomer))
    return Join(certificate, proof, name, labels, slots)


def check_join_untrusted(join: Join, coterie: Cid, newcomer: PeerId, time_ms: int) -> None:
    """Returns if certificate and proof hold for `newcomer` at `time_ms`. Raises BadMessage."""
    certificate = join.certificate
    if certificate.coterie != coterie:
        raise BadMessage("join: the certificate is of another coterie")
    if time_ms > certificate.expires_ms:
        raise BadMessage("join: the certificate had expired")
    body = CERTIFICATE_DOMAIN + encode(certificate_body(certificate))
    verify_untrusted(certificate.issuer, body, certificate.signature)
    verify_untrusted(certificate.invite, _proof_message(coterie, newcomer), join.proof)


def _proof_message(coterie: Cid, newcomer: PeerId) -> bytes:
    return PROOF_DOMAIN + coterie.encode() + b"\n" + newcomer.encode()


@dataclass(frozen=True, slots=True)
class Token:
    """What an invited person pastes: `events` are the genesis and the entries that lead to the issuer."""

    events: tuple[Event, ...]
    certificate: Certificate
    invite_seed: bytes
    addresses: tuple[str, ...]


def token_to_text(token: Token) -> str:
    """The token as one word."""
    value: dict[str, Value] = {
        "events": [event.data for event in token.events],
        "certificate": certificate_to_value(token.certificate),
        "seed": token.invite_seed.hex(),
        "addresses": list(token.addresses),
    }
    return TOKEN_PREFIX + base64.urlsafe_b64encode(encode(value)).decode().rstrip("=")


def token_from_text_untrusted(text: str) -> Token:
    """The token behind what somebody pasted. Raises BadMessage."""
    text = "".join(text.split())
    if not text.startswith(TOKEN_PREFIX) or len(text) > 2 * TOKEN_BYTES_MAX:
        raise BadMessage(f"not an invitation: it should begin with {TOKEN_PREFIX}")
    body = text[len(TOKEN_PREFIX) :]
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("not an invitation: the text is damaged or was cut") from None
    f = Fields(decode_value_untrusted(data, TOKEN_BYTES_MAX), "invitation")
    events = f.items("events", TOKEN_EVENTS_MAX, _event)
    if not events or events[0].header.coterie is not None:
        raise BadMessage("invitation: it does not begin with a genesis")
    return Token(
        events=events,
        certificate=certificate_untrusted(f.raw("certificate")),
        invite_seed=f.hex("seed", 32),
        addresses=f.texts("addresses", ADDRESSES_MAX),
    )


def _event(value: object) -> Event:
    if not isinstance(value, bytes):
        raise BadMessage("invitation: not an event")
    return decode_event_untrusted(value)
