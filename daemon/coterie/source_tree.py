"""Source trees as tar files: the same tree gives the same bytes, and unpacking trusts none of them.

Both ends are ours, so the reader takes only what the writer makes: files, symlinks, and POSIX (pax)
headers for long or non-ASCII names. Format: POSIX.1-2001, section "pax Interchange Format".
This module is shared with the command line, so it imports neither trio nor pydantic.
"""

import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from coterie_protocols.errors import BadMessage, UserError

FILES_MAX = 200_000
UNPACKED_BYTES_MAX = 4 * 1024**3
PATH_BYTES_MAX = 4096
GIT_S_MAX = 60.0
SUBMODULE_DEPTH_MAX = 8
_BLOCK = 512
_CHUNK_BYTES = 1024 * 1024
_PAX_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """What went into a tar file; `left_out` are symlinks that leave the tree, and special files."""

    files: int
    bytes: int
    left_out: tuple[str, ...]


def source_root(workflow: Path) -> Path:
    """The top of the git work tree that holds `workflow`, else the folder where the file lies."""
    folder = workflow.resolve().parent
    top = _git(folder, "rev-parse", "--show-toplevel")
    return folder if top is None else Path(os.fsdecode(top.removesuffix(b"\n")))


def pack_source(root: Path, out: Path, files_max: int = FILES_MAX, bytes_max: int = UNPACKED_BYTES_MAX) -> Packed:
    """Writes the tree at `root` to the tar file `out`, without `.git`.

    In a git work tree: tracked files and untracked ones that are not ignored, as they are on disk now.
    Raises UserError if the tree is too large.
    """
    names = sorted(_names(root), key=os.fsencode)
    if len(names) > files_max:
        raise UserError(f"{root}: more than {files_max} files", "ignore what the run does not need in .gitignore")
    left_out: list[str] = []
    total = count = 0
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            info = _entry(root, name)
            if info is None:
                left_out.append(name)
                continue
            count += 1
            total += info.size
            if total > bytes_max:
                raise UserError(f"{root}: more than {bytes_max} bytes", "ignore large files in .gitignore")
            _add(tar, info, root / name)
    return Packed(count, total, tuple(left_out))


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
    if not info.isreg():
        tar.addfile(info)
        return
    with path.open("rb") as file:
        # A file that shrank since it was measured would shift all that follows.
        try:
            tar.addfile(info, file)
        except OSError as error:
            raise UserError(f"{path} changed while it was packed: {error}", "submit again") from None


def _names(root: Path) -> Iterator[str]:
    if _git(root, "rev-parse", "--is-inside-work-tree") is not None:
        yield from _git_names(root, "", SUBMODULE_DEPTH_MAX)
        return
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        here = Path(folder).relative_to(root).as_posix()
        prefix = "" if here == "." else f"{here}/"
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (prefix + name for name in (*files, *links))


def _git_names(root: Path, prefix: str, depth: int) -> Iterator[str]:
    """Names below `root`; a submodule is a folder in git's list, and lists its own files."""
    listed = _git(root, "ls-files", "-co", "--exclude-standard", "-z")
    for raw in dict.fromkeys((listed or b"").split(b"\0")):
        name = os.fsdecode(raw).rstrip("/")
        path = root / name
        if not name or not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            if depth and (path / ".git").exists():
                yield from _git_names(path, f"{prefix}{name}/", depth - 1)
        else:
            yield prefix + name


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git says, None outside of work trees. Raises UserError where there is one that git cannot read."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=GIT_S_MAX, check=False
        )
    except FileNotFoundError:
        _check_no_git(folder, "git is not installed")
        return None
    except subprocess.TimeoutExpired:
        raise UserError(f"git took more than {GIT_S_MAX:.0f} s in {folder}") from None
    if done.returncode != 0:
        _check_no_git(folder, done.stderr.decode(errors="replace").strip())
        return None
    return done.stdout


def _check_no_git(folder: Path, why: str) -> None:
    """Falling back to the plain folder would pack what git ignores, so it must really be none of git's."""
    if any((place / ".git").exists() for place in (folder, *folder.parents)):
        raise UserError(f"{folder} lies in a git work tree that cannot be read: {why}", "try `git status` there")


def _entry(root: Path, name: str) -> tarfile.TarInfo | None:
    status = (root / name).lstat()
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode) & 0o777
    if stat.S_ISREG(status.st_mode):
        info.size = status.st_size
        return info
    if not stat.S_ISLNK(status.st_mode):
        return None
    target = os.readlink(root / name)
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info if _stays_inside(name, target) else None


def _stays_inside(name: str, target: str) -> bool:
    """Does a symlink `name` to `target` point into its tree?

    `..` may only lead: the folders above a link are real ones, but further on a name may be a symlink itself, and
    what `..` means behind it cannot be read from the text.
    """
    if not target or target.startswith("/") or "\0" in target:
        return False
    parts = target.split("/")
    down = list(dropwhile(lambda part: part == "..", parts))
    return ".." not in down and len(parts) - len(down) < len(PurePosixPath(name).parts)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    kind: str
    size: int
    mode: int
    target: str


