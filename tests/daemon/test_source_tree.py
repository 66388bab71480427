"""Source trees: the same tree gives the same bytes, and no tar file gets out of its folder."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from coterie.source_tree import pack_source, source_root, unpack_source
from coterie_protocols.errors import BadMessage, UserError


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
    )


def make_tree(root: Path) -> None:
    (root / "src" / "deep").mkdir(parents=True)
    (root / "README").write_text("hello")
    (root / "src" / "deep" / "ümläut \n name").write_text("x")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "src" / "link").symlink_to("../README")
    (root / "dangling").symlink_to("nowhere")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    root, dest = tmp_path / "root", tmp_path / "dest"
    root.mkdir()
    make_tree(root)
    (root / "src" / ("long" * 60)).write_text("long name")
    packed = pack_source(root, tmp_path / "out.tar")
    assert (packed.files, packed.left_out) == (6, ())
    assert unpack_source(tmp_path / "out.tar", dest) == 6
    assert names(dest) == names(root)
    assert (dest / "run.sh").stat().st_mode & 0o777 == 0o755
    assert os.readlink(dest / "src" / "link") == "../README"
    assert (dest / "src" / "deep" / "ümläut \n name").read_text() == "x"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root, dest = tmp_path / "root", tmp_path / "dest"
    root.mkdir()
    name = os.fsdecode(b"\xff\xfe.txt")
    (root / name).write_text("x")
    pack_source(root, tmp_path / "out.tar")
    unpack_source(tmp_path / "out.tar", dest)
    assert os.listdir(os.fsencode(dest)) == [b"\xff\xfe.txt"]


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_tree(tmp_path / name)
        os.utime(tmp_path / name / "README", (1, len(name) + ord(name[0])))
        pack_source(tmp_path / name, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_in_git_what_is_ignored_stays_at_home(tmp_path: Path) -> None:
    root, dest = tmp_path / "root", tmp_path / "dest"
    (root / ".github" / "workflows").mkdir(parents=True)
    make_tree(root)
    (root / ".gitignore").write_text("*.log\n")
    (root / "noise.log").write_text("ignored")
    (root / ".github" / "workflows" / "ci.yml").write_text("on: push")
    (root / "gone").write_text("tracked, then removed")
    git(root, "init", "-q")
    git(root, "add", "README", "gone")
    git(root, "commit", "-qm", "one")
    (root / "gone").unlink()
    (root / "README").write_text("changed, not committed")
    assert source_root(root / ".github" / "workflows" / "ci.yml") == root.resolve()
    pack_source(root, tmp_path / "out.tar")
    unpack_source(tmp_path / "out.tar", dest)
    assert set(names(dest)) == {*names(root)} - {"noise.log", *(n for n in names(root) if n.startswith(".git/"))}
    assert (dest / "README").read_text() == "changed, not committed"


def test_submodules_come_along(tmp_path: Path) -> None:
    root, module = tmp_path / "root", tmp_path / "module"
    for folder in (root, module):
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "file").write_text("x")
        git(folder, "add", "file")
        git(folder, "commit", "-qm", "one")
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", str(module), "sub")
    pack_source(root, tmp_path / "out.tar")
    unpack_source(tmp_path / "out.tar", tmp_path / "dest")
    assert names(tmp_path / "dest") == [".gitmodules", "file", "sub/file"]


def test_outside_of_git_the_folder_is_the_tree(tmp_path: Path) -> None:
    (tmp_path / "ci.yml").write_text("on: push")
    assert source_root(tmp_path / "ci.yml") == tmp_path.resolve()


def test_a_work_tree_that_git_cannot_read_is_not_taken_whole(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "secret").write_text("ignored by a .gitignore that nobody can ask")
    with pytest.raises(UserError, match="git work tree that cannot be read"):
        pack_source(tmp_path, tmp_path / "out.tar")


def test_what_leaves_the_tree_is_left_out_and_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "up").symlink_to("../x")
    (root / "d" / "round").symlink_to("self/../../..")
    os.mkfifo(root / "pipe")
    (root / "fine").write_text("x")
    packed = pack_source(root, tmp_path / "out.tar")
    assert packed.left_out == ("absolute", "d/round", "pipe", "up")
    assert packed.files == 1


def test_limits_on_packing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(3):
        (root / str(number)).write_bytes(bytes(100))
    with pytest.raises(UserError, match="more than 2 files"):
        pack_source(root, tmp_path / "out.tar", files_max=2)
    with pytest.raises(UserError, match="more than 250 bytes"):
        pack_source(root, tmp_path / "out.tar", bytes_max=250)


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


ATTACKS = {
    "parent": [entry("../evil", data=b"x")],
    "inner parent": [entry("a/../../evil", data=b"x")],
    "absolute": [entry("/tmp/evil", data=b"x")],
    "git": [entry(".git/hooks/post-checkout", data=b"x")],
    "inner git": [entry("sub/.git/config", data=b"x")],
    "empty part": [entry("a//b", data=b"x")],
    "dot": [entry("./a", data=b"x")],
    "device": [entry("null", tarfile.CHRTYPE)],
    "block device": [entry("sda", tarfile.BLKTYPE)],
    "pipe": [entry("pipe", tarfile.FIFOTYPE)],
    "hard link": [entry("passwd", tarfile.LNKTYPE, link="/etc/passwd")],
    "folder": [entry("folder", tarfile.DIRTYPE)],
    "absolute symlink": [entry("a", tarfile.SYMTYPE, link="/etc")],
    "symlink to parent": [entry("a", tarfile.SYMTYPE, link="..")],
    "symlink through down and up": [entry("a", tarfile.SYMTYPE, link="b/../../..")],
    "file behind a symlink": [entry("a", tarfile.SYMTYPE, link="b"), entry("a/x", data=b"x")],
    "symlink behind a symlink": [
        entry("d/x", data=b"x"),
        entry("a", tarfile.SYMTYPE, link="d"),
        entry("a/up", tarfile.SYMTYPE, link="../.."),
    ],
    "symlink over a folder": [entry("a/b/c", data=b"x"), entry("a/b", tarfile.SYMTYPE, link="c")],
    "file below a file": [entry("a", data=b"x"), entry("a/b", data=b"x")],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(tmp_path: Path, attack: str) -> None:
    outer = tmp_path / "outer"
    tar = tar_of(tmp_path / "evil.tar", *ATTACKS[attack])
    with pytest.raises(BadMessage, match="source tree"):
        unpack_source(tar, outer / "dest")
    assert {path.name for path in outer.iterdir()} == {"dest"}
    assert not any(path.is_symlink() for path in (outer / "dest").rglob("*"))


def test_a_long_symlink_name_in_a_pax_header_is_checked_too(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "evil.tar", entry("a", tarfile.SYMTYPE, link="../" * 60 + "etc"))
    with pytest.raises(BadMessage, match="leaves the tree"):
        unpack_source(tar, tmp_path / "dest")


def test_bombs_are_refused(tmp_path: Path) -> None:
    many = tar_of(tmp_path / "many.tar", *(entry(f"f{number}") for number in range(11)))
    with pytest.raises(BadMessage, match="more than 10 files"):
        unpack_source(many, tmp_path / "a", files_max=10)
    large = tar_of(tmp_path / "large.tar", entry("f", data=bytes(1001)))
    with pytest.raises(BadMessage, match="1000 bytes"):
        unpack_source(large, tmp_path / "b", bytes_max=1000)
    info = tarfile.TarInfo("lies")
    info.size = 900
    (tmp_path / "short.tar").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + b"x" * 10)
    with pytest.raises(BadMessage, match="ends inside"):
        unpack_source(tmp_path / "short.tar", tmp_path / "c", bytes_max=1000)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_garbage_and_mutations_raise_nothing_else(tmp_path: Path, form: int) -> None:
    tar = tar_of(tmp_path / "t.tar", entry("a" * 150 + "/b", data=b"x") if form else entry("a", data=b"x"), form=form)
    data = bytearray(tar.read_bytes())
    for at in range(0, min(len(data), 2048), 7):
        mutated = bytearray(data)
        mutated[at] ^= 0x35
        tar.write_bytes(mutated)
        try:
            unpack_source(tar, tmp_path / "dest" / str(at), files_max=10, bytes_max=1000)
        except BadMessage:
            continue
    tar.write_bytes(os.urandom(5000))
    with pytest.raises(BadMessage):
        unpack_source(tar, tmp_path / "random")


def test_unpacking_over_what_is_there_replaces_it(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (tmp_path / "outside").write_text("untouched")
    (dest / "file").symlink_to(tmp_path / "outside")
    unpack_source(tar_of(tmp_path / "t.tar", entry("file", data=b"new")), dest)
    assert (dest / "file").read_text() == "new"
    assert not (dest / "file").is_symlink()
    assert (tmp_path / "outside").read_text() == "untouched"
