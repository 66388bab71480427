"""How a data directory comes to belong to a coterie, and every way in which that is refused."""

import random
import secrets
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from coterie.founding import FOUNDING_FILE, IDENTITY_FILE, Founding, found, join, read_founding
from coterie.network.identity_file import load_identity
from coterie.wall_clock import unix_ms
from coterie_protocols.encoding import Value, decode_value_untrusted, encode
from coterie_protocols.errors import UserError
from coterie_protocols.identity import SigningKey
from coterie_protocols.invite import Token, issue_certificate, token_from_text_untrusted, token_to_text
from coterie_protocols.merkle_clock import MerkleClock
from coterie_protocols.ops import ROLES, Role

DAY_MS = 24 * 3600 * 1000
ADDRESSES = ("/ip4/127.0.0.1/tcp/4001",)


def read(data_dir: Path) -> Founding:
    return read_founding(data_dir, load_identity(data_dir / IDENTITY_FILE))


def token_of(
    data_dir: Path, founding: Founding, roles: tuple[Role, ...] = ("work",), expires_ms: int | None = None
) -> Token:
    """An invitation by the peer whose directory that is."""
    invite = SigningKey(secrets.token_bytes(32))
    certificate = issue_certificate(
        load_identity(data_dir / IDENTITY_FILE),
        coterie=founding.coterie,
        invite=invite.peer_id,
        roles=roles,
        labels=("gpu",),
        expires_ms=unix_ms() + DAY_MS if expires_ms is None else expires_ms,
        uses=2,
    )
    return Token(founding.events, certificate, invite.seed, ADDRESSES)


@pytest.fixture
def office(tmp_path: Path) -> Founding:
    return found(tmp_path / "founder", "office")


@pytest.fixture
def token(tmp_path: Path, office: Founding) -> Token:
    return token_of(tmp_path / "founder", office)


def refused(tmp_path: Path, token: Token | str, mention: str) -> UserError:
    """The error of a join that must fail, and leave nothing that keeps the next one from succeeding."""
    text = token if isinstance(token, str) else token_to_text(token)
    with pytest.raises(UserError, match=mention) as caught:
        join(tmp_path / "new", text, "new", (), 1)
    assert caught.value.hint
    assert not (tmp_path / "new" / FOUNDING_FILE).exists()
    return caught.value


def test_the_founder_is_everything(tmp_path: Path, office: Founding) -> None:
    assert office.coterie_name == "office"
    assert frozenset[str](office.roles) == ROLES
    assert read(tmp_path / "founder") == office
    for name in (FOUNDING_FILE, IDENTITY_FILE):
        assert stat.S_IMODE((tmp_path / "founder" / name).stat().st_mode) == 0o600


def test_a_directory_belongs_to_one_coterie(tmp_path: Path, office: Founding, token: Token) -> None:
    before = (tmp_path / "founder" / FOUNDING_FILE).read_bytes()
    with pytest.raises(UserError, match="belongs to a coterie already"):
        found(tmp_path / "founder", "other")
    with pytest.raises(UserError, match="belongs to a coterie already"):
        join(tmp_path / "founder", token_to_text(token), None, (), 1)
    assert (tmp_path / "founder" / FOUNDING_FILE).read_bytes() == before


def test_a_store_without_its_founding_is_not_founded_again(tmp_path: Path, office: Founding) -> None:
    """The same key would write a second history beside the one in the store."""
    (tmp_path / "founder" / FOUNDING_FILE).unlink()
    (tmp_path / "founder" / "coterie.db").write_bytes(b"")
    with pytest.raises(UserError, match="belongs to a coterie already"):
        found(tmp_path / "founder", "office")


def test_a_newcomer_enters(tmp_path: Path, office: Founding, token: Token) -> None:
    joined = join(tmp_path / "new", token_to_text(token), "workshop", ("fast",), 3)
    assert read(tmp_path / "new") == joined
    assert (joined.coterie, joined.coterie_name, joined.roles) == (office.coterie, "office", ("work",))
    assert (joined.name, joined.labels, joined.slots) == ("workshop", ("fast",), 3)
    assert joined.contacts == {office.peer: ADDRESSES}
    clock = MerkleClock(office.coterie)
    assert all(clock.insert(event) for event in joined.events)


def test_a_second_admin_invites_a_third(tmp_path: Path, office: Founding) -> None:
    token = token_of(tmp_path / "founder", office, ("admin", "work"))
    second = join(tmp_path / "second", token_to_text(token), "second", (), 1)
    third = join(tmp_path / "third", token_to_text(token_of(tmp_path / "second", second)), "third", (), 1)
    assert third.contacts == {second.peer: ADDRESSES}
    assert third.coterie == office.coterie
    assert len(third.events) == 3


def test_the_invitation_of_one_who_is_no_admin_is_refused(tmp_path: Path, office: Founding) -> None:
    token = token_of(tmp_path / "founder", office, ("submit", "work"))
    second = join(tmp_path / "second", token_to_text(token), "second", (), 1)
    refused(tmp_path, token_of(tmp_path / "second", second), "not valid")


def test_an_expired_invitation_is_refused(tmp_path: Path, office: Founding) -> None:
    refused(tmp_path, token_of(tmp_path / "founder", office, expires_ms=unix_ms() - 1), "expired")


