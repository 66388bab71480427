"""Acts out power cuts: what of a folder may be on the disk if the power fails at some instant of a program's run.

A library loaded into the program (power_cut.c, compiled here) logs every change to files below one folder, every sync,
and the program's own marks, in order. `Disk` replays the log. What was synced is on the disk; of the rest, a disk may
hold nothing, or any part of it. So a test goes:

    library = recorder(tmp_path)                               # skips the test where there is no C compiler
    subprocess.run([...], env={**os.environ, **environment(library, folder, log)})    # it may be killed, too
    disk = Disk(folder)
    for record in read(log):                                   # the program calls mark("done 7") as it acknowledges
        disk.apply(record)
        ...
        disk.image(copy)                                       # nothing but what was synced
        disk.image(copy, Random(7))                            # and any part of the rest
        assert whatever disk.marks acknowledges is in copy

A sync of a file makes its bytes durable, and not its name: that takes a sync of its folder, as POSIX has it. A rename
is one change: in both folders or in none. Memory maps are not seen, which for SQLite are only of the `-shm` file, and
that is rebuilt. What the program starts is recorded too, unless it gets an environment without LD_PRELOAD.
"""

import ctypes
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

SECTOR_BYTES = 512  # a disk writes a sector whole or not at all
COMPILE_TIMEOUT_S = 60
_HEAD = struct.Struct("<cQqQQ")


@dataclass(frozen=True, slots=True)
class Record:
    """One change: what, on which inode, at which offset or to which size, at which path, with which bytes."""

    kind: str
    inode: int
    offset: int
    path: str
    data: bytes


