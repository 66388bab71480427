"""Whether templates name what there is when they are evaluated: steps that have ended by then, inputs, variables."""

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, cast

from coterie.engine.model import StepSpec, WorkflowSpec
from coterie.engine.planning.spec_problems import SpecProblem, problem_of, shown, suggestion
from coterie.engine.planning.step_rows import said_by
from coterie.engine.templates import NO_REFERENCES, References, condition_references, references

CONDITIONAL: Final = "conditional"
PROCESS: Final = "process"

_MARKS: Final = (b"${{", b'"if":', b'"expression":')
"""Of templates, and of the fields whose expressions need no braces."""


def reference_problems(spec: WorkflowSpec) -> list[SpecProblem]:
    """Templates and conditions that name a step, an input or a variable which there is not, or a step not waited for.

    Steps without templates cost next to nothing; of a step whose templates name others than its own needs, all that is
    before it is gone through. The outputs of the workflow may name every step.
    """
    return [*step_reference_problems(spec), *(SpecProblem(message) for _, message in output_problems(spec))]


def may_name_steps(document: bytes) -> bool:
    """Can `reference_problems` find anything in the workflow with that canonical JSON? Much quicker than to look."""
    return any(mark in document for mark in _MARKS)


def output_problems(spec: WorkflowSpec) -> list[tuple[str, str]]:
    """The same of its outputs alone: the name of the output, and what is wrong."""
    return list(_Checks(spec).of_outputs())


def step_reference_problems(spec: WorkflowSpec) -> list[SpecProblem]:
    """The same of its steps alone."""
    return list(_Checks(spec).of_steps())


class _Checks:
    def __init__(self, spec: WorkflowSpec) -> None:
        self._spec = spec
        self._ids: list[str] = list(map(attrgetter("id"), spec.steps))
        self._index = dict(zip(self._ids, range(len(self._ids)), strict=True))
        self._inputs = {declared.name.lower() for declared in spec.inputs}
        self._variables = {name.lower() for name in spec.variables}

    def of_steps(self) -> Iterator[SpecProblem]:
        for step, named, ended in self._naming():
            found = [*self._unknown_values(named), *self._steps(step, named, ended)]
            yield from (problem_of(step, f"step {shown(step.id)} names {message}") for message in found)

    def of_outputs(self) -> Iterator[tuple[str, str]]:
        for name, template in self._spec.outputs.items():
            named = references(template)
            found = [self._unknown(id_) for id_ in sorted(named.steps - self._index.keys())]
            found += [f"needs.{id_}, but outputs have no needs: write steps.{id_}" for id_ in sorted(named.needs)]
            found += self._unknown_values(named)
            yield from ((name, f"the output {shown(name)} names {message}") for message in found)

    def _naming(self) -> Iterator[tuple[StepSpec, References, tuple[str, ...]]]:
        """The steps that name anything, and what beside their needs has ended then: a compensation knows its step."""
        steps, said = self._spec.steps, said_by(self._spec.steps).fields
        if not said & {"config", "if_", "compensate"}:
            return
        conditions: Iterable[str] = map(attrgetter("if_"), steps) if "if_" in said else ("" for _ in steps)
        for step, condition in zip(steps, conditions, strict=True):
            named = _named(step, condition)
            if named is not NO_REFERENCES:
                yield step, named, ()
            undo = step.compensate if "compensate" in said else None
            if undo is not None and (named := _named(undo, undo.if_)) is not NO_REFERENCES:
                yield undo, named, (step.id, *step.needs)

    def _steps(self, step: StepSpec, named: References, ended: tuple[str, ...]) -> Iterator[str]:
        needs = {*step.needs, *ended}
        upstream: set[str] | None = None
        for id_ in sorted((named.steps | named.needs) - needs):
            if id_ not in self._index:
                yield self._unknown(id_)
                continue
            upstream = self._upstream(needs) if upstream is None else upstream
            if id_ == step.id:
                yield "itself in a template, before it has a result"
            elif id_ in named.needs or id_ not in upstream:
                yield f"step {shown(id_)} in a template, but does not wait for it: add it to its needs"

    def _unknown(self, id_: str) -> str:
        return f"step {shown(id_)} in a template, which does not exist{suggestion(id_, self._index)}"

    def _unknown_values(self, named: References) -> list[str]:
        """Workflows that declare no inputs take any."""
        inputs = sorted(name for name in named.inputs if self._inputs and name.lower() not in self._inputs)
        unset = sorted(name for name in named.vars if name.lower() not in self._variables)
        return [
            *(_missing("input", name, self._inputs) for name in inputs),
            *(_missing("variable", name, self._variables) for name in unset),
        ]

    def _upstream(self, needs: Iterable[str]) -> set[str]:
        seen: set[str] = set()
        pending = list(needs)
        while pending:
            id_ = pending.pop()
            if id_ not in seen and id_ in self._index:
                seen.add(id_)
                pending += self._spec.steps[self._index[id_]].needs
        return seen


def _missing(kind: str, name: str, known: Iterable[str]) -> str:
    return f"the {kind} {shown(name)}, which does not exist{suggestion(name, known)}"


def _named(step: StepSpec, condition: str) -> References:
    config = step.config
    named = references(config) if config else NO_REFERENCES
    if condition:
        named |= condition_references(condition)
    for expression in _bare_expressions(step.type, config):
        named |= condition_references(expression)
    return named


def _bare_expressions(type_: str, config: Mapping[str, Any]) -> Iterator[str]:
    """What may be written without `${{ }}`: the conditions of branches, the expression of a process."""
    if type_ == PROCESS and isinstance(config.get("expression"), str):
        yield config["expression"]
    if type_ != CONDITIONAL:
        return
    branches: list[Any] = config["branches"] if isinstance(config.get("branches"), list) else []
    for branch in branches:
        condition = cast(Mapping[str, Any], branch).get("if") if isinstance(branch, Mapping) else None
        if isinstance(condition, str):
            yield condition
