"""A JSON Schema of workflow files, for editors: generated from what the reader checks with.

`python -m coterie.engine.files.schema` writes it beside this file.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from coterie.engine.files.file_model import ChildFile, StepFile, WorkFile, WorkflowFile
from coterie.engine.model import Json
from coterie.engine.steps.factory import BUILT_IN, StepExecutorFactory

SCHEMA_FILE: Final = Path(__file__).with_name("schema.json")
SCHEMA_ID: Final = "https://json-schema.org/draft/2020-12/schema"

_KINDS: Final[Mapping[str, type[WorkFile]]] = {"Step": StepFile, "Child": ChildFile, "Compensation": WorkFile}
_TEMPLATE: Final[Mapping[str, Json]] = {
    "type": "string",
    "pattern": r"\$\{\{",
    "description": "An expression that is evaluated before the step runs.",
}

Schema = dict[str, Any]


def file_schema(types: Iterable[str] = tuple(BUILT_IN)) -> Schema:
    """The schema of a file whose steps are of those types, by default of the engine's own."""
    return _Builder(sorted(types)).build()


def schema_text() -> str:
    """The schema of the engine's own types as it is kept beside this file."""
    return json.dumps(file_schema(), indent=1, ensure_ascii=False) + "\n"


class _Builder:
    def __init__(self, types: list[str]) -> None:
        self._types = types
        self._definitions: Schema = {"Template": dict(_TEMPLATE)}

    def build(self) -> Schema:
        head = self._schema_of(WorkflowFile)
        for kind, model in _KINDS.items():
            self._definitions[kind] = {"oneOf": [self._step(kind, model, type_) for type_ in self._types]}
        return {
            "$schema": SCHEMA_ID,
            "title": "A workflow of Coterie's engine",
            **{key: value for key, value in head.items() if key != "title"},
            "$defs": dict(sorted(self._definitions.items())),
        }

    def _schema_of(self, model: type[Any]) -> Schema:
        """A model's own schema; what it refers to goes to the definitions."""
        schema = cast(Schema, _without_titles(model.model_json_schema(by_alias=True)))
        for name, definition in schema.pop("$defs", {}).items():
            if name in {kind.__name__ for kind in _KINDS.values()}:
                continue
            known = self._definitions.setdefault(name, definition)
            if known != definition:
                raise ValueError(f"two models are named {name}")
        return cast(Schema, _renamed(schema))

    def _step(self, kind: str, model: type[WorkFile], type_: str) -> Schema:
        common = self._schema_of(model)["properties"]
        own = self._schema_of(StepExecutorFactory.executor_class(type_).config_model)
        raw = StepExecutorFactory.executor_class(type_).raw_fields
        properties: Schema = {
            **{name: self._shared("step", name, value) for name, value in common.items()},
            **{
                name: self._shared(type_, name, value if name in raw else _or_template(value))
                for name, value in own["properties"].items()
            },
            "type": {"const": type_},
        }
        if type_ == "map":
            properties["step"] = {"$ref": "#/$defs/Child"}
        if type_ == "workflow":
            del properties["document"]
        return {
            "title": type_,
            "type": "object",
            "properties": properties,
            "required": ["type", *own.get("required", [])],
            "additionalProperties": False,
        }

    def _shared(self, of: str, name: str, value: Schema) -> Schema:
        """A field is written once, whatever kinds of steps have it."""
        key = f"{of}.{name}"
        self._definitions.setdefault(key, value)
        return {"$ref": f"#/$defs/{key}"}


def _or_template(schema: Schema) -> Schema:
    """Where a value of another type than text is expected, a template may stand."""
    description = {"description": schema["description"]} if "description" in schema else {}
    rest = {key: value for key, value in schema.items() if key != "description"}
    anything = not rest.keys() - {"default"}
    plain_text = rest.get("type") == "string" and not rest.keys() & {"enum", "pattern", "format", "const"}
    return schema if anything or plain_text else {**description, "anyOf": [rest, {"$ref": "#/$defs/Template"}]}


def _items(value: Json) -> list[Any]:
    return list(value)


def _renamed(value: Json) -> Json:
    """References to the models of steps lead to the definitions by type."""
    if isinstance(value, dict):
        return {
            key: _NAMES.get(item, item) if key == "$ref" else _renamed(item)
            for key, item in cast(Schema, value).items()
        }
    return [_renamed(item) for item in _items(value)] if isinstance(value, list) else value


_NAMES: Final = {f"#/$defs/{model.__name__}": f"#/$defs/{kind}" for kind, model in _KINDS.items()}


def _without_titles(value: Json, in_properties: bool = False) -> Json:
    """pydantic titles every field with its own name; a property that is called `title` stays."""
    if isinstance(value, dict):
        return {
            key: _without_titles(item, key in ("properties", "$defs"))
            for key, item in cast(Schema, value).items()
            if in_properties or key != "title" or not isinstance(item, str)
        }
    return [_without_titles(item) for item in _items(value)] if isinstance(value, list) else value


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
