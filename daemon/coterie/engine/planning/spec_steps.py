"""Reads the steps of a document, column by column: a clean column is checked as a whole, another one value by value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, Final, cast, get_args

from coterie.engine.model import Merge, StepSpec
from coterie.engine.planning import spec_values as values
from coterie.engine.planning.spec_problems import SpecProblem, shown, suggestion
from coterie.engine.planning.spec_values import Unfit
from coterie.engine.planning.step_rows import default_of, steps_of
from coterie.engine.retry import BadRetryConfig, RetryConfig

STEPS_MAX: Final = 1_000_000
NEEDS_MAX: Final = 1_000_000
"""Of one step: a join may wait for all others."""

PRIORITY_MAX: Final = 1e6
NAME_CHARS_MAX: Final = 1000
MERGES: Final[tuple[str, ...]] = get_args(Merge)

KEYS: Final[Mapping[str, str]] = {
    "id": "id", "type": "type", "needs": "needs", "name": "name", "config": "config", "merge": "merge",
    "arms": "arms", "if": "if_", "retry": "retry", "timeout_s": "timeout_s", "total_timeout_s": "total_timeout_s",
    "queue_timeout_s": "queue_timeout_s", "heartbeat_timeout_s": "heartbeat_timeout_s", "priority": "priority",
    "resources": "resources", "key": "key", "tolerated": "tolerated", "compensate": "compensate",
}  # fmt: skip
"""The keys of a step in a document, and its fields in StepSpec. Where it stood in a file is not part of it."""

Complain = Callable[[SpecProblem], None]
Row = dict[str, Any]


def read_steps(value: object, complain: Complain) -> tuple[StepSpec, ...]:
    """The steps in a list of objects. What is wrong goes to `complain`; the result means nothing then."""
    if not isinstance(value, list) or len(cast("list[object]", value)) > STEPS_MAX:
        complain(SpecProblem(f"steps must be a list of at most {STEPS_MAX} steps"))
        return ()
    rows = _objects(cast("list[object]", value), complain)
    return _Steps(rows, "steps", complain).read()


def _objects(items: list[object], complain: Complain) -> list[Row]:
    if not set(map(type, items)) <= {dict}:
        for place, item in enumerate(items):
            if not isinstance(item, dict):
                complain(SpecProblem(f"steps[{place}] must be an object"))
        return []
    return cast("list[Row]", items)


class _Steps:
    """One reading of a list of steps; `where` is what stands before `[3]` in messages."""

    def __init__(self, rows: list[Row], where: str, complain: Complain, depth: int = 0) -> None:
        self._rows = rows
        self._where = where
        self._complain = complain
        self._depth = depth
        self._sound = True

    def read(self) -> tuple[StepSpec, ...]:
        said = set(chain.from_iterable(self._rows)) | {"id", "type"}
        if not said <= KEYS.keys():
            self._unknown_keys()
        columns = {KEYS[key]: self._column(key) for key in KEYS if key in said}
        return steps_of(columns, len(self._rows)) if self._sound else ()

    def _column(self, key: str) -> Sequence[object]:
        try:
            found: list[object] = list(map(itemgetter(key), self._rows))
            rows = self._rows
        except KeyError:
            rows = [row for row in self._rows if key in row]
            found = [row[key] for row in rows]
        clean = _COLUMNS[key](found) if key in _COLUMNS else None
        read = clean if clean is not None else self._one_by_one(key, rows, found)
        if len(rows) == len(self._rows):
            return read
        if key in ("id", "type"):
            self._missing(key)
            return ()
        rest, default = iter(read), default_of(KEYS[key])
        return [next(rest, None) if key in row else default for row in self._rows]

    def _one_by_one(self, key: str, rows: list[Row], found: list[object]) -> list[object]:
        read = self._compensation if key == "compensate" else _VALUES[key]
        result: list[object] = []
        for row, value in zip(rows, found, strict=True):
            try:
                result.append(read(value))
            except Unfit as unfit:
                self._wrong(row, f"{key} must be {unfit}")
        return result

    def _compensation(self, value: object) -> StepSpec | None:
        if value is None:
            return None
        if not isinstance(value, dict) or self._depth:
            raise Unfit("a step (which has no compensation of its own)")
        read = _Steps([cast("Row", value)], "compensate", self._complain, depth=1).read()
        return read[0] if read else None

    def _missing(self, key: str) -> None:
        for row in self._rows:
            if key not in row:
                self._wrong(row, f"{key} is missing")

    def _unknown_keys(self) -> None:
        for row in self._rows:
            for key in row.keys() - KEYS.keys():
                self._wrong(row, f"{shown(str(key))} is no key of a step{suggestion(str(key), KEYS)}")

    def _wrong(self, row: Row, message: str) -> None:
        self._sound = False
        id_ = row.get("id")
        name = id_ if isinstance(id_, str) and values.ID.fullmatch(id_) else ""
        place = next(place for place, each in enumerate(self._rows) if each is row)
        where = f"step '{name}'" if name else f"{self._where}[{place}]"
        self._complain(SpecProblem(f"{where}: {message}", name))


def _retry(value: object) -> RetryConfig:
    if not isinstance(value, dict):
        raise Unfit("an object")
    given = dict(cast("dict[str, Any]", value))
    unknown = sorted(given.keys() - _RETRY_KEYS)
    if unknown:
        raise Unfit(f"an object without {shown(unknown[0])}{suggestion(unknown[0], _RETRY_KEYS)}")
    if "retryable_errors" in given:
        given |= {"retryable_errors": frozenset(values.texts(given["retryable_errors"]))}
    try:
        return RetryConfig(**given)
    except BadRetryConfig as error:
        raise Unfit(f"sound: {error.message}") from None


_RETRY_KEYS: Final = frozenset(field.name for field in fields(RetryConfig))

_VALUES: Final[Mapping[str, Callable[[object], object]]] = {
    "id": values.identifier,
    "type": values.type_name,
    "name": lambda value: values.text(value, NAME_CHARS_MAX),
    "needs": lambda value: values.texts(value, NEEDS_MAX),
    "config": values.json_object,
    "merge": lambda value: values.choice(value, MERGES),
    "arms": lambda value: values.mapping(value, lambda arm: values.text(arm, NAME_CHARS_MAX)),
    "if": values.text,
    "retry": _retry,
    "timeout_s": values.seconds,
    "total_timeout_s": values.seconds,
    "queue_timeout_s": values.seconds,
    "heartbeat_timeout_s": values.seconds,
    "priority": lambda value: values.number(value, 0, PRIORITY_MAX),
    "resources": lambda value: values.mapping(value, lambda amount: values.number(amount, 0, values.AMOUNT_MAX)),
    "key": lambda value: values.text(value, NAME_CHARS_MAX),
    "tolerated": values.flag,
}
"""How one value of each key is read."""


def _ids(found: list[object]) -> Sequence[object] | None:
    return found if values.are_identifiers(found) else None


def _needs(found: list[object]) -> Sequence[object] | None:
    if not set(map(type, found)) <= {list}:
        return None
    lists = cast("list[list[object]]", found)
    together = list(chain.from_iterable(lists))
    clean = set(map(type, together)) <= {str} and values.encodable("".join(cast("list[str]", together)))
    return list(map(tuple, lists)) if clean and len(together) <= NEEDS_MAX else None


def _configs(found: list[object]) -> Sequence[object] | None:
    if not set(map(type, found)) <= {dict}:
        return None
    try:
        values.check_json(found)
    except Unfit:
        return None
    return found


def _once(kinds: frozenset[type], read: Callable[[object], object], found: list[object]) -> Sequence[object] | None:
    """Reads each different value once: most steps say the same. No two of `kinds` may be equal and differ (1, True)."""
    if not set(map(type, found)) <= kinds:
        return None
    try:
        if dict in kinds:
            keys: list[Any] = list(map(repr, found))  # a dict is no key; its text, which tells 1 from True, is
            known = {key: read(value) for key, value in dict(zip(keys, found, strict=True)).items()}
        else:
            keys, known = found, {value: read(value) for value in set(found)}
    except Unfit:
        return None
    return list(map(known.__getitem__, keys))


def _column_reader(key: str, *kinds: type) -> Callable[[list[object]], Sequence[object] | None]:
    return partial(_once, frozenset(kinds), _VALUES[key])


_COLUMNS: Final[Mapping[str, Callable[[list[object]], Sequence[object] | None]]] = {
    "id": _ids,
    "needs": _needs,
    "config": _configs,
    "type": _column_reader("type", str),
    "name": _column_reader("name", str),
    "merge": _column_reader("merge", str),
    "arms": _column_reader("arms", dict),
    "if": _column_reader("if", str),
    "retry": _column_reader("retry", dict),
    "timeout_s": _column_reader("timeout_s", float, int, type(None)),
    "total_timeout_s": _column_reader("total_timeout_s", float, int, type(None)),
    "queue_timeout_s": _column_reader("queue_timeout_s", float, int, type(None)),
    "heartbeat_timeout_s": _column_reader("heartbeat_timeout_s", float, int, type(None)),
    "priority": _column_reader("priority", float, int),
    "resources": _column_reader("resources", dict),
    "key": _column_reader("key", str),
    "tolerated": _column_reader("tolerated", bool),
}
"""How a whole column is read; None where it has a value that does not fit, which is then looked for one by one."""
