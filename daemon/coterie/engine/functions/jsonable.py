"""Results of functions as JSON: what JSON knows, and what pydantic knows how to turn into it."""

import json
from typing import Any

from coterie.engine.failures import ConfigurationFailure


def to_json(value: Any) -> bytes:
    """The value's JSON: dataclasses, models, dates, sets, paths and the like become what pydantic makes of them.

    Raises ConfigurationFailure that names the type of what is no JSON.
    """
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError):
        pass  # not by itself
    try:
        from pydantic_core import PydanticSerializationError, to_jsonable_python
    except ImportError:
        return _without_pydantic(value)
    try:
        return _dumps(to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="constants"))
    except (PydanticSerializationError, UnicodeError, ValueError, TypeError, RecursionError) as error:
        raise _refused(value, error) from None


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _without_pydantic(value: Any) -> bytes:
    """For interpreters that do not have it: the commonest of what it turns into JSON."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_default).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _refused(value, error) from None


def _default(value: Any) -> Any:
    import dataclasses
    import datetime
    import decimal
    import enum
    import pathlib
    import uuid

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    match value:
        case set() | frozenset():
            return list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case datetime.date() | datetime.time():
            return value.isoformat()
        case enum.Enum():
            return value.value
        case decimal.Decimal() | pathlib.PurePath() | uuid.UUID():
            return str(value)
        case _:
            raise TypeError(f"a {_name(value)} is no JSON")


def _refused(value: Any, error: Exception) -> ConfigurationFailure:
    return ConfigurationFailure(
        f"the result is a {_name(value)}, which cannot be kept as JSON ({error}): return JSON, a dataclass or a "
        "pydantic model, or write a file and return its name",
        detail="",
    )


def _name(value: Any) -> str:
    return type(value).__qualname__
