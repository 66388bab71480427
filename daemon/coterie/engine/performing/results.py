"""What steps returned: as JSON in the journal, and the last few as objects at hand."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json

from coterie.engine.failures import ConfigurationFailure
from coterie.engine.journal.port import Journal
from coterie.engine.model import Json

CACHED_MAX: Final = 1024
_PLAIN: Final = (type(None), bool, int, str)
_UNKNOWN: Final = object()


class Results:
    """The results of one execution, by position.

    With `objects` (an engine without a file) dependents get the very object that was returned, JSON or not; else what
    was returned is kept as JSON and arrives as JSON, so that it is the same after a restart.
    """

    def __init__(self, journal: Journal, execution: str, bytes_max: int, objects: bool) -> None:
        self._journal = journal
        self._execution = execution
        self._bytes_max = bytes_max
        self._objects = objects
        self._cached: dict[int, Json] = {}
        self._kept: dict[int, Any] = {}

    def put(self, position: int, value: Any) -> bytes | None:
        """The JSON to keep for it (None for None). Raises ConfigurationFailure for what is no JSON or too large."""
        if value is None:
            self._remember(position, None)
            return None
        try:
            data = to_json(value, bytes_mode="base64", inf_nan_mode="constants")
        except (PydanticSerializationError, UnicodeError, RecursionError) as error:
            self._keep(position, value, error)
            return None
        if len(data) > self._bytes_max:
            raise ConfigurationFailure(
                f"the result is {len(data)} bytes of JSON; the limit is {self._bytes_max} (result_bytes_max): "
                "write it to a file and return its name"
            )
        self._remember(position, value if self._objects or type(value) in _PLAIN else json.loads(data))
        if self._objects and type(value) not in _PLAIN:
            self._kept[position] = value
        return data

    def get(self, position: int) -> Any:
        """What that step returned; None where it returned nothing."""
        value = self._cached.get(position, _UNKNOWN)
        if value is not _UNKNOWN:
            return value
        if position in self._kept:
            return self._kept[position]
        data = self._journal.result(self._execution, position)
        value = None if data is None else json.loads(data)
        self._remember(position, value)
        return value

    def kept_between(self, start: int, end: int) -> Iterator[tuple[int, Any]]:
        """The objects of the steps in [start, end), where objects are kept."""
        return ((position, self._kept[position]) for position in range(start, end) if position in self._kept)

    @property
    def kept(self) -> Mapping[int, Any]:
        """The objects that were returned, where objects are kept."""
        return self._kept

    def forget(self, position: int) -> None:
        """For a step that is run again."""
        self._cached.pop(position, None)
        self._kept.pop(position, None)

    def _keep(self, position: int, value: Any, error: Exception) -> None:
        if not self._objects:
            raise ConfigurationFailure(
                f"the result is a {type(value).__name__}, which cannot be kept as JSON ({error}): return JSON, a "
                "dataclass or a pydantic model, or write a file and return its name"
            ) from None
        self._kept[position] = value

    def _remember(self, position: int, value: Any) -> None:
        self._cached[position] = value
        if len(self._cached) > CACHED_MAX:
            del self._cached[next(iter(self._cached))]
