"""Which steps a step names: those it needs, and those before them that it reads the result of."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from coterie.engine.functions import binding
from coterie.engine.model import Json, StepSpec, WorkflowSpec
from coterie.engine.planning.spec_document import nested_step
from coterie.engine.templates import condition_references, references


def with_nested(step: StepSpec) -> Iterator[StepSpec]:
    """The step, and what it runs for each item if it is a map, however deep."""
    yield step
    inner = step.config.get("step")
    if step.type == "map" and isinstance(inner, Mapping):
        yield from with_nested(nested_step(cast("Mapping[str, Any]", inner)))


def steps_read(step: StepSpec, spec: WorkflowSpec) -> tuple[str, ...]:
    """What must be handed to the step: its needs, then other steps of the workflow that it names, each once."""
    named = set[str]().union(*map(_named, with_nested(step)))
    others = [each.id for each in spec.steps if each.id in named and each.id != step.id]
    return tuple(dict.fromkeys((*step.needs, *others)))


def _named(step: StepSpec) -> set[str]:
    read = references(step.config)
    for expression in _bare_expressions(step):
        read |= condition_references(expression)
    arguments = binding.references([step.config.get("args"), step.config.get("kwargs")])
    return {*read.steps, *read.needs, *arguments}


def _bare_expressions(step: StepSpec) -> Iterator[str]:
    """What is an expression without `${{ }}`."""
    yield step.if_
    expression = step.config.get("expression")
    if step.type == "process" and isinstance(expression, str):
        yield expression
    branches: Json = step.config.get("branches")
    if step.type == "conditional" and isinstance(branches, list):
        for branch in cast("Iterable[Json]", branches):
            condition = cast("dict[str, Any]", branch).get("if") if isinstance(branch, dict) else None
            if isinstance(condition, str):
                yield condition