def test_an_invitation_with_a_certificate_of_another_coterie_is_refused(tmp_path: Path, token: Token) -> None:
    foreign = found(tmp_path / "foreign", "foreign")
    other = token_of(tmp_path / "foreign", foreign)
    refused(tmp_path, replace(token, certificate=other.certificate, invite_seed=other.invite_seed), "incomplete")
    refused(tmp_path, replace(token, events=foreign.events), "incomplete")


def test_an_invitation_with_the_wrong_key_is_refused(tmp_path: Path, token: Token) -> None:
    refused(tmp_path, replace(token, invite_seed=bytes(31) + b"\1"), "not valid")


def test_a_changed_certificate_is_refused(tmp_path: Path, token: Token) -> None:
    certificate = replace(token.certificate, roles=("admin", "submit", "work"))
    refused(tmp_path, replace(token, certificate=certificate), "not valid")


@pytest.mark.parametrize(
    "text", ["", "hello", "coterie1.", "coterie1.AAAA", "coterie1.!!!", "coterie1." + "A" * 300_000]
)
def test_what_is_no_invitation_is_refused(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text, "can't be used")
    assert not (tmp_path / "new").exists()


def test_a_cut_invitation_is_refused(tmp_path: Path, token: Token) -> None:
    text = token_to_text(token)
    for length in range(0, len(text), 37):
        refused(tmp_path, text[:length], "invitation")


def test_an_invitation_with_a_changed_letter_is_refused(tmp_path: Path, token: Token) -> None:
    text, chance = token_to_text(token), random.Random(1)
    for place in chance.sample(range(9, len(text) - 1), 60):
        letter = "A" if text[place] != "A" else "B"
        changed = text[:place] + letter + text[place + 1 :]
        if token_or_none(changed) != replace(token, addresses=()):
            refused(tmp_path, changed, "invitation")


def token_or_none(text: str) -> Token | None:
    """The token without its addresses, which nothing protects: they only say where to knock."""
    try:
        return replace(token_from_text_untrusted(text), addresses=())
    except Exception:  # noqa: BLE001 - it is for `join` to refuse it
        return None


def test_line_breaks_in_a_pasted_invitation_do_no_harm(tmp_path: Path, token: Token) -> None:
    text = token_to_text(token)
    wrapped = "\n".join(text[at : at + 70] for at in range(0, len(text), 70))
    assert join(tmp_path / "new", f"  {wrapped} \n", "new", (), 1).coterie_name == "office"


@pytest.mark.parametrize("name", ["x" * 65, "\ud800"])
def test_a_name_that_others_could_not_read_is_refused(tmp_path: Path, token: Token, name: str) -> None:
    with pytest.raises(UserError):
        found(tmp_path / "other", name)
    with pytest.raises(UserError):
        join(tmp_path / "new", token_to_text(token), name, (), 1)
    assert not (tmp_path / "other" / FOUNDING_FILE).exists()
    assert not (tmp_path / "new" / FOUNDING_FILE).exists()


def test_labels_that_others_could_not_read_are_refused(tmp_path: Path, token: Token) -> None:
    for labels in (("x" * 300,), tuple(f"l{number}" for number in range(40))):
        with pytest.raises(UserError):
            join(tmp_path / "new", token_to_text(token), "new", labels, 1)


# -- what is read at every start ------------------------------------------------------------------------------------


def test_an_empty_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="belongs to no coterie") as caught:
        read_founding(tmp_path, SigningKey(bytes(32)))
    assert "coterie init" in caught.value.hint


def test_the_founding_of_another_key_is_refused(tmp_path: Path, office: Founding) -> None:
    with pytest.raises(UserError, match=IDENTITY_FILE):
        read_founding(tmp_path / "founder", SigningKey(b"\1" * 32))


def test_a_damaged_founding_is_told(tmp_path: Path, office: Founding) -> None:
    path, chance = tmp_path / "founder" / FOUNDING_FILE, random.Random(2)
    sound = path.read_bytes()
    damaged = [sound[:length] for length in range(0, len(sound), 11)]
    for _ in range(300):
        changed = bytearray(sound)
        changed[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(changed))
    refusals = sound_after_all = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            read(tmp_path / "founder")
        except UserError as error:
            refusals += str(path) in error.message and bool(error.hint)
        else:  # a bit of what nothing protects: a name, a label, an address
            sound_after_all += 1
    assert refusals + sound_after_all == len(damaged)
    assert refusals > 300


@pytest.mark.parametrize("events", [[], [1], ["text"], [None], [b""], [[b""]], {}, 7])
def test_a_founding_with_strange_events_is_told(tmp_path: Path, office: Founding, events: Value) -> None:
    path = tmp_path / "founder" / FOUNDING_FILE
    value = decode_value_untrusted(path.read_bytes(), 65536)
    assert isinstance(value, dict)
    path.write_bytes(encode({**value, "events": events}))
    with pytest.raises(UserError, match="is damaged"):
        read(tmp_path / "founder")


def test_a_founding_that_cannot_be_read_is_told(tmp_path: Path, office: Founding) -> None:
    path = tmp_path / "founder" / FOUNDING_FILE
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="can't be read"):
        read(tmp_path / "founder")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, office: Founding, token: Token) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "founder" / IDENTITY_FILE).rename(tmp_path / "new" / IDENTITY_FILE)
    (tmp_path / "new" / IDENTITY_FILE).chmod(0o644)
    error = refused(tmp_path, token, "read by other users")
    assert "chmod 600" in error.hint
