"""The document form of a workflow: small canonical JSON, in which what is left out has its default.

It is what the daemon takes from its socket, what a journal keeps, and what a plan is named after (`model.plan_hash`).
Where a step stood in a file is not part of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, cast

from coterie.engine.model import InputSpec, Json, StepSpec, WorkflowSpec, canonical_json
from coterie.engine.planning import spec_values as values
from coterie.engine.planning.bulk import collection_paused
from coterie.engine.planning.spec_problems import InvalidSpec, SpecProblem, problem_of, shown, suggestion
from coterie.engine.planning.spec_steps import KEYS, NAME_CHARS_MAX, PRIORITY_MAX, read_steps
from coterie.engine.planning.spec_values import Unfit
from coterie.engine.planning.step_rows import default_of, said_by
from coterie.engine.retry import RetryConfig

SCHEMA: Final = "coterie.workflow/1"
CHILD: Final = "child"
"""The id of a map's step in messages about it."""

INPUTS_MAX: Final = 1000
INPUT_TYPES: Final[tuple[str, ...]] = ("string", "number", "integer", "boolean", "object", "array")
WHOLE_MAX: Final = 2**53
"""Up to here every whole float is written without its `.0`, so that 3 and 3.0 make the same document."""


def spec_to_json(spec: WorkflowSpec) -> dict[str, Json]:
    """The document of a workflow. Raises nothing, also where the workflow is not sound."""
    document: dict[str, Json] = {"schema": SCHEMA, "id": spec.id}
    if spec.name:
        document["name"] = spec.name
    document["steps"] = _steps(spec.steps)
    if spec.inputs:
        document["inputs"] = [_input(each) for each in spec.inputs]
    for name in ("variables", "outputs"):
        if getattr(spec, name):
            document[name] = dict(getattr(spec, name))
    for name in ("max_parallel", "fail_fast", "timeout_s", "priority"):
        value = getattr(spec, name)
        if value != _HEAD_DEFAULTS[name]:
            document[name] = _plain(value)
    return document


def spec_to_bytes(spec: WorkflowSpec) -> bytes:
    """The canonical JSON of the document. Raises InvalidSpec where a value in it is no JSON, naming its step."""
    document = spec_to_json(spec)
    try:
        values.check_json([{**document, "steps": None}])
        values.check_json(document["steps"])
    except Unfit as unfit:
        raise InvalidSpec(_not_json(spec, unfit)) from None
    return canonical_json(document)


def spec_from_json(document: object) -> WorkflowSpec:
    """The workflow that a decoded JSON value is. Raises InvalidSpec with every problem, whatever the value.

    Only its form is checked: whether it can be run is for `plan.make_plan` to say.
    """
    problems: list[SpecProblem] = []
    if not isinstance(document, Mapping):
        raise InvalidSpec([SpecProblem("a workflow must be an object")])
    with collection_paused():
        spec = _Head(cast("Mapping[str, object]", document), problems.append).read()
    if problems:
        raise InvalidSpec(problems)
    return spec


def nested_step(document: Mapping[str, Json]) -> StepSpec:
    """The step that a map runs for each item, from its document. Raises InvalidSpec."""
    return spec_from_json({"schema": SCHEMA, "id": "map", "steps": [{"id": CHILD, **document}]}).steps[0]


def _steps(steps: tuple[StepSpec, ...]) -> list[Json]:
    """Only columns that say something are looked at."""
    written: list[Json] = [{} for _ in steps]
    said = said_by(steps).fields
    for key, name in KEYS.items():
        if name not in said:
            continue
        default, write = (None, None) if name in ("id", "type") else (default_of(name), _WRITERS.get(name, _plain))
        for step, value in zip(written, map(attrgetter(name), steps), strict=True):
            if write is None:
                step[key] = value
            elif value is not default and value != default:
                step[key] = write(value)
    return written


def _plain(value: Json) -> Json:
    return int(value) if isinstance(value, float) and abs(value) <= WHOLE_MAX and value.is_integer() else value


def _amounts(amounts: Mapping[str, float]) -> Json:
    return {name: _plain(amount) for name, amount in amounts.items()}


def _retry(retry: RetryConfig) -> Json:
    """Beside the number of attempts only what differs from RetryConfig()."""
    usual = RetryConfig()
    written: dict[str, Json] = {"max_attempts": retry.max_attempts}
    for name in ("base_delay", "max_delay", "exponential_base", "jitter"):
        if getattr(retry, name) != getattr(usual, name):
            written[name] = _plain(getattr(retry, name))
    if retry.retryable_errors != usual.retryable_errors:
        written["retryable_errors"] = sorted(retry.retryable_errors)
    return written


