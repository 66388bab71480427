"""Finds what carries out a step by its type, and checks and completes its configuration."""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar, Final, cast

from pydantic import BaseModel, ValidationError

from coterie.engine.failures import ConfigurationFailure, ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.config_problems import ConfigProblem, field_names, near, path_text, problems_of
from coterie.engine.steps.executor import StepExecutor
from coterie.engine.templates import evaluate_deep, has_template, template_problems
from coterie_protocols.errors import InvalidWorkflow, UserError
from coterie_protocols.workflow.expressions import ExpressionError

ENTRY_POINTS: Final = "coterie.step_executors"
"""The group of entry points by which installed packages bring step types: `sql = "their_package:SqlExecutor"`."""

CHECKED_MAX: Final = 4096
"""How many kinds of configurations that were found good are remembered."""

BUILT_IN: Final[Mapping[str, str]] = {
    "ai": "coterie.engine.steps.ai:AiExecutor",
    "conditional": "coterie.engine.steps.conditional:ConditionalExecutor",
    "data_validation": "coterie.engine.steps.data_validation:DataValidationExecutor",
    "http": "coterie.engine.steps.http:HttpExecutor",
    "input": "coterie.engine.steps.input:InputExecutor",
    "map": "coterie.engine.steps.map:MapExecutor",
    "output": "coterie.engine.steps.output:OutputExecutor",
    "process": "coterie.engine.steps.process:ProcessExecutor",
    "shell": "coterie.engine.steps.shell:ShellExecutor",
    "wait": "coterie.engine.steps.wait:WaitExecutor",
    "workflow": "coterie.engine.steps.workflow:WorkflowExecutor",
}
"""The types of the engine itself; each is imported when first asked for."""

_OPAQUE: Final[Mapping[str, frozenset[str]]] = {
    "data_validation": frozenset({"data"}),
    "http": frozenset({"json", "body"}),
    "output": frozenset({"values"}),
    "process": frozenset({"function", "args", "kwargs"}),
    "workflow": frozenset({"inputs"}),
}
"""Fields of the engine's own types of which only the type of the value matters, and whether it is empty."""

_OWN_PACKAGE: Final = "coterie.engine.steps."
_SCALARS: Final[frozenset[type]] = frozenset({type(None), bool, int, float, str})
_NONE: Final[frozenset[str]] = frozenset()

Executor = StepExecutor[Any]
Key = tuple[str, tuple[tuple[Any, ...], ...]]
Contexts = Mapping[str, Json] | Callable[[], Mapping[str, Json]]


class UnknownStepType(UserError):
    """A step has a type that nobody registered."""

    code = "unknown-step-type"
    exit_code = InvalidWorkflow.exit_code


class StepExecutorFactory:
    """The types of steps that this program knows."""

    _classes: ClassVar[dict[str, type[Executor]]] = {}
    _good: ClassVar[set[Key | None]] = set()

    @classmethod
    def register(cls, type_: str, executor: type[Executor], *, replace: bool = False) -> None:
        """Makes `executor` carry out steps of that type. The same class again is fine, another one needs `replace`.

        Raises UserError for a class that is no executor, or a type that is taken.
        """
        _check_class(type_, executor)
        taken = type_ in cls._classes or type_ in BUILT_IN or type_ in installed()
        if taken and not replace and cls.executor_class(type_) is not executor:
            present = cls.executor_class(type_).__qualname__
            raise UserError(f"the step type '{type_}' is {present} already", "say replace=True to mean it")
        cls._classes[type_] = executor
        cls._good.clear()

    @classmethod
    def known(cls) -> list[str]:
        """The names of all types."""
        return sorted({*cls._classes, *BUILT_IN, *installed()})

    @classmethod
    def executor_class(cls, type_: str) -> type[Executor]:
        """What carries out steps of that type. Raises UnknownStepType."""
        found = cls._classes.get(type_)
        if found is None:
            found = cls._classes[type_] = cls._load(type_)
        return found

    @classmethod
    def problems(cls, step: StepSpec, more_fields: Collection[str] = ()) -> list[ConfigProblem]:
        """What is wrong with the step's configuration, as far as it is known before it runs, each with its place.

        A value that holds a template is checked when the template has been evaluated.
        """
        try:
            executor = cls.executor_class(step.type)
        except UserError as error:
            return [ConfigProblem(("type",), error.message)]
        return [*_unreadable_templates(step, executor), *_mistakes(step, executor, more_fields)]

    @classmethod
    def check_step(cls, step: StepSpec) -> list[str]:
        """The same as sentences. A step that is configured like one that was found good costs 1 us."""
        key = _key(step)
        if key in cls._good:
            return []
        told = [problem.message for problem in cls.problems(step)]
        if key is not None and not told and _looks_at_config_alone(cls.executor_class(step.type)):
            if len(cls._good) >= CHECKED_MAX:
                cls._good.clear()
            cls._good.add(key)
        return told

    @classmethod
    def prepare(cls, step: StepSpec, contexts: Contexts) -> BaseModel:
        """The step's configuration with its templates evaluated, as its executor wants it.

        `contexts` may be a function that makes them: it is only called where there is a template. Raises
        ValidationFailure or ConfigurationFailure, which name the field.
        """
        executor = cls.executor_class(step.type)
        config = _evaluated(step, executor, contexts)
        try:
            return executor.config_model.model_validate(config)
        except ValidationError as error:
            found = problems_of(error, config, skip_templates=False)
            raise ValidationFailure("; ".join(problem.message for problem in found), detail="") from None

    @classmethod
    def _load(cls, type_: str) -> type[Executor]:
        if type_ in BUILT_IN:
            module, _, name = BUILT_IN[type_].partition(":")
            executor: type[Executor] = _attribute(module, name)
            return executor
        if type_ not in installed():
            known = ", ".join(cls.known())
            raise UnknownStepType(f"the type '{type_}' is unknown; known types: {known}{near(type_, cls.known())}")
        return _load_installed(type_)


