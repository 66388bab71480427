"""Steps that check data: `type: data_validation`."""

from importlib import import_module
from itertools import islice
from typing import Any, ClassVar, Final, Literal, cast

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic import ValidationError as ModelViolation

from coterie.engine.failures import ConfigurationFailure, ValidationFailure
from coterie.engine.model import Json
from coterie.engine.steps.config_problems import path_text
from coterie.engine.steps.executor import StepCall, StepExecutor

INLINE_VALUES_MAX: Final = 1000
"""Data of more values than this is checked in a thread, so that the engine goes on meanwhile."""


class DataValidationConfig(BaseModel):
    """How a `data_validation` step is configured."""

    model_config = ConfigDict(extra="forbid")

    data: Any = Field(description="What is checked, usually a template.")
    schema_: dict[str, Any] | bool | None = Field(None, alias="schema", description="A JSON Schema (draft 2020-12).")
    model: str | None = Field(
        None, pattern=r"^[\w.]+:[\w.]+$", description="A pydantic model, or a type, as module:Name."
    )
    on_failure: Literal["fail", "report"] = Field(
        "fail", description="What happens with data that does not fit: the step fails, or its result tells."
    )

    @field_validator("schema_")
    @classmethod
    def _sound(cls, schema: Json) -> Json:
        from coterie.engine.steps.schema_errors import schema_problem

        problem = None if schema is None else schema_problem(schema)
        if problem is not None:
            raise ValueError(f"is no JSON Schema: {problem}")
        return schema

    @model_validator(mode="after")
    def _one(self) -> "DataValidationConfig":
        if (self.schema_ is None) == (self.model is None):
            raise ValueError("exactly one of 'schema' and 'model' must be given")
        return self


class DataValidationExecutor(StepExecutor[DataValidationConfig]):
    """Returns the data where it fits; by a model it comes with the model's defaults and types."""

    config_model: ClassVar[type[BaseModel]] = DataValidationConfig

    async def execute(self, call: StepCall[DataValidationConfig]) -> Json:
        """Raises ValidationFailure that lists every error; `on_failure: report` returns valid, errors and data."""
        config = call.config
        data, errors = await self._checked(config)
        if config.on_failure == "report":
            return {"valid": not errors, "errors": errors, "data": data}
        if errors:
            from coterie.engine.steps.schema_errors import sentence

            detail = "\n".join(f"{error['path'] or '(whole)'}: {error['message']}" for error in errors)
            raise ValidationFailure(f"the data does not fit: {sentence(errors)}", detail)
        return data

    async def _checked(self, config: DataValidationConfig) -> tuple[Json, list[dict[str, str]]]:
        if config.model is not None:
            if self.services.resources.settings.isolate_functions:
                raise ConfigurationFailure(
                    "a 'model' is Python code, which this engine runs in processes of its own alone: use a 'schema', or"
                    " a process step that checks the data",
                    detail="",
                )
            checked: tuple[Json, list[dict[str, str]]] = await self.services.run_function(
                check_by_model, config.model, config.data
            )
            return checked
        from coterie.engine.steps.schema_errors import schema_errors

        if _is_small(config.data):
            return config.data, schema_errors(config.schema_, config.data)
        return config.data, await anyio.to_thread.run_sync(schema_errors, config.schema_, config.data)


def check_by_model(name: str, data: Json) -> tuple[Json, list[dict[str, str]]]:
    """The data as the model has it, and its errors. Raises ConfigurationFailure where there is no such model."""
    from coterie.engine.steps.schema_errors import ERRORS_MAX

    module, _, attribute = name.partition(":")
    try:
        model: Any = import_module(module)
        for part in attribute.split("."):
            model = getattr(model, part)
        adapter: TypeAdapter[Any] = TypeAdapter(model)
    except Exception as error:
        raise ConfigurationFailure(f"the model '{name}' cannot be used: {error}") from error
    try:
        return adapter.dump_python(adapter.validate_python(data), mode="json", by_alias=True), []
    except ModelViolation as violation:
        details = islice(violation.errors(include_url=False), ERRORS_MAX)
        return data, [{"path": path_text(detail["loc"]), "message": detail["msg"]} for detail in details]


def _is_small(data: Json) -> bool:
    left = INLINE_VALUES_MAX
    pending: list[Any] = [data]
    while pending and left > 0:
        value = pending.pop()
        left -= 1
        if isinstance(value, dict):
            pending.extend(cast(dict[str, Json], value).values())
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str):
            left -= len(value) // 1000
    return left > 0