_WRITERS: Final[Mapping[str, Callable[[Any], Json]]] = {
    "needs": list,
    "config": dict,
    "arms": dict,
    "retry": _retry,
    "resources": _amounts,
    "compensate": lambda step: _steps((step,))[0],
}


def _input(spec: InputSpec) -> Json:
    written: dict[str, Json] = {"name": spec.name}
    for field in fields(InputSpec):
        value = getattr(spec, field.name)
        if field.name != "name" and value != field.default:
            written[field.name] = list(value) if field.name == "options" else value
    return written


def _not_json(spec: WorkflowSpec, unfit: Unfit) -> list[SpecProblem]:
    found: list[SpecProblem] = []
    for step in spec.steps:
        try:
            values.check_json(_steps((step,)))
        except Unfit as why:
            found.append(problem_of(step, f"step {shown(step.id)}: what it is configured with must be {why}"))
    return found or [SpecProblem(f"variables, inputs and outputs must be {unfit}")]


_HEAD_DEFAULTS: Final = {field.name: field.default for field in fields(WorkflowSpec)}
_HEAD_KEYS: Final = ("schema", *_HEAD_DEFAULTS)


class _Head:
    """One reading of one document."""

    def __init__(self, document: Mapping[str, object], complain: Callable[[SpecProblem], None]) -> None:
        self._document = document
        self._complain = complain

    def read(self) -> WorkflowSpec:
        self._unknown_keys(self._document, _HEAD_KEYS, "a workflow")
        if self._document.get("schema") != SCHEMA:
            self._complain(SpecProblem(f"schema must be {SCHEMA}"))
        retained = {name: self._value(name, read) for name, read in _HEAD_VALUES.items() if name in self._document}
        if "id" not in self._document:
            self._complain(SpecProblem("id is missing"))
        steps = read_steps(self._document.get("steps", []), self._complain)
        inputs = self._inputs(self._document.get("inputs", []))
        given: dict[str, Any] = {"id": "", **retained, "steps": steps, "inputs": inputs}
        return WorkflowSpec(**given)

    def _value(self, name: str, read: Callable[[object], Any]) -> Any:
        try:
            return read(self._document[name])
        except Unfit as unfit:
            self._complain(SpecProblem(f"{name} must be {unfit}"))
            return None

    def _unknown_keys(self, given: Mapping[Any, object], known: tuple[str, ...], what: str) -> None:
        for key in given:
            if key not in known:
                self._complain(SpecProblem(f"{shown(str(key))} is no key of {what}{suggestion(str(key), known)}"))

    def _inputs(self, value: object) -> tuple[InputSpec, ...]:
        if not isinstance(value, list) or len(cast("list[object]", value)) > INPUTS_MAX:
            self._complain(SpecProblem(f"inputs must be a list of at most {INPUTS_MAX} inputs"))
            return ()
        return tuple(self._input(place, each) for place, each in enumerate(cast("list[object]", value)))

    def _input(self, place: int, value: object) -> InputSpec:
        where, read = f"inputs[{place}]", {"name": ""}
        if not isinstance(value, dict):
            self._complain(SpecProblem(f"{where} must be an object"))
            return InputSpec("")
        given = cast("dict[str, object]", value)
        self._unknown_keys(given, tuple(_INPUT_VALUES), "an input")
        if "name" not in given:
            self._complain(SpecProblem(f"{where}: name is missing"))
        for name, reader in _INPUT_VALUES.items():
            try:
                if name in given:
                    read[name] = reader(given[name])
            except Unfit as unfit:
                self._complain(SpecProblem(f"{where}: {name} must be {unfit}"))
        return InputSpec(**cast("dict[str, Any]", read))


def _options(value: object) -> tuple[Json, ...]:
    if not isinstance(value, list) or len(cast("list[object]", value)) > values.ENTRIES_MAX:
        raise Unfit(f"a list of at most {values.ENTRIES_MAX} values")
    return tuple(cast("list[Json]", values.json_value(cast("Json", value))))


_INPUT_VALUES: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": values.identifier,
    "type": lambda value: values.choice(value, INPUT_TYPES),
    "required": values.flag,
    "default": values.json_value,
    "description": values.text,
    "options": _options,
}

_HEAD_VALUES: Final[Mapping[str, Callable[[object], Any]]] = {
    "id": values.identifier,
    "name": lambda value: values.text(value, NAME_CHARS_MAX),
    "variables": values.json_object,
    "outputs": lambda value: values.mapping(value, values.text),
    "max_parallel": values.count,
    "fail_fast": values.flag,
    "timeout_s": values.seconds,
    "priority": lambda value: values.number(value, 0, PRIORITY_MAX),
}
