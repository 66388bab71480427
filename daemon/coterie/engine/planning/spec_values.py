"""Takes values of a document for what a field expects. Every reader raises Unfit and nothing else."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final, TypeVar, cast

from coterie.engine.model import Json
from coterie.engine.planning.spec_problems import shown

T = TypeVar("T")

ID_CHARS_MAX: Final = 100
ID: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{ID_CHARS_MAX - 1}}}")
TYPE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
TEXT_CHARS_MAX: Final = 1024 * 1024
ENTRIES_MAX: Final = 10_000
DEPTH_MAX: Final = 64
"""How deep lists and objects may stand in each other in a value."""

SECONDS_MAX: Final = 1e9
AMOUNT_MAX: Final = 1e18
COUNT_MAX: Final = 1_000_000

_ID_FIRST: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
_ID_REST: Final = _ID_FIRST + b"0123456789-"
_JSON_KINDS: Final[frozenset[type]] = frozenset({type(None), bool, int, float, str, list, dict})


class Unfit(ValueError):
    """A value is not what its field expects; the text says what that is, to stand after `must be`."""


def text(value: object, chars_max: int = TEXT_CHARS_MAX) -> str:
    """A text that can be written as UTF-8."""
    if not isinstance(value, str) or len(value) > chars_max or not encodable(value):
        raise Unfit(f"a text of at most {chars_max} characters")
    return value


def identifier(value: object) -> str:
    """The id of a workflow or a step."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Unfit(
            f"letters, digits, '_' and '-', not beginning with a digit or '-', at most {ID_CHARS_MAX} characters"
        )
    return value


def type_name(value: object) -> str:
    """The type of a step."""
    if not isinstance(value, str) or not TYPE.fullmatch(value):
        raise Unfit("the name of a step type")
    return value


def flag(value: object) -> bool:
    """True or false, and no number."""
    if not isinstance(value, bool):
        raise Unfit("true or false")
    return value


def number(value: object, low: float, high: float) -> float:
    """A finite number, both bounds included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Unfit(f"a number from {low:g} to {high:g}")
    return float(value)


def count(value: object, low: int = 0, high: int = COUNT_MAX) -> int:
    """An integer, both bounds included."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unfit(f"a whole number from {low} to {high}")
    return value


def seconds(value: object) -> float | None:
    """A time; null is without limit."""
    return None if value is None else number(value, 0, SECONDS_MAX)


def choice(value: object, known: Sequence[str]) -> str:
    """One of `known`."""
    if not isinstance(value, str) or value not in known:
        raise Unfit(f"one of {', '.join(known)}")
    return value


def texts(value: object, entries_max: int = ENTRIES_MAX) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or len(cast("list[object]", value)) > entries_max:
        raise Unfit(f"a list of at most {entries_max} texts")
    return tuple(text(each) for each in cast("list[object]", value))


def mapping(value: object, read: Callable[[object], T]) -> dict[str, T]:
    """An object whose values `read` takes."""
    found = json_object(value)
    if len(found) > ENTRIES_MAX:
        raise Unfit(f"an object of at most {ENTRIES_MAX} entries")
    result: dict[str, T] = {}
    for key, each in found.items():
        try:
            result[key] = read(each)
        except Unfit as unfit:
            raise Unfit(f"an object in which {shown(key)} is {unfit}") from None
    return result


def json_object(value: object) -> dict[str, Json]:
    """An object of JSON values."""
    if not isinstance(value, dict):
        raise Unfit("an object")
    found = cast("dict[str, Json]", value)
    check_json([found])
    return found


def json_value(value: object) -> Json:
    """Any JSON value that is not too deep."""
    check_json([value])
    return value


def check_json(values: Iterable[object]) -> None:
    """Raises Unfit unless all are JSON: finite numbers, texts that UTF-8 can hold, not deeper than DEPTH_MAX.

    All values of one level are looked at together, so that an ordinary small `config` costs less than a microsecond.
    """
    level = list(values)
    for _ in range(DEPTH_MAX):
        kinds = set(map(type, level))
        if not kinds <= _JSON_KINDS:
            raise Unfit("JSON: null, true, false, numbers, texts, lists and objects")
        if float in kinds and not all(map(math.isfinite, _of_kind(float, kinds, level))):
            raise Unfit("JSON, which has neither NaN nor infinities")
        if str in kinds and not encodable("".join(_of_kind(str, kinds, level))):
            raise Unfit("text that can be written as UTF-8")
        if dict not in kinds and list not in kinds:
            return
        objects: list[dict[Any, object]] = _of_kind(dict, kinds, level)
        lists: list[list[object]] = _of_kind(list, kinds, level)
        _check_keys(set(chain.from_iterable(objects)))
        level = list(chain(chain.from_iterable(map(dict[Any, object].values, objects)), chain.from_iterable(lists)))
    raise Unfit(f"lists and objects at most {DEPTH_MAX} deep in each other")


def _of_kind(kind: type, kinds: set[type], level: list[Any]) -> list[Any]:
    if kind not in kinds:
        return []
    return level if len(kinds) == 1 else [each for each in level if type(each) is kind]


def _check_keys(keys: set[Any]) -> None:
    if not set(map(type, keys)) <= {str} or not encodable("".join(keys)):
        raise Unfit("an object whose keys are text")


def encodable(value: str) -> bool:
    """Can UTF-8 hold it? Half a surrogate pair, which JSON can spell, it cannot."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def are_identifiers(values: Sequence[object]) -> bool:
    """Are all of them ids? A tenth of what asking one by one costs."""
    if not set(map(type, values)) <= {str}:
        return False
    names = cast("Sequence[str]", values)
    together = "".join(names)
    if not together.isascii() or not all(names) or max(map(len, names), default=0) > ID_CHARS_MAX:
        return False
    first = "".join([name[0] for name in names]).encode()
    return not first.translate(None, _ID_FIRST) and not together.encode().translate(None, _ID_REST)
