"""Changes what is inside of lists, tuples and dicts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with every leaf changed; of tuples it makes tuples."""
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        changed = [mapped(item, change) for item in cast("Sequence[Any]", value)]
        return tuple(changed) if isinstance(value, tuple) else changed
    return change(value)
