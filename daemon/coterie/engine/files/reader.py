"""Reads a workflow file of the engine, and tells every problem with its file, line and column."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coterie.engine.files.file_reading import FileReading
from coterie.engine.files.file_text import FileText
from coterie.engine.model import WorkflowSpec
from coterie.engine.planning.spec_problems import InvalidSpec
from coterie.engine.planning.spec_values import ID_CHARS_MAX
from coterie_protocols.errors import UserError
from coterie_protocols.workflow.yaml_reader import FILE_BYTES_MAX

INCLUDED_MAX: Final = 10
"""How deep workflow files may name each other."""

_NO_ID: Final = re.compile(r"[^A-Za-z0-9_-]+")


class UnreadableFile(UserError):
    """There is no such file, or it is no text."""

    code = "unreadable-file"
    exit_code = 66


def read_workflow_file(path: Path, root: Path | None = None) -> WorkflowSpec:
    """The workflow in a file. `workflow` steps may name other files, which become part of it.

    These must lie within `root`, by default the folder of the file. Raises UnreadableFile, and InvalidSpec with every
    problem at once.
    """
    return _read(path, str(path), _Included((), (root or path.parent).resolve()))


def read_workflow_text(text: str, name: str, base_dir: Path | None = None) -> WorkflowSpec:
    """The workflow in a text; `name` stands for the file in messages, and its id is made of it where it has none.

    `workflow` steps may name files below `base_dir`; without it they may not. Raises InvalidSpec.
    """
    included = None if base_dir is None else _Included((), base_dir.resolve())
    return _spec(text, name, base_dir, included)


def id_of_name(name: str) -> str:
    """The id that a workflow has by the name of its file: `jobs/nightly etl.yml` is `nightly-etl`."""
    stem = _NO_ID.sub("-", Path(name).stem).strip("-")
    if not stem:
        return "workflow"
    return (stem if stem[0].isalpha() or stem[0] == "_" else f"_{stem}")[:ID_CHARS_MAX]


@dataclass(frozen=True, slots=True)
class _Included:
    """The files that led to this one, and the folder that none may leave."""

    stack: tuple[Path, ...]
    root: Path


def _read(path: Path, name: str, included: _Included) -> WorkflowSpec:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UnreadableFile(f"{name} cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableFile(f"{name} is no text in UTF-8") from None
    below = _Included((*included.stack, path.resolve()), included.root)
    return _spec(text, name, path.parent, below)


def _spec(text: str, name: str, base_dir: Path | None, included: _Included | None) -> WorkflowSpec:
    def include(file: str) -> WorkflowSpec | str:
        if base_dir is None or included is None:
            return "names a file, but this workflow comes without a folder: name the workflow by its 'id'"
        return _include(file, base_dir, included)

    reading = FileReading(FileText(text), id_of_name(name), include)
    spec = reading.read()
    if spec is None:
        raise InvalidSpec(reading.problems, name)
    return spec


def _include(file: str, base_dir: Path, included: _Included) -> WorkflowSpec | str:
    """The workflow that a step names, or why there is none."""
    path = (base_dir / file).resolve()
    if not path.is_relative_to(included.root):
        return f"names the file '{file}', which lies outside of the folder of the workflow"
    if path in included.stack:
        names = " -> ".join(one.name for one in (*included.stack[included.stack.index(path) :], path))
        return f"names a file that comes back to itself: {names}"
    if len(included.stack) >= INCLUDED_MAX:
        return f"names a file, and {INCLUDED_MAX} files name each other already"
    try:
        return _read(path, file, included)
    except UserError as error:
        return error.message
