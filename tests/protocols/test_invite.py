"""Certificates, proofs and tokens: who may come in, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_protocols.encoding import encode
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import DOMAIN
from coterie_protocols.identity import SigningKey
from coterie_protocols.invite import (
    CERTIFICATE_DOMAIN,
    TOKEN_PREFIX,
    Token,
    check_join_untrusted,
    join_op,
    token_from_text_untrusted,
    token_to_text,
)
from coterie_protocols.op_writing import certificate_body
from coterie_protocols.ops import Certificate, Join
from protocols.building import Pen, key

INVITE, NEWCOMER = 9, 2
pen = Pen()
CERTIFICATE = pen.certificate(INVITE, ("work",), expires_ms=5_000, labels=("gpu",))


def join(certificate: Certificate = CERTIFICATE, *, invite: int = INVITE, newcomer: int = NEWCOMER) -> Join:
    """What a newcomer says."""
    return join_op(key(invite), certificate, newcomer=key(newcomer).peer_id, name="two", labels=("big",), slots=3)


def test_a_good_join() -> None:
    check_join_untrusted(join(), pen.coterie, key(NEWCOMER).peer_id, 5_000)


def signed_as(domain: bytes, signer: SigningKey) -> Certificate:
    """The certificate, signed for something else or by somebody else."""
    return replace(CERTIFICATE, signature=signer.sign(domain + encode(certificate_body(CERTIFICATE))))


BAD: dict[str, Callable[[], Join]] = {
    "a proof for another peer": lambda: join(newcomer=3),
    "a proof by another key": lambda: join(invite=10),
    "a certificate for another key": lambda: join(pen.certificate(10)),
    "a certificate of another coterie": lambda: join(pen.certificate(INVITE, coterie=Pen(5).coterie)),
    "more roles than were signed": lambda: join(replace(CERTIFICATE, roles=("admin",))),
    "more labels than were signed": lambda: join(replace(CERTIFICATE, labels=())),
    "more uses than were signed": lambda: join(replace(CERTIFICATE, uses=2)),
    "a longer life than was signed": lambda: join(replace(CERTIFICATE, expires_ms=5_001)),
    "an issuer who did not sign": lambda: join(replace(CERTIFICATE, issuer=key(2).peer_id)),
    "signed as an event": lambda: join(signed_as(DOMAIN, key(1))),
    "signed by the invite itself": lambda: join(signed_as(CERTIFICATE_DOMAIN, key(INVITE))),
    "no proof": lambda: replace(join(), proof=bytes(64)),
    "the certificate's signature for a proof": lambda: replace(join(), proof=CERTIFICATE.signature),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_bad_joins(make: Callable[[], Join]) -> None:
    with pytest.raises(BadMessage):
        check_join_untrusted(make(), pen.coterie, key(NEWCOMER).peer_id, 1_000)


def test_an_expired_join() -> None:
    with pytest.raises(BadMessage, match="expired"):
        check_join_untrusted(join(), pen.coterie, key(NEWCOMER).peer_id, 5_001)


entry = pen.join(3, "admin")
TOKEN = Token((pen.genesis, entry), CERTIFICATE, key(INVITE).seed, ("/ip4/127.0.0.1/tcp/4001",))
TEXT = token_to_text(TOKEN)


def test_a_token_survives_being_pasted() -> None:
    assert token_from_text_untrusted(TEXT) == TOKEN
    in_pieces = "\n".join(TEXT[i : i + 70] for i in range(0, len(TEXT), 70))
    assert token_from_text_untrusted(f"  {in_pieces}\r\n") == TOKEN
    assert TEXT.isascii()
    assert not set(TEXT) & set(" +/=\"'$&")


def test_what_was_cut_or_mistyped_is_no_token() -> None:
    for length in range(0, len(TEXT), 7):
        with pytest.raises(BadMessage):
            token_from_text_untrusted(TEXT[:length])
    for index in range(0, len(TEXT), 11):
        letter = "A" if TEXT[index] != "A" else "B"
        worse = TEXT[:index] + letter + TEXT[index + 1 :]
        try:
            again = token_from_text_untrusted(worse)
        except BadMessage:
            continue
        # What no signature covers: the addresses, the invite's key, the certificate (which its issuer signed).
        assert again.events == TOKEN.events


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: TOKEN_PREFIX + raw.hex()))
def test_garbage(text: str) -> None:
    for each in (text, TOKEN_PREFIX + text):
        with pytest.raises(BadMessage):
            token_from_text_untrusted(each)


@pytest.mark.parametrize(
    "token",
    [
        replace(TOKEN, events=()),
        replace(TOKEN, events=(entry, pen.genesis)),
        replace(TOKEN, addresses=("x",) * 17),
        replace(TOKEN, invite_seed=bytes(31)),
        replace(TOKEN, events=(pen.genesis,) * 33),
        replace(TOKEN, certificate=replace(CERTIFICATE, roles=())),
    ],
)
def test_tokens_out_of_bounds(token: Token) -> None:
    with pytest.raises(BadMessage):
        token_from_text_untrusted(token_to_text(token))


def test_a_token_of_any_length() -> None:
    with pytest.raises(BadMessage):
        token_from_text_untrusted(TOKEN_PREFIX + "A" * 200_000)
