"""The form of an `input` step: filled in from K=V texts, or field by field at a terminal."""

from collections.abc import Mapping
from typing import Any

import click

from coterie.cli.output import paint, say
from coterie.cli.typed_values import Misfit, property_value
from coterie_protocols.errors import UserError

Form = Mapping[str, Any]
"""A JSON Schema of an object, as `asks` has it."""

TRIES_MAX = 100


def fields_of(form: Form) -> dict[str, Mapping[str, Any]]:
    """The schema of each field, by name."""
    return dict(form.get("properties", {}))


def filled(form: Form, texts: Mapping[str, str]) -> dict[str, Any]:
    """The answer that texts make. Raises UserError for a field that there is not, Misfit for one of the wrong type."""
    fields = fields_of(form)
    unknown = [name for name in texts if name not in fields]
    if unknown:
        raise UserError(f"the form has no field {unknown[0]!r}", described(form))
    missing = [name for name in form.get("required", ()) if name not in texts]
    if missing:
        raise UserError(f"{', '.join(missing)} must be given", described(form))
    return {name: property_value(name, text, fields[name]) for name, text in texts.items()}


def described(form: Form) -> str:
    """The fields in one line, with what each may be."""
    return "fields: " + ", ".join(f"{name} ({_kind(schema)})" for name, schema in fields_of(form).items())


def ask_person(form: Form, step: str) -> dict[str, Any]:
    """Asks at the terminal, field by field; what is left empty has its default, or is left out."""
    say(paint(str(form.get("title") or step), "bold"))
    required = set(form.get("required", ()))
    answer: dict[str, Any] = {}
    for name, schema in fields_of(form).items():
        value = _field(name, schema, name in required)
        if value is not None:
            answer[name] = value
    return answer


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Any:
    """One field, asked until it fits; None where it was left empty."""
    if "default" in schema and schema["default"] is not None:
        shown: str | None = _text(schema["default"])
    else:
        shown = None if required else ""
    label = f"  {schema.get('title') or name} ({_kind(schema)})"
    for _ in range(TRIES_MAX):
        text: str = click.prompt(label, default=shown, show_default=bool(shown), err=True, type=str)
        if not text and not required:
            return None
        try:
            return _checked(name, text, schema)
        except Misfit as misfit:
            say(f"  {misfit.message}")
    raise UserError(f"{name} has no answer that fits after {TRIES_MAX} tries", "give it as NAME=VALUE")


def _checked(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    value = property_value(name, text, schema)
    size: float | None = None
    if isinstance(value, str):
        size, low, high, what = len(value), schema.get("minLength"), schema.get("maxLength"), "characters"
    else:
        low, high, what = schema.get("minimum"), schema.get("maximum"), ""
        size = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if size is not None and low is not None and size < low:
        raise Misfit(f"{name} must be at least {low:g} {what}".rstrip())
    if size is not None and high is not None and size > high:
        raise Misfit(f"{name} must be at most {high:g} {what}".rstrip())
    return value


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(_text, schema["enum"]))
    kind = str(schema.get("type", "string"))
    return {"boolean": "yes | no", "string": "text"}.get(kind, kind)


def _text(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
