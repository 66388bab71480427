"""Expands a matrix into its cells.

Source of the rules: docs.github.com, "Running variations of jobs in a workflow", and GitHub's own matrix builder.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from coterie_protocols.workflow.expressions.values import equals, fold, to_text
from coterie_protocols.workflow.model import Json

CELLS_MAX: Final = 256
MATCHES_MAX: Final = 500_000
"""How many times a combination may be held against an item of `include` or `exclude`."""

Cell = dict[str, Json]


class MatrixProblem(Exception):
    """A matrix that cannot be expanded, in words for its author; `path` leads to the part that is to blame."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class ExpandedCell:
    """One combination; `segments` are the values that stand in the job's name."""

    values: Mapping[str, Json]
    segments: tuple[str, ...]


def expand_matrix(matrix: Json) -> tuple[ExpandedCell, ...]:
    """The cells of a matrix, the first key varying slowest, then the added combinations. Raises MatrixProblem."""
    if not isinstance(matrix, dict):
        raise MatrixProblem("A matrix must be a mapping")
    vectors = {key: _vector(key, value) for key, value in matrix.items() if key not in ("include", "exclude")}
    include = _filters("include", matrix.get("include"))
    exclude = _filters("exclude", matrix.get("exclude"))
    if not vectors and not include:
        raise MatrixProblem("Matrix must define at least one vector")
    _check_filters(vectors, include, exclude)
    _check_size(vectors, include, exclude)
    cells = list(_combined(vectors, include, exclude))
    if len(cells) > CELLS_MAX:
        raise MatrixProblem(f"The matrix has {len(cells)} combinations; the limit is {CELLS_MAX}")
    return tuple(cells)


def _vector(key: str, value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise MatrixProblem(f"Matrix vector '{key}' must be a list", key)
    if not value:
        raise MatrixProblem(f"Matrix vector '{key}' does not contain any values", key)
    return value


def _filters(key: str, value: Json) -> list[Cell]:
    items = [] if value is None else value
    if not isinstance(items, list):
        raise MatrixProblem(f"Matrix '{key}' must be a list", key)
    filters: list[Cell] = []
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise MatrixProblem(f"Every item of the matrix's '{key}' must be a mapping", key, place)
        filters.append(item)
    return filters


def _check_filters(vectors: Mapping[str, list[Json]], include: list[Cell], exclude: list[Cell]) -> None:
    if not all(include):
        raise MatrixProblem("Matrix include mapping does not contain any values", "include", include.index({}))
    if not all(exclude):
        raise MatrixProblem("Matrix exclude filter must not be empty", "exclude", exclude.index({}))
    known = {fold(key) for key in vectors}
    for place, one in enumerate(exclude):
        for key in one:
            if fold(key) not in known:
                message = f"Matrix exclude key '{key}' does not match any key within the matrix"
                raise MatrixProblem(message, "exclude", place, key)


def _check_size(vectors: Mapping[str, list[Json]], include: list[Cell], exclude: list[Cell]) -> None:
    """Refuses a product that is far too large before it is built; `exclude` may still bring it under the limit."""
    product = math.prod(map(len, vectors.values()))
    if (product > CELLS_MAX and not exclude) or product * (1 + len(include) + len(exclude)) > MATCHES_MAX:
        raise MatrixProblem(f"The matrix has {product} combinations before 'exclude'; the limit is {CELLS_MAX}")


def _combined(vectors: Mapping[str, list[Json]], include: list[Cell], exclude: list[Cell]) -> Iterator[ExpandedCell]:
    matched = [False] * len(include)
    names = {fold(key) for key in vectors}
    split = [_split(item, names) for item in include]
    for original in _product(vectors):
        if any(_matches(one, original) for one in exclude):
            continue
        added: Cell = {}
        for place, (filter_, extra) in enumerate(split):
            if _matches(filter_, original):
                matched[place] = True
                added.update(extra)
        yield ExpandedCell({**original, **added}, _segments(original))
    for place, (filter_, extra) in enumerate(split):
        if not matched[place]:
            cell = {**filter_, **extra}
            yield ExpandedCell(cell, _segments(cell))


def _product(vectors: Mapping[str, list[Json]]) -> Iterator[Cell]:
    if not vectors:
        return
    cells: list[Cell] = [{}]
    for key, vector in vectors.items():
        cells = [{**cell, key: value} for cell in cells for value in vector]
    yield from cells


def _split(item: Cell, names: set[str]) -> tuple[Cell, Cell]:
    """The part of an include item that must agree with a combination, and the part that it adds."""
    agree = {key: value for key, value in item.items() if fold(key) in names}
    return agree, {key: value for key, value in item.items() if key not in agree}


def _matches(wanted: Json, found: Json) -> bool:
    """Whether every leaf of `wanted` is equal, loosely, to the value at its place in `found`."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_matches(value, _get(found, key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return not wanted
        padded = [*found, *[None] * (len(wanted) - len(found))]
        return all(_matches(one, other) for one, other in zip(wanted, padded, strict=False))
    return equals(found, wanted)


def _get(container: Mapping[str, Json], key: str) -> Json:
    if key in container:
        return container[key]
    folded = fold(key)
    return next((value for name, value in container.items() if fold(name) == folded), None)


def _segments(value: Json) -> tuple[str, ...]:
    if isinstance(value, dict):
        return tuple(segment for item in value.values() for segment in _segments(item))
    if isinstance(value, list):
        return tuple(segment for item in value for segment in _segments(item))
    text = to_text(value)
    return (text,) if text else ()
