"""The identity file, without a network."""

import subprocess
import sys
from pathlib import Path

import pytest
from nacl.signing import SigningKey as NaclKey

from coterie.network.identity_file import create_identity, encode_private_key, load_identity, load_or_create_identity
from coterie_protocols.errors import UserError
from coterie_protocols.identity import SigningKey


def test_a_new_key_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    key = create_identity(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_identity(path).seed == key.seed
    assert load_or_create_identity(path).peer_id == key.peer_id
    assert [each.name for each in tmp_path.iterdir()] == ["identity.key"]


def test_the_file_is_made_when_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    assert load_or_create_identity(path).seed == load_identity(path).seed


def test_two_keys_differ(tmp_path: Path) -> None:
    assert create_identity(tmp_path / "a").seed != create_identity(tmp_path / "b").seed


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    before = create_identity(path)
    with pytest.raises(UserError, match="exists already"):
        create_identity(path)
    assert load_identity(path).seed == before.seed


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_can_touch_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    create_identity(path)
    path.chmod(mode)
    with pytest.raises(UserError, match="other users") as caught:
        load_identity(path)
    assert caught.value.hint == f"Run `chmod 600 {path}`."


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\x08\x01\x12\x20" + bytes(31), "damaged or not an Ed25519 key"),
        (b"\x08\x00\x12\x20" + bytes(32), "damaged or not an Ed25519 key"),
        (b"\x08\x01\x12\x40" + bytes(63), "damaged or not an Ed25519 key"),
        (b"\x08\x01\x12\x40" + bytes(64), "do not belong together"),
        (encode_private_key(SigningKey(bytes(32))) + b"x", "damaged or not an Ed25519 key"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UserError, match=complaint) as caught:
        load_or_create_identity(path)
    assert "backup" in caught.value.hint


def test_a_missing_file_and_a_missing_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_identity(tmp_path / "identity.key")
    with pytest.raises(UserError, match="Cannot write the identity"):
        create_identity(tmp_path / "nowhere" / "identity.key")


def test_libp2p_reads_the_same_file_to_the_same_peer(tmp_path: Path) -> None:
    from libp2p import generate_peer_id_from
    from libp2p.identity_utils import load_identity as load_theirs
    from libp2p.identity_utils import save_identity

    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    key = create_identity(ours)
    pair = load_theirs(ours)
    assert generate_peer_id_from(pair).to_base58() == key.peer_id
    save_identity(pair, theirs)
    assert theirs.read_bytes() == ours.read_bytes()


def test_a_key_with_its_public_half_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    key = SigningKey(bytes(range(32)))
    path.write_bytes(b"\x08\x01\x12\x40" + key.seed + bytes(NaclKey(key.seed).verify_key))
    path.chmod(0o600)
    assert load_identity(path).peer_id == key.peer_id


def test_importing_it_does_not_import_libp2p() -> None:
    code = "import sys, coterie.network.identity_file; sys.exit('libp2p' in sys.modules or 'trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