def unpack_source(
    tar: Path,
    dest: Path,
    files_max: int = FILES_MAX,
    bytes_max: int = UNPACKED_BYTES_MAX,
    checkpoint: Callable[[], None] = lambda: None,
) -> int:
    """Unpacks the tar file into the folder `dest` and returns the number of files; existing files are replaced.

    Symlinks are made last, so that nothing is written through one. `checkpoint` is called before each file, and
    may raise to stop. Raises BadMessage for whatever `pack_source` would not have written.
    """
    links: list[_Entry] = []
    count = total = 0
    dest.mkdir(parents=True, exist_ok=True)
    with tar.open("rb") as file:
        for entry in _entries(file):
            count += 1
            total += entry.size
            if count > files_max or total > bytes_max:
                raise BadMessage(f"source tree: more than {files_max} files or {bytes_max} bytes")
            checkpoint()
            match entry.kind:
                case "0":
                    _unpack_file(file, dest / entry.name, entry)
                case "2":
                    links.append(entry)
                case _:
                    raise BadMessage(f"source tree: {entry.name!r} is neither file nor symlink")
    _check_links(links)
    for entry in links:
        _make_way(dest / entry.name)
        (dest / entry.name).symlink_to(entry.target)
    return count


def _check_links(links: list[_Entry]) -> None:
    taken = {entry.name for entry in links}
    for entry in links:
        if not _stays_inside(entry.name, entry.target):
            raise BadMessage(f"source tree: the symlink {entry.name!r} leaves the tree")
        if any(str(parent) in taken for parent in PurePosixPath(entry.name).parents):
            raise BadMessage(f"source tree: {entry.name!r} lies behind a symlink")


def _unpack_file(file: BinaryIO, path: Path, entry: _Entry) -> None:
    _make_way(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as out:
        rest = entry.size
        while rest:
            chunk = file.read(min(rest, _CHUNK_BYTES))
            if not chunk:
                raise BadMessage(f"source tree: ends inside {entry.name!r}")
            out.write(chunk)
            rest -= len(chunk)
        os.fchmod(out.fileno(), entry.mode | stat.S_IRUSR | stat.S_IWUSR)
    file.seek(-entry.size % _BLOCK, os.SEEK_CUR)


def _make_way(path: Path) -> None:
    """Folders above `path`, and nothing at it. A file where a folder must be is the archive's fault."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise BadMessage(f"source tree: {path.name!r} stands where another entry does") from None


def _entries(file: BinaryIO) -> Iterator[_Entry]:
    """The entries in order; the consumer leaves the file behind each entry's content."""
    extended: dict[str, str] = {}
    while True:
        block = file.read(_BLOCK)
        if not block or block == bytes(_BLOCK):
            return
        entry = _header(block, extended)
        if block[156:157] == b"x":
            extended = _pax(file, entry.size)
            continue
        extended = {}
        _check_name(entry.name)
        yield entry


def _header(block: bytes, extended: dict[str, str]) -> _Entry:
    if len(block) < _BLOCK or block[257:262] != b"ustar":
        raise BadMessage("source tree: not a tar file of this format")
    if sum(block[:148]) + 8 * 32 + sum(block[156:]) != _octal(block[148:156]):
        raise BadMessage("source tree: a header has a wrong checksum")
    prefix, name = _text(block[345:500]), _text(block[:100])
    full = f"{prefix}/{name}" if prefix else name
    kind = chr(block[156])
    size = _octal(block[124:136]) if kind in "0x" else 0
    if kind == "0" and "size" in extended:
        size = _decimal(extended["size"])
    return _Entry(
        name=extended.get("path", full),
        kind=kind,
        size=size,
        mode=_octal(block[100:108]) & 0o777,
        target=extended.get("linkpath", _text(block[157:257])),
    )


def _pax(file: BinaryIO, size: int) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE\\n` of an extended header."""
    if size > _PAX_BYTES_MAX:
        raise BadMessage("source tree: an extended header is too long")
    data = file.read(size)
    file.seek(-size % _BLOCK, os.SEEK_CUR)
    found: dict[str, str] = {}
    while data:
        digits, blank, _ = data.partition(b" ")
        length = _decimal(digits.decode("ascii", "replace"))
        record = data[len(digits) + 1 : length - 1]
        key, equals, value = record.partition(b"=")
        if not blank or not equals or length > len(data) or length <= len(digits) + 1:
            raise BadMessage("source tree: a broken extended header")
        found[key.decode("utf-8", "replace")] = os.fsdecode(value)
        data = data[length:]
    return found


def _check_name(name: str) -> None:
    parts = name.rstrip("/").split("/")
    if len(os.fsencode(name)) > PATH_BYTES_MAX or "\0" in name or not set(parts).isdisjoint(("", ".", "..", ".git")):
        raise BadMessage(f"source tree: {name[:200]!r} is not a path inside it")


def _text(field: bytes) -> str:
    return os.fsdecode(field.split(b"\0", 1)[0])


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not set(digits) <= set(b"01234567"):
        raise BadMessage("source tree: a broken number in a header")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise BadMessage("source tree: a broken number in an extended header")
    return int(text)