def recorder(folder: Path) -> Path:
    """The library, compiled into `folder`. Skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("power cuts are recorded by a library in C, and there is no C compiler")
    library = folder / "power_cut.so"
    source = Path(__file__).with_suffix(".c")
    command = [compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return library


def environment(library: Path, folder: Path, log: Path) -> dict[str, str]:
    """What to add to the environment of a program whose changes below `folder` are to be appended to `log`.

    The folder must exist, the log must lie outside of it.
    """
    return {"LD_PRELOAD": str(library), "POWER_CUT_FOLDER": str(folder.resolve()), "POWER_CUT_LOG": str(log)}


def mark(text: str) -> None:
    """To be called in the recorded program: it has acknowledged something. Raises AttributeError elsewhere."""
    data = text.encode()
    ctypes.CDLL(None).power_cut_mark(ctypes.c_char_p(data), ctypes.c_uint64(len(data)))


def read(log: Path) -> Iterator[Record]:
    """The records in order; a torn one at the end, of a program that was killed, is left out."""
    with log.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            kind, inode, offset, path_bytes, data_bytes = _HEAD.unpack(head)
            path, data = file.read(path_bytes), file.read(data_bytes)
            if len(data) == data_bytes:
                yield Record(kind.decode(), inode, offset, path.decode(), data)


@dataclass(slots=True, eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])

    def sync(self) -> None:
        for offset, data in self.pending:
            _change(self.synced, offset, data)
        self.pending.clear()

    def on_disk(self, random: Random | None) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.pending if random is not None else ():
            assert random is not None
            match random.randrange(3):
                case 0:
                    _change(content, offset, data)
                case 1 if data is not None:
                    _change(content, offset, data[: random.randrange(len(data)) // SECTOR_BYTES * SECTOR_BYTES])
                case _:
                    pass
        return bytes(content)


@dataclass(slots=True, eq=False)
class _Naming:
    """Names given (a node) and taken (None) at once, in one folder or two."""

    changes: list[tuple["_Folder", str, "_Node | None"]]
    synced: bool = False

    def sync(self) -> None:
        if not self.synced:
            self.synced = True
            for folder, name, node in self.changes:
                _name(folder.synced, name, node)


@dataclass(slots=True, eq=False)
class _Folder:
    synced: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    seen: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])  # by programs, as long as there is power
    pending: list[_Naming] = field(default_factory=list[_Naming])

    def sync(self) -> None:
        for naming in self.pending:
            naming.sync()  # in the other folder of a rename, too
        self.pending.clear()
        self.synced = dict(self.seen)


_Node = _File | _Folder


class Disk:
    """What is on the disk below `folder`, which was as in `base` when the recording began, or empty."""

    def __init__(self, folder: Path, base: Path | None = None) -> None:
        self._folder = folder.resolve()
        self._top = _Folder() if base is None else _loaded(base)
        self._files: dict[int, _File] = {}
        self.marks: list[str] = []

    def apply(self, record: Record) -> None:
        """Goes on by one record."""
        match record.kind:
            case "o":
                made = self._files[record.inode] = _File()
                self._rename({record.path: made})
            case "d":
                self._rename({record.path: _Folder()})
            case "u":
                self._rename({record.path: None})
            case "r":
                self._rename({record.path: None, record.data.decode(): self._node(record.path)})
            case "w":
                self._file(record).pending.append((record.offset, record.data))
            case "t":
                self._file(record).pending.append((record.offset, None))
            case "s":
                (self._node(record.path) or self._file(record)).sync()
            case "m":
                self.marks.append(record.data.decode())
            case _:
                raise ValueError(f"record of kind {record.kind}")

    def image(self, target: Path, random: Random | None = None) -> None:
        """Replaces the folder `target` by what a disk holds after a power cut now.

        That is what was synced, and with `random` any part of what was not: names up to some change in each folder,
        writes whole, torn at a sector, or not at all. The disk itself stays as it is.
        """
        shutil.rmtree(target, ignore_errors=True)
        lucky = set[_Naming]() if random is None else _lucky(self._top, random)
        _write(self._top, target, lucky, random)

    def _file(self, record: Record) -> _File:
        known = self._files.get(record.inode)
        if known is None:
            node = self._node(record.path)
            assert isinstance(node, _File), f"{record.path} was written and never made"
            known = self._files[record.inode] = node
        return known

    def _node(self, path: str) -> "_Node | None":
        """What programs see under a path now."""
        node: _Node | None = self._top
        for part in Path(path).relative_to(self._folder).parts:
            node = node.seen.get(part) if isinstance(node, _Folder) else None
        return node

    def _rename(self, names: Mapping[str, "_Node | None"]) -> None:
        changes: list[tuple[_Folder, str, _Node | None]] = []
        for path, node in names.items():
            folder = self._node(str(Path(path).parent))
            assert isinstance(folder, _Folder), path
            changes.append((folder, Path(path).name, node))
        naming = _Naming(changes)
        for folder, name, node in changes:
            _name(folder.seen, name, node)
            folder.pending.append(naming)


def _name(names: "dict[str, _Node]", name: str, node: "_Node | None") -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    """Writes bytes at the offset; None cuts or grows to it."""
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    elif data:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def _loaded(path: Path) -> _Folder:
    nodes: dict[str, _Node] = {
        entry.name: _loaded(entry) if entry.is_dir() else _File(bytearray(entry.read_bytes()))
        for entry in path.iterdir()
    }
    return _Folder(nodes, dict(nodes))


def _lucky(folder: _Folder, random: Random) -> "set[_Naming]":
    """Changes of names that came to the disk before they had to; a rename comes to both of its folders."""
    chosen = set(folder.pending[: random.randint(0, len(folder.pending))])
    for node in folder.seen.values():
        if isinstance(node, _Folder):
            chosen |= _lucky(node, random)
    return chosen


def _write(folder: _Folder, target: Path, lucky: "set[_Naming]", random: Random | None) -> None:
    target.mkdir(parents=True)
    names = dict(folder.synced)
    for naming in folder.pending:
        if naming.synced or naming in lucky:
            for of, name, node in naming.changes:
                if of is folder:
                    _name(names, name, node)
    for name, node in names.items():
        if isinstance(node, _File):
            (target / name).write_bytes(node.on_disk(random))
        else:
            _write(node, target / name, lucky, random)
