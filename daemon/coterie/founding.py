"""How a peer comes to belong to a coterie: `found` makes one, `join` redeems an invitation. No daemon is needed.

Both leave `founding.cbor` in the data directory, which the daemon reads at every start: the first events of the
clock as this peer knows them, and where to find the peer that invited it.
"""

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coterie.durable_files import make_private_dir, write_file_durably
from coterie.network.identity_file import load_or_create_identity
from coterie.wall_clock import unix_ms
from coterie_protocols.acceptable import objection
from coterie_protocols.authority import authority_op, resolve_authority
from coterie_protocols.clock import enter_coterie, found_coterie
from coterie_protocols.encoding import Cid, Value, decode_value_untrusted, encode
from coterie_protocols.errors import BadMessage, UserError
from coterie_protocols.event import Event, decode_event_untrusted
from coterie_protocols.fields import Fields
from coterie_protocols.identity import PeerId, SigningKey, decode_peer_id_untrusted
from coterie_protocols.invite import TOKEN_EVENTS_MAX, Token, join_op, token_from_text_untrusted
from coterie_protocols.merkle_clock import MerkleClock
from coterie_protocols.ops import Genesis, Join, Role

FOUNDING_FILE: Final = "founding.cbor"
IDENTITY_FILE: Final = "identity.key"
STORE_FILE: Final = "coterie.db"
FOUNDING_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Founding:
    """What a data directory belongs to."""

    peer: PeerId
    coterie: Cid
    coterie_name: str
    roles: tuple[Role, ...]
    name: str
    labels: tuple[str, ...]
    slots: int | None
    events: tuple[Event, ...]
    contacts: dict[PeerId, tuple[str, ...]]


def found(data_dir: Path, name: str) -> Founding:
    """Makes the key if there is none, and a new coterie called `name`. Raises UserError."""
    nonce = secrets.token_bytes(16)
    _require_acceptable(Genesis(name, nonce))
    key = _prepare(data_dir)
    genesis = found_coterie(key, name, nonce, unix_ms())
    founding = _of((genesis,), key, "", (), None, {})
    _write(data_dir, founding)
    return founding


def join(data_dir: Path, text: str, name: str | None, labels: tuple[str, ...], slots: int) -> Founding:
    """Makes the key if there is none, and enters the coterie that the invitation is for. Raises UserError."""
    name = name or socket.gethostname().split(".")[0][:64] or "peer"
    token = _read_token(text)
    key = _prepare(data_dir)
    events = (*token.events, _entry(key, token, name, labels, slots, unix_ms()))
    _check(events)
    inviter = token.certificate.issuer
    try:
        founding = _of(events, key, name, labels, slots, {inviter: token.addresses})
    except BadMessage:
        raise UserError("the invitation is not by an admin", "ask an admin for one: coterie invite") from None
    _write(data_dir, founding)
    return founding


def require_founding(data_dir: Path) -> None:
    """Raises UserError where neither `found` nor `join` was ever here; touches nothing."""
    if not (data_dir / FOUNDING_FILE).exists():
        raise _nothing_here(data_dir)


def _nothing_here(data_dir: Path) -> UserError:
    return UserError(f"{data_dir} belongs to no coterie", "run `coterie init` or `coterie join TOKEN` first")


def read_founding(data_dir: Path, key: SigningKey) -> Founding:
    """What `found` or `join` left. Raises UserError where there is nothing, or nothing sound."""
    path = data_dir / FOUNDING_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _nothing_here(data_dir) from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "let the daemon's user own data_dir") from None
    try:
        f = Fields(decode_value_untrusted(data, FOUNDING_BYTES_MAX), "founding")
        events = f.items("events", TOKEN_EVENTS_MAX + 1, _event)
        contacts = f.mapping("contacts", 16, _texts)
        peers = {decode_peer_id_untrusted(peer): addresses for peer, addresses in contacts.items()}
        slots = None if f.raw("slots") is None else f.integer("slots", 0, 10_000)
        return _of(events, key, f.text("name"), f.texts("labels", 64), slots, peers)
    except BadMessage as error:
        hint = "restore it from a backup, or join as another peer with another --data-dir"  # one key, one history
        raise UserError(f"{path} is damaged: {error}", hint) from None


