"""hashFiles: the files that match, in the right order, hashed twice."""

import hashlib
import os
from pathlib import Path

import pytest

from coterie.runner.hash_files import hash_files
from coterie_protocols.workflow.expressions import ExpressionError
from runner_tasks import Bench, one_job

FILES = ("a.txt", "b/a.txt", "b/c/a.txt", "b/c/z.lock", "b.lock", ".hidden/x.lock", "B/q.lock", "[x].txt")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}")
    return root


def of(tree: Path, *names: str) -> str:
    digests = (hashlib.sha256((tree / name).read_bytes()).digest() for name in names)
    return hashlib.sha256(b"".join(digests)).hexdigest()


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("a.txt",), ("a.txt",)),
        (("**/a.txt",), ("a.txt", "b/a.txt", "b/c/a.txt")),
        (("*.txt",), ("[x].txt", "a.txt")),
        (("**/*.lock",), (".hidden/x.lock", "B/q.lock", "b/c/z.lock", "b.lock")),
        (("b",), ("b/a.txt", "b/c/a.txt", "b/c/z.lock")),
        (("b/**",), ("b/a.txt", "b/c/a.txt", "b/c/z.lock")),
        (("./b/c/",), ("b/c/a.txt", "b/c/z.lock")),
        (("b/c", "a.txt"), ("b/c/a.txt", "b/c/z.lock", "a.txt")),
        (("**/*.lock", "!b/**"), (".hidden/x.lock", "B/q.lock", "b.lock")),
        (("**/*.lock\n# comment\n!**/z.*\n",), (".hidden/x.lock", "B/q.lock", "b.lock")),
        (("?.txt",), ("a.txt",)),
        (("[ab].*",), ("a.txt", "b.lock")),
        (("[!a].*",), ("b.lock",)),
        ((r"\[x].txt",), ("[x].txt",)),
    ],
)
def test_which_files_in_which_order(tree: Path, patterns: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert hash_files(tree, patterns, lambda: None) == of(tree, *expected)


def test_no_file_gives_an_empty_text(tree: Path) -> None:
    assert hash_files(tree, ("nothing*",), lambda: None) == ""
    assert hash_files(tree, ("/etc/passwd",), lambda: None) == ""
    assert hash_files(tree, (f"{tree}/a.txt",), lambda: None) == of(tree, "a.txt")


def test_what_points_out_of_the_tree_by_dots_is_refused(tree: Path) -> None:
    with pytest.raises(ExpressionError, match="not allowed"):
        hash_files(tree, ("b/../../x",), lambda: None)


def test_symlinks(tree: Path) -> None:
    (tree / "links").mkdir()
    (tree / "links" / "folder").symlink_to("../b/c")
    (tree / "links" / "file").symlink_to("../a.txt")
    (tree / "links" / "circle").symlink_to("..")
    assert hash_files(tree, ("links",), lambda: None) == of(tree, "a.txt")
    followed = hash_files(tree, ("--follow-symbolic-links", "links/f*"), lambda: None)
    assert followed == of(tree, "a.txt", "b/c/a.txt", "b/c/z.lock")
    assert hash_files(tree, ("--follow-symbolic-links", "links"), lambda: None)


def test_what_cannot_be_read_says_so(tree: Path) -> None:
    os.symlink("nowhere", tree / "dangling")
    with pytest.raises(ExpressionError, match="dangling"):
        hash_files(tree, ("dangling",), lambda: None)


async def test_in_a_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    digest = hashlib.sha256(hashlib.sha256(b"x").digest()).hexdigest()
    steps = """
- run: printf x >lock && mkdir sub && printf x >sub/other
- run: echo first ${{ hashFiles('lock') }} ${{ hashFiles('sub/**') == hashFiles('lock') }}
- run: printf y >lock
- run: echo "changed [${{ hashFiles('none') }}]"
  if: hashFiles('lock') != hashFiles('sub/other')
- run: echo ${{ hashFiles('../x') }}
"""
    result = await bench.run(bench.task(one_job(steps)))
    assert f"first {digest} true" in bench.log.lines
    assert "changed []" in bench.log.lines
    assert result.status == "failure"
    assert "not allowed" in result.reason
