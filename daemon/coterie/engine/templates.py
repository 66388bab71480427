"""Templates in the configuration of steps: `${{ steps.fetch.result.rows }}`, in GitHub's expression language.

Two things differ from GitHub: the contexts (below), and that a list or an object within a text becomes JSON there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from coterie.engine.context import ExecutionContext
from coterie.engine.model import Json, StepState
from coterie_protocols.workflow.expressions import ExpressionError, condition_source, parse_expression
from coterie_protocols.workflow.expressions import evaluate as evaluate_expression
from coterie_protocols.workflow.expressions.syntax import Constant, Context, Expression, Index, walk
from coterie_protocols.workflow.expressions.template import OPEN, parts_of
from coterie_protocols.workflow.expressions.values import CaseSensitive, FilteredArray, bounded, tidy_number, to_text

CONTEXTS: Final = frozenset({"inputs", "vars", "steps", "needs", "item", "index", "execution"})
"""What a template may name. The environment of a machine is not among them."""

SOURCES_MAX: Final = 4096
"""How many templates are remembered by what they refer to."""

_ENDED: Final[frozenset[StepState]] = frozenset({"completed", "failed", "skipped", "cancelled"})

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """A template that cannot be read: where it is in the value, and why. Starts with the path from the value."""

    path: Path
    message: str


class References(NamedTuple):
    """What is named after `steps.`, `needs.`, `inputs.` and `vars.`."""

    steps: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    vars: frozenset[str] = frozenset()

    def __or__(self, other: "References") -> "References":
        return References(*(mine | theirs for mine, theirs in zip(self, other, strict=True)))


NO_REFERENCES: Final = References()


def contexts(context: ExecutionContext, results: Mapping[str, Json]) -> dict[str, Json]:
    """What the templates of one attempt may name.

    `results` are those of its needs, as the executor gets them. `steps.<id>` answers for every step that has ended,
    `needs` for the step's own needs; both with `state` and `result`. What is not there is null.
    """
    run = context.run
    try:
        needed = run.needs(context.step_id)
    except KeyError:  # compensations and outputs of a run are no steps of its plan
        needed = tuple(results)
    return {
        "inputs": context.inputs,
        "vars": context.variables,
        "steps": _EndedSteps(context),
        "needs": CaseSensitive({need: {"state": run.state(need), "result": results.get(need)} for need in needed}),
        "item": context.item,
        "index": context.index,
        "execution": {
            "id": context.execution_id,
            "workflow": context.workflow_id,
            "submitter": context.submitter,
            "step": context.step_id,
            "attempt": context.attempt,
        },
    }


class _EndedSteps(CaseSensitive):
    """Steps by id, looked up when a template names them: a run may have very many."""

    __slots__ = ("_run",)

    def __init__(self, context: ExecutionContext) -> None:
        super().__init__()
        self._run = context.run

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        if not isinstance(name, str):
            return False
        try:
            state = self._run.state(name)
        except KeyError:
            return False
        if state not in _ENDED:
            return False
        self[name] = {"state": state, "result": self._run.result(name)}
        return True


def evaluate(source: str, contexts: Mapping[str, Json]) -> Json:
    """The value of a template: of any type where it is one whole `${{ }}`, else a text. Raises ExpressionError."""
    if OPEN not in source:
        return source
    parts = parts_of(source)
    if len(parts) == 1 and parts[0].is_expression:
        return _value(parts[0].text, contexts)
    texts = [_text(_value(part.text, contexts)) if part.is_expression else part.text for part in parts]
    bounded(sum(map(len, texts)))
    return "".join(texts)


def evaluate_deep(value: Json, contexts: Mapping[str, Json]) -> Json:
    """The value with every template in it evaluated; keys stay as they are. Raises ExpressionError."""
    if isinstance(value, str):
        return evaluate(value, contexts)
    if isinstance(value, Mapping):
        mapping = cast(Mapping[str, Json], value)
        return {key: evaluate_deep(item, contexts) for key, item in mapping.items()}
    if isinstance(value, list | tuple):
        return [evaluate_deep(item, contexts) for item in cast(list[Json], value)]
    return value


def evaluate_condition(condition: str, contexts: Mapping[str, Json]) -> Json:
    """The value of an `if`, given with or without `${{ }}`; true of an empty one. Raises ExpressionError."""
    source = condition_source(condition)
    return _value(source, contexts) if source else True


def is_fixed(value: Json) -> bool:
    """Is there no template in it, so that it is the same each time?"""
    return not has_template(value)


def has_template(value: Json) -> bool:
    """Is there a `${{` anywhere in the value? Asked of every step there is, so it takes short ways."""
    kind: type[Any] = value.__class__
    if kind is str:
        return OPEN in value
    if kind in _ATOMS:
        return False
    if isinstance(value, Mapping):
        items: Iterable[Json] = cast(Mapping[str, Json], value).values()
    elif isinstance(value, list | tuple):
        items = cast(Iterable[Json], value)
    else:
        return isinstance(value, str) and OPEN in value
    for item in items:  # noqa: SIM110 - `any` would make a generator for each
        if has_template(item):
            return True
    return False


_ATOMS: Final[frozenset[type]] = frozenset({type(None), bool, int, float})


def references(value: Json) -> References:
    """The steps that templates in the value name; what cannot be read is left to `template_problems`."""
    found = NO_REFERENCES
    if has_template(value):
        for _, text in _templates(value, ()):
            found |= _read_template(text)[0]
    return found


def condition_references(condition: str) -> References:
    """The same of an `if`."""
    return _read_condition(condition)[0] if condition else NO_REFERENCES


def template_problems(value: Json) -> list[TemplateProblem]:
    """Every template in the value that cannot be read, each with its path."""
    found = ((path, _read_template(text)[1]) for path, text in _templates(value, ()))
    return [TemplateProblem(path, message) for path, message in found if message]


def condition_problem(condition: str) -> str | None:
    """Why an `if` cannot be read, in one sentence; None where it can."""
    return _read_condition(condition)[1] or None


def _templates(value: Json, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if OPEN in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, item in cast(Mapping[str, Json], value).items():
            yield from _templates(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast(list[Json], value)):
            yield from _templates(item, (*path, index))


def _value(source: str, contexts: Mapping[str, Json]) -> Any:
    expression = parse_expression(source, CONTEXTS, {})
    value = evaluate_expression(expression, contexts)
    if isinstance(value, FilteredArray):
        return list(value)
    computed = not isinstance(expression.tree, Context | Index)  # literals are doubles to the language
    return tidy_number(value) if computed and isinstance(value, float) else value


def _text(value: Json) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return to_text(value)


@lru_cache(maxsize=SOURCES_MAX)
def _read_template(text: str) -> tuple[References, str]:
    """The steps that a template names, and what is wrong with it or ''."""
    try:
        sources = [part.text for part in parts_of(text) if part.is_expression]
        return _read_expressions(sources)
    except ExpressionError as error:
        return NO_REFERENCES, error.message


@lru_cache(maxsize=SOURCES_MAX)
def _read_condition(text: str) -> tuple[References, str]:
    try:
        return _read_expressions([condition_source(text)])
    except ExpressionError as error:
        return NO_REFERENCES, error.message


def _read_expressions(sources: list[str]) -> tuple[References, str]:
    found = NO_REFERENCES
    for source in sources:
        named, vague = _steps_named(parse_expression(source, CONTEXTS, {}))
        found |= named
        if vague:
            return found, f"'{source}' does not say which step it means: write steps.<id>"
    return found, ""


def _steps_named(expression: Expression) -> tuple[References, bool]:
    """What the expression names, and whether `steps` stands without an id: the other contexts may."""
    nodes = list(walk(expression.tree))
    ids: dict[str, set[str]] = {context: set() for context in References._fields}
    told: set[int] = set()
    for node in nodes:
        if isinstance(node, Index) and isinstance(node.target, Context) and isinstance(node.index, Constant):
            told.add(id(node.target))
            ids.setdefault(node.target.name.lower(), set()).add(to_text(node.index.value))
    vague = any(isinstance(node, Context) and node.name.lower() == "steps" and id(node) not in told for node in nodes)
    return References(*(frozenset(ids[context]) for context in References._fields)), vague
