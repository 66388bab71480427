"""What is wrong with data by a JSON Schema (draft 2020-12). Nothing is ever fetched for a schema."""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.exceptions import ValidationError as SchemaViolation
from referencing import Registry
from referencing.exceptions import Unresolvable

from coterie.engine.failures import ConfigurationFailure
from coterie.engine.model import Json, canonical_json
from coterie.engine.steps.config_problems import path_text

ERRORS_MAX: Final = 100
SCHEMAS_MAX: Final = 64
MESSAGE_CHARS_MAX: Final = 300


def schema_problem(schema: Json) -> str | None:
    """Why that is no JSON Schema, in one sentence; None where it is one."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = path_text(tuple(error.absolute_path))
        return f"{f'{where}: ' if where else ''}{_shortened(error.message)}"
    return None


def schema_errors(schema: Json, data: Json) -> list[dict[str, str]]:
    """Every error with its path, up to ERRORS_MAX. Raises ConfigurationFailure for a schema that cannot be used."""
    validator = _validator(canonical_json(schema))
    try:
        found: Iterator[SchemaViolation] = cast(Any, validator).iter_errors(data)
        return [_told(error) for error in islice(found, ERRORS_MAX)]
    except Unresolvable as error:
        message = f"the schema refers to {error.ref!r}, which is not in it"
        raise ConfigurationFailure(message, detail="") from None


def sentence(errors: list[dict[str, str]], shown: int = 5) -> str:
    """The errors in one line: `rows[3].price: -1 is less than the minimum of 0; …`."""
    told = "; ".join(f"{error['path'] or 'it'}: {error['message']}" for error in errors[:shown])
    more = len(errors) - shown
    return f"{told}; and {more} more" if more > 0 else told


@lru_cache(maxsize=SCHEMAS_MAX)
def _validator(text: bytes) -> Draft202012Validator:
    schema: Any = json.loads(text)
    problem = schema_problem(schema)
    if problem is not None:
        raise ConfigurationFailure(f"the schema is no JSON Schema: {problem}", detail="")
    registry: Registry[Any] = Registry()  # without it jsonschema fetches what a $ref names from the network
    return Draft202012Validator(schema, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _told(error: SchemaViolation) -> dict[str, str]:
    return {"path": path_text(tuple(error.absolute_path)), "message": _shortened(error.message)}


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else f"{text[:MESSAGE_CHARS_MAX]}…"
