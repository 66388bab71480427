"""`hashFiles('**/package-lock.json')`: SHA-256 over the SHA-256 digests of the files, in the order of @actions/glob.

Source: actions/runner, src/Misc/expressionFunc/hashFiles; actions/toolkit, packages/glob (options as there: dot files
match, no braces, no extended globs, a folder stands for all below it).
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from coterie_protocols.workflow.expressions import ExpressionError, to_text
from coterie_protocols.workflow.model import Json

FILES_MAX = 200_000
HASHES_MAX = 50
_CHUNK_BYTES = 1024 * 1024
_FOLLOW = "--follow-symbolic-links"
_ANY_FOLDERS = "(?:[^/]+/)*"
_MAGIC = re.compile(r"[*?\[\\]")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re.Pattern[str]
    root: str
    negated: bool


class NotHashed(ExpressionError):
    """An expression wants a hash that has not been computed, in a place where nobody can wait for it."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        super().__init__("evaluation", "hashFiles is not available here")
        self.patterns = patterns


class FileHashes:
    """`hashFiles` for expressions, which are evaluated at once, although hashing takes its time.

    An expression that wants an unknown hash is left by an exception, the hash is computed in a thread, and the
    expression is evaluated again: evaluation has no effects, so that nobody can tell.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._known: dict[tuple[str, ...], str] = {}

    def function(self, *patterns: Json) -> str:
        """What an expression calls. Raises NotHashed."""
        key = tuple(map(to_text, patterns))
        if key not in self._known:
            raise NotHashed(key)
        return self._known[key]

    async def evaluated(self, read: Callable[[], T]) -> T:
        """What `read` returns, once all hashes that it asks for are known. They are forgotten before: files change."""
        self._known.clear()
        for _ in range(HASHES_MAX):
            try:
                return read()
            except NotHashed as wanted:
                self._known[wanted.patterns] = await trio.to_thread.run_sync(self._hash, wanted.patterns)
        raise ExpressionError("evaluation", f"more than {HASHES_MAX} calls of hashFiles in one step")

    def _hash(self, patterns: tuple[str, ...]) -> str:
        return hash_files(self._workspace, patterns, trio.from_thread.check_cancelled)


def hash_files(workspace: Path, arguments: tuple[str, ...], checkpoint: Callable[[], None]) -> str:
    """The hash of the files below `workspace` that the patterns match, as hex; empty where none does.

    Blocks as long as reading takes; `checkpoint` is called before each file, and may raise to stop.
    Raises ExpressionError.
    """
    follow = bool(arguments) and arguments[0].lower() == _FOLLOW
    lines = [line.strip() for text in arguments[follow:] for line in text.split("\n")]
    patterns = [_pattern(line, workspace) for line in lines if line and not line.startswith("#")]
    total, count = hashlib.sha256(), 0
    try:
        for path in _matches(workspace, [pattern for pattern in patterns if pattern is not None], follow):
            checkpoint()
            count += 1
            if count > FILES_MAX:
                raise ExpressionError("evaluation", f"hashFiles: more than {FILES_MAX} files")
            total.update(_digest(path))
    except OSError as error:
        raise ExpressionError("evaluation", f"hashFiles: {error}") from None
    return total.hexdigest() if count else ""


def _pattern(line: str, workspace: Path) -> _Pattern | None:
    """The pattern of one line; None where it can only match outside of the workspace."""
    bare = line.lstrip("!")
    negated = (len(line) - len(bare)) % 2 == 1
    bare = bare.strip()
    if bare.startswith("/"):
        inside = f"{workspace}/"
        if not f"{bare}/".startswith(inside):
            return None
        bare = bare[len(inside) :]
    segments = [segment for segment in bare.removeprefix("./").split("/") if segment and bare != "."]
    if not {".", ".."}.isdisjoint(segments):
        raise ExpressionError("evaluation", f"hashFiles: invalid pattern {line!r}: '.' and '..' are not allowed in it")
    regex = "".join(_ANY_FOLDERS if segment == "**" else _segment(segment) + "/" for segment in segments)
    fixed: list[str] = []
    for segment in segments:
        if _MAGIC.search(segment):
            break
        fixed.append(segment)
    return _Pattern(re.compile(regex + _ANY_FOLDERS), "/".join(fixed), negated)


def _segment(segment: str) -> str:
    """A pattern without slashes as a regular expression."""
    parts: list[str] = []
    at = 0
    while at < len(segment):
        character = segment[at]
        end = segment.find("]", at + 2)
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "\\" and at + 1 < len(segment):
            at += 1
            parts.append(re.escape(segment[at]))
        elif character == "[" and end > 0:
            inner = segment[at + 1 : end]
            sign, inner = ("^", inner[1:]) if inner[0] in "!^" else ("", inner)
            parts.append(f"[{sign}{re.escape(inner).replace(chr(92) + '-', '-')}]")
            at = end
        else:
            parts.append(re.escape(character))
        at += 1
    return "".join(parts)


def _matches(workspace: Path, patterns: list[_Pattern], follow: bool) -> Iterator[Path]:
    for root in _roots(pattern.root for pattern in patterns if not pattern.negated):
        start = workspace / root if root else workspace
        if not os.path.lexists(start):
            continue
        for path in _walk(start, follow, frozenset()):
            relative = path.relative_to(workspace).as_posix() + "/"
            matched = False
            for pattern in patterns:
                if pattern.regex.fullmatch(relative):
                    matched = not pattern.negated
            if matched:
                yield path


def _roots(roots: Iterable[str]) -> list[str]:
    """The folders to search, in the order of the patterns, without those below another."""
    listed = list(dict.fromkeys(roots))
    return [root for root in listed if not any(_below(root, other) for other in listed)]


def _below(root: str, other: str) -> bool:
    return root != other and (other == "" or root.startswith(f"{other}/"))


def _walk(path: Path, follow: bool, above: frozenset[str]) -> Iterator[Path]:
    """All that is no folder at and below `path`, by name, depth first; a circle of links is entered once."""
    if path.is_symlink():
        if not follow:
            if not path.is_dir():
                yield path
            return
        if not path.exists():
            return
    if not path.is_dir():
        yield path
        return
    real = os.path.realpath(path)
    if real in above:
        return
    for name in sorted(os.listdir(path), key=os.fsencode):
        yield from _walk(path / name, follow, above | {real})


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
