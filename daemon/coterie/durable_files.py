"""Small files that must be whole or not there at all."""

import os
from pathlib import Path

from coterie.disk import disk_errors
from coterie_protocols.errors import UserError


def make_private_dir(path: Path) -> None:
    """Makes a directory that only its owner may enter; one that exists is left as it is. Raises UserError."""
    with disk_errors(path):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"{path} can't be made: {error.filename} is no directory", "name another one") from None


def write_file_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Writes beside, fsyncs, renames, fsyncs the directory. Raises DiskFailed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(path):
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
