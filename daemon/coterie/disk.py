"""What the disk refuses, as one clear sentence for the user: full, read-only, not ours."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from coterie_protocols.errors import UserError

_SENTENCES = {
    errno.ENOSPC: ("the disk is full", "free some space, or move data_dir to a larger disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or raise the quota"),
    errno.EROFS: ("the file system is read-only", "mount it writable, or choose another data_dir"),
    errno.EACCES: ("permission is denied", "let the daemon's user own data_dir"),
}


class DiskFailed(UserError):
    """The disk takes no more; nothing is half written under its final name."""

    code = "disk-failed"
    exit_code = 74


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Turns the disk's refusals into `DiskFailed`; other OSErrors are our own bugs and pass through."""
    try:
        yield
    except OSError as error:
        if error.errno not in _SENTENCES:
            raise
        sentence, hint = _SENTENCES[error.errno]
        raise DiskFailed(f"cannot write below {path}: {sentence}", hint) from error
