"""The peer's private key on disk, as libp2p keeps it: a protobuf of the key's type and bytes.

py-libp2p writes and reads the 32 bytes of the seed; go-libp2p (and the specification,
github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#keys) seed and public key, 64 bytes. We write the first and
read both. By hand, since importing libp2p costs half a second and `coterie init` needs this file too.
"""

import os
import stat
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from nacl.signing import SigningKey as NaclKey

from coterie_protocols.errors import UserError
from coterie_protocols.identity import SigningKey

SEED_BYTES: Final = 32
_SEED_HEADER: Final = bytes.fromhex("08011220")  # field 1, varint: Ed25519; field 2, 32 bytes follow
_PAIR_HEADER: Final = bytes.fromhex("08011240")  # the same with 64 bytes
_FILE_BYTES_MAX: Final = len(_PAIR_HEADER) + 64
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def encode_private_key(key: SigningKey) -> bytes:
    """The libp2p protobuf of `key`, 36 bytes."""
    return _SEED_HEADER + key.seed


def load_identity(path: Path) -> SigningKey:
    """The key in the file. Raises UserError if it is missing, readable by others, or not such a key."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.", "Run `coterie init` or `coterie join` first.") from None
    except OSError as error:
        raise UserError(f"Cannot read the identity {path}: {error.strerror}.", _OWNER_HINT) from error
    if mode & _OTHERS:
        raise UserError(f"The private key {path} can be read by other users.", f"Run `chmod 600 {path}`.")
    return _decode(path, content)


def create_identity(path: Path) -> SigningKey:
    """A new key, durably written with mode 0600. Raises UserError if the file exists or cannot be written."""
    key = SigningKey(os.urandom(SEED_BYTES))
    try:
        _write_new(path, encode_private_key(key))
    except FileExistsError:
        raise UserError(f"{path} exists already.", "Remove it only if this peer is to become another one.") from None
    except OSError as error:
        raise UserError(f"Cannot write the identity {path}: {error.strerror}.", _OWNER_HINT) from error
    return key


def load_or_create_identity(path: Path) -> SigningKey:
    """The key in the file, or a new one if there is no file. Raises UserError."""
    return load_identity(path) if path.exists() else create_identity(path)


_OWNER_HINT: Final = "The data directory must exist and belong to the user that runs the daemon."


def _decode(path: Path, content: bytes) -> SigningKey:
    header, seed, public = content[:4], content[4:36], content[36:]
    hint = "Restore it from a backup, or move it away and join anew as another peer."
    if not content:
        raise UserError(f"The identity {path} is empty.", hint)
    if (header, len(content)) not in {(_SEED_HEADER, 36), (_PAIR_HEADER, 68)}:
        raise UserError(f"The identity {path} is damaged or not an Ed25519 key of libp2p.", hint)
    if public and bytes(NaclKey(seed).verify_key) != public:
        raise UserError(f"The identity {path} is damaged: its two halves do not belong together.", hint)
    return SigningKey(seed)


def _write_new(path: Path, content: bytes) -> None:
    """Under another name first: whoever finds `path` finds it whole. `link` does not replace an existing file."""
    handle, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    finally:
        os.unlink(name)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
