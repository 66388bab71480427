"""Reads typed, bounded fields out of a decoded map; every complaint is a BadMessage."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from coterie_protocols.errors import BadMessage

T = TypeVar("T")


class Fields:
    """A decoded map from a peer, read one checked field at a time."""

    __slots__ = ("_map", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise BadMessage(f"{what}: not a map")
        self._map = cast(dict[str, object], value)
        self._what = what

    def _bad(self, name: str, expected: str) -> BadMessage:
        return BadMessage(f"{self._what}: {name} is not {expected}")

    def exactly(self, names: frozenset[str]) -> None:
        """The map has these keys and no others."""
        if self._map.keys() != names:
            raise BadMessage(f"{self._what}: its keys are not {', '.join(sorted(names))}")

    def has(self, name: str) -> bool:
        """Is the field there, if only as null?"""
        return name in self._map

    def raw(self, name: str) -> object:
        """The value as decoded, None where absent."""
        return self._map.get(name)

    def text(self, name: str, chars_max: int = 256) -> str:
        """A string of at most `chars_max` characters."""
        value = self._map.get(name)
        if not isinstance(value, str) or len(value) > chars_max:
            raise self._bad(name, f"text of at most {chars_max} characters")
        return value

    def optional_text(self, name: str, chars_max: int = 256) -> str | None:
        """The same, or None where the field is null or absent."""
        return None if self._map.get(name) is None else self.text(name, chars_max)

    def choice(self, name: str, allowed: frozenset[str]) -> str:
        """One of a few words."""
        value = self.text(name)
        if value not in allowed:
            raise self._bad(name, "one of " + ", ".join(sorted(allowed)))
        return value

    def hex(self, name: str, length: int) -> bytes:
        """`length` bytes as lower-case hex text."""
        value = self.text(name, 2 * length)
        try:
            raw = bytes.fromhex(value)
        except ValueError:
            raise self._bad(name, "hex") from None
        if len(raw) != length or raw.hex() != value:
            raise self._bad(name, f"{length} bytes of lower-case hex")
        return raw

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer within bounds."""
        value = self._map.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self._bad(name, f"an integer from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """A finite number within bounds."""
        value = self._map.get(name)
        if type(value) not in (int, float) or not low <= cast(float, value) <= high:
            raise self._bad(name, f"a number from {low} to {high}")
        return float(cast(float, value))

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._map.get(name)
        if type(value) is not bool:
            raise self._bad(name, "true or false")
        return value

    def items(self, name: str, count_max: int, read: Callable[[object], T]) -> tuple[T, ...]:
        """A list of at most `count_max` items, each passed through `read`; absent means empty."""
        value = self._map.get(name, [])
        if not isinstance(value, list) or len(cast(list[object], value)) > count_max:
            raise self._bad(name, f"a list of at most {count_max}")
        return tuple(read(item) for item in cast(list[object], value))

    def texts(self, name: str, count_max: int, chars_max: int = 256) -> tuple[str, ...]:
        """A list of strings."""
        return self.items(name, count_max, lambda item: self._one_text(name, item, chars_max))

    def _one_text(self, name: str, item: object, chars_max: int) -> str:
        if not isinstance(item, str) or len(item) > chars_max:
            raise self._bad(name, f"a list of texts of at most {chars_max} characters")
        return item

    def mapping(self, name: str, count_max: int, read: Callable[[object], T]) -> dict[str, T]:
        """A map of at most `count_max` entries, each value passed through `read`; absent means empty."""
        value = self._map.get(name, {})
        if not isinstance(value, dict) or len(cast(dict[str, object], value)) > count_max:
            raise self._bad(name, f"a map of at most {count_max}")
        return {key: read(item) for key, item in cast(dict[str, object], value).items()}

    def text_map(self, name: str, count_max: int, chars_max: int) -> Mapping[str, str]:
        """A map of strings to strings."""
        return self.mapping(name, count_max, lambda item: self._one_text(name, item, chars_max))
