"""Steps that call a Python function, or evaluate an expression: `type: process`."""

import re
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, model_validator

from coterie.engine.context import ExecutionContext
from coterie.engine.failures import ConfigurationFailure
from coterie.engine.functions.binding import (
    NO_ITEM,
    Arguments,
    bind_arguments,
    given_arguments,
    parameters_of,
    references,
)
from coterie.engine.functions.location import Function, import_path_of, load_function, plain
from coterie.engine.functions.workers import FunctionCall, FunctionWorkers
from coterie.engine.model import Json, StepSpec
from coterie.engine.spawner import Spawner
from coterie.engine.steps.executor import StepCall, StepExecutor
from coterie.engine.templates import contexts, evaluate, template_problems
from coterie_protocols.errors import UserError
from coterie_protocols.workflow.expressions import ExpressionError

_IMPORT_PATH: Final = re.compile(r"[^\W\d][\w.-]*:[^\W\d][\w.]*")


class ProcessConfig(BaseModel):
    """How a `process` step is configured."""

    model_config = ConfigDict(extra="forbid")

    function: str | None = Field(
        default=None, min_length=1, description="A function: the name under which it is registered, or module:function."
    )
    args: list[Any] | None = Field(
        default=None,
        description="Its arguments. Without these and `kwargs` it gets what the step's needs returned: a parameter"
        " named like a step that step's result, the others in order.",
    )
    kwargs: dict[str, Any] | None = Field(default=None, description="Its arguments by name.")
    expression: str | None = Field(
        default=None, min_length=1, description="An expression; its value is the step's result."
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description="The interpreter for the function, where functions run in their own processes.",
    )

    @model_validator(mode="after")
    def _one(self) -> "ProcessConfig":
        if (self.function is None) == (self.expression is None):
            raise ValueError("exactly one of 'function' and 'expression' must be given")
        for name in ("args", "kwargs", "python"):
            if self.expression is not None and getattr(self, name) is not None:
                raise ValueError(f"'{name}' goes with 'function', not with 'expression'")
        return self


class ProcessExecutor(StepExecutor[ProcessConfig]):
    """Calls a function, in this process or in one of its own (EngineSettings.isolate_functions)."""

    config_model: ClassVar[type[BaseModel]] = ProcessConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"expression"})
    _shared: tuple[Spawner, FunctionWorkers] | None = None

    async def execute(self, call: StepCall[ProcessConfig]) -> Json:
        """What the function returned, or the expression's value.

        Raises what the function raised, and ConfigurationFailure where it cannot be found, or called.
        """
        config = call.config
        if config.expression is not None:
            return _value(config.expression, call)
        assert config.function is not None
        if self.services.resources.settings.isolate_functions:
            return await self._call_elsewhere(config.function, call)
        if config.python is not None:
            raise ConfigurationFailure(
                "'python' is given, but this engine calls functions in its own process", detail=""
            )
        function = self.services.function(config.function) or await _loaded(config.function, call.context)
        args, kwargs = _arguments(plain(function), call)
        return await self.services.run_function(plain(function), *args, **kwargs)

    async def _call_elsewhere(self, name: str, call: StepCall[ProcessConfig]) -> Json:
        if self._shared is None:
            resources = self.services.resources
            self._shared = await resources.get(Spawner), await resources.get(FunctionWorkers)
        spawner, workers = self._shared
        function = FunctionCall(
            function=self._import_path(name, call.context),
            results=_results(call),
            context=call.context,
            args=call.config.args,
            kwargs=call.config.kwargs,
            python=call.config.python,
        )
        return await workers.call(
            spawner, function, call.log if call.step.heartbeat_timeout_s is None else _living(call)
        )

    def _import_path(self, name: str, context: ExecutionContext) -> str:
        function = self.services.function(name)
        if function is None:
            return _checked_path(name)
        try:
            return import_path_of(function, context.source_dir)
        except UserError as error:
            raise ConfigurationFailure(f"{error.message}; {error.hint}", detail="") from None

    @classmethod
    def problems(cls, step: StepSpec, config: BaseModel) -> list[str]:
        """An expression that cannot be read."""
        assert isinstance(config, ProcessConfig)
        source = config.expression
        return [] if source is None else [problem.message for problem in template_problems(_template(source))]


def _living(call: StepCall[ProcessConfig]) -> Callable[[str], None]:
    """A line of output is a sign of life too."""

    def told(line: str) -> None:
        call.log(line)
        call.progress("")

    return told


def _template(expression: str) -> str:
    """An expression with its braces, which may be left out."""
    return expression if "${{" in expression else "${{ " + expression + " }}"


def _value(expression: str, call: StepCall[ProcessConfig]) -> Json:
    try:
        return evaluate(_template(expression), contexts(call.context, call.results))
    except ExpressionError as error:
        raise ConfigurationFailure(f"the expression: {error.message}", detail="") from None


def _checked_path(name: str) -> str:
    if not _IMPORT_PATH.fullmatch(name):
        raise ConfigurationFailure(f"there is no function {name!r}: register it, or write module:function", detail="")
    return name


async def _loaded(name: str, context: ExecutionContext) -> Function:
    module = _checked_path(name).partition(":")[0]
    if module in sys.modules:
        return load_function(name)
    return await anyio.to_thread.run_sync(load_function, name, context.source_dir)


def _arguments(function: Function, call: StepCall[ProcessConfig]) -> Arguments:
    config, context = call.config, call.context
    item = NO_ITEM if context.index is None else context.item
    if config.args is None and config.kwargs is None:
        return bind_arguments(parameters_of(function), call.results, item)
    return given_arguments(parameters_of(function), config.args, config.kwargs, lambda step: _result(call, step), item)


def _result(call: StepCall[ProcessConfig], step: str) -> Json:
    """What a reference stands for: None where the step was skipped, or failed and was let pass."""
    if step in call.results:
        return call.results[step]
    try:
        return call.context.run.result(step)
    except KeyError:
        raise ConfigurationFailure(f"an argument names the step '{step}', which there is not", detail="") from None


def _results(call: StepCall[ProcessConfig]) -> dict[str, Json]:
    """What a worker needs: the results of the needs, and of what the arguments refer to."""
    named = references([call.config.args, call.config.kwargs])
    return {**call.results, **{step: _result(call, step) for step in named if step not in call.results}}