def _attribute(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _check_class(type_: str, executor: object) -> None:
    if not (isinstance(executor, type) and issubclass(executor, StepExecutor)):
        raise UserError(f"{executor!r} cannot carry out '{type_}' steps", "derive it from StepExecutor")
    model = getattr(cast(Any, executor), "config_model", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        name = cast(Any, executor).__qualname__
        raise UserError(f"{name} does not say how its steps are configured", "set config_model to a pydantic model")


@lru_cache(maxsize=1)
def installed() -> Mapping[str, Any]:
    """The types that installed packages bring, not yet loaded."""
    from importlib import metadata  # here, for it costs as much as all the rest of this module

    return {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}


def _load_installed(type_: str) -> type[Executor]:
    entry = installed()[type_]
    try:
        executor = entry.load()
    except Exception as error:  # a stranger's module: whatever it raises, the user needs to know whose it is
        raise UserError(f"the step type '{type_}' cannot be loaded from {entry.value}: {error!r}") from error
    _check_class(type_, executor)
    return cast(type[Executor], executor)


def _mistakes(step: StepSpec, executor: type[Executor], more_fields: Collection[str]) -> list[ConfigProblem]:
    try:
        config = executor.config_model.model_validate(step.config)
    except ValidationError as error:
        known = [*field_names(executor.config_model), *more_fields]
        return problems_of(error, step.config, known=known, raw_fields=executor.raw_fields)
    return [ConfigProblem((), message) for message in executor.problems(step, config)]


def _unreadable_templates(step: StepSpec, executor: type[Executor]) -> list[ConfigProblem]:
    if not has_template(step.config):
        return []
    evaluated = {name: value for name, value in step.config.items() if name not in executor.raw_fields}
    return [
        ConfigProblem(problem.path, f"'{path_text(problem.path)}': {problem.message}")
        for problem in template_problems(evaluated)
    ]


def _evaluated(step: StepSpec, executor: type[Executor], contexts: Contexts) -> Mapping[str, Json]:
    raw = executor.raw_fields
    templated = [name for name, value in step.config.items() if name not in raw and has_template(value)]
    if not templated:
        return step.config
    values = contexts() if callable(contexts) else contexts
    config = dict(step.config)
    for name in templated:
        try:
            config[name] = evaluate_deep(config[name], values)
        except ExpressionError as error:
            raise ConfigurationFailure(f"'{name}': {error.message}", detail="") from None
    return config


def _key(step: StepSpec) -> Key | None:
    """What the verdict on a configuration depends on, where that is little; None where it must be looked at."""
    opaque = _OPAQUE.get(step.type, _NONE)
    parts: list[tuple[Any, ...]] = []
    for name, value in step.config.items():
        kind: type[Any] = value.__class__
        if name in opaque:
            if has_template(value):
                return None
            parts.append((name, kind, not value))
        elif kind in _SCALARS:
            parts.append((name, kind, value))
        else:
            return None
    return step.type, tuple(parts)


def _looks_at_config_alone(executor: type[Executor]) -> bool:
    """The engine's own executors do; others may ask about the step."""
    own = executor.__module__.startswith(_OWN_PACKAGE)
    return own or cast(Any, executor.problems).__func__ is cast(Any, StepExecutor.problems).__func__