def _event(value: object) -> Event:
    if not isinstance(value, bytes):
        raise BadMessage("not an event")
    return decode_event_untrusted(value)


def _texts(value: object) -> tuple[str, ...]:
    return Fields({"texts": value}, "contacts").texts("texts", 16)


def _prepare(data_dir: Path) -> SigningKey:
    make_private_dir(data_dir)
    # A store without its founding counts too: the same key would write a second history beside the one in there.
    if (data_dir / FOUNDING_FILE).exists() or (data_dir / STORE_FILE).exists():
        raise UserError(
            f"{data_dir} belongs to a coterie already", "use another --data-dir, or remove this one to start afresh"
        )
    return load_or_create_identity(data_dir / IDENTITY_FILE)


def _read_token(text: str) -> Token:
    try:
        return token_from_text_untrusted(text)
    except BadMessage as error:
        raise UserError(
            f"the invitation can't be used: {error}", "paste the whole word that `coterie invite` printed"
        ) from None


def _entry(key: SigningKey, token: Token, name: str, labels: tuple[str, ...], slots: int, now_ms: int) -> Event:
    certificate = token.certificate
    entries = [e for e in token.events if e.header.author == certificate.issuer and e.header.seq == 1]
    if now_ms > certificate.expires_ms:
        raise UserError("the invitation has expired", "ask for a new one: coterie invite")
    if not entries:
        raise UserError("the invitation is incomplete", "ask for a new one: coterie invite")
    join = join_op(
        SigningKey(token.invite_seed), certificate, newcomer=key.peer_id, name=name, labels=labels, slots=slots
    )
    _require_acceptable(join)
    return enter_coterie(key, token.events[0].cid, entries[0].header, join, now_ms)


def _require_acceptable(op: Genesis | Join) -> None:
    """What no member could read would make a coterie, or a member, of no use to anybody."""
    if why := objection(op):
        raise UserError(f"this can't be recorded: {why}", "use a shorter name, and fewer or shorter labels")


def _check(events: tuple[Event, ...]) -> None:
    """An invitation that no member would accept is better refused here than silently there."""
    clock = MerkleClock(events[0].cid)
    try:
        for event in events:
            clock.insert(event)
    except BadMessage as error:
        raise UserError(f"the invitation is not valid: {error}", "ask for a new one: coterie invite") from None
    if len(clock.events) != len(events):
        raise UserError("the invitation is incomplete", "ask for a new one: coterie invite")


def _of(
    events: tuple[Event, ...],
    key: SigningKey,
    name: str,
    labels: tuple[str, ...],
    slots: int | None,
    contacts: dict[PeerId, tuple[str, ...]],
) -> Founding:
    if not events:
        raise BadMessage("no events")
    ops = [op for op in map(authority_op, events) if op is not None]
    member = resolve_authority(ops).members.get(key.peer_id)
    genesis = events[0].ops[0] if events[0].ops else None
    if member is None or not isinstance(genesis, Genesis):
        raise BadMessage(f"it is not for the key in {IDENTITY_FILE}")
    roles = tuple(sorted(member.roles))
    return Founding(key.peer_id, events[0].cid, genesis.name, roles, name, labels, slots, events, contacts)


def _write(data_dir: Path, founding: Founding) -> None:
    value: dict[str, Value] = {
        "events": [event.data for event in founding.events],
        "name": founding.name,
        "labels": list(founding.labels),
        "slots": founding.slots,
        "contacts": {peer: list(addresses) for peer, addresses in founding.contacts.items()},
    }
    write_file_durably(data_dir / FOUNDING_FILE, encode(value), mode=0o600)
