"""Steps that ask a person: `type: input`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coterie.engine.failures import ValidationFailure
from coterie.engine.model import Json
from coterie.engine.quantities import PositiveDuration
from coterie.engine.steps.executor import StepCall, StepExecutor

FIELDS_MAX: Final = 100

FieldType = Literal["string", "text", "number", "integer", "boolean", "choice"]


class InputField(BaseModel):
    """One field of the form."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", description="By which the answer is found in the result.")
    type: FieldType = Field("string", description="What it holds; text is a string of several lines.")
    label: str = Field("", description="What a person is shown; the name where it is empty.")
    required: bool = Field(False, description="Whether it must be filled in.")
    default: Any = Field(None, description="Its value where nobody says another.")
    options: list[Any] | None = Field(None, description="All that a choice may be.", min_length=1)
    min: float | None = Field(None, description="The least number, or the least length of a text.")
    max: float | None = Field(None, description="The greatest number, or the greatest length of a text.")

    @model_validator(mode="after")
    def _consistent(self) -> "InputField":
        if (self.type == "choice") != (self.options is not None):
            raise ValueError("'options' are missing" if self.type == "choice" else "'options' are for a choice alone")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("'min' is greater than 'max'")
        if self.default is not None:
            self._check_default()
        return self

    def _check_default(self) -> None:
        from coterie.engine.steps.schema_errors import schema_errors

        if errors := schema_errors(self.to_schema(), self.default):
            raise ValueError(f"'default' does not fit: {errors[0]['message']}")

    def to_schema(self) -> dict[str, Json]:
        """The field as JSON Schema; `format: multiline` is a text of several lines."""
        schema: dict[str, Json] = {"title": self.label or self.name}
        if self.default is not None:
            schema["default"] = self.default
        bounds: dict[str, Json]
        match self.type:
            case "string":
                bounds = {"type": "string", "minLength": self.min, "maxLength": self.max}
            case "text":
                bounds = {"type": "string", "format": "multiline", "minLength": self.min, "maxLength": self.max}
            case "number" | "integer":
                bounds = {"type": self.type, "minimum": self.min, "maximum": self.max}
            case "boolean":
                bounds = {"type": "boolean"}
            case "choice":
                bounds = {"enum": self.options}
            case _:
                assert_never(self.type)
        return {**schema, **{name: value for name, value in bounds.items() if value is not None}}


class InputConfig(BaseModel):
    """How an `input` step is configured."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field("", description="What the person is asked.")
    fields: list[InputField] = Field(min_length=1, max_length=FIELDS_MAX, description="The form.")
    deadline: PositiveDuration | None = Field(None, description="How long the answer is waited for.")
    on_deadline: Literal["default", "fail"] = Field(
        "fail", description="What happens at the deadline: the defaults are taken, or the step fails."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "InputConfig":
        names = [field.name for field in self.fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two fields are named '{twice[0]}'")
        if self.on_deadline == "default":
            if self.deadline is None:
                raise ValueError("'on_deadline' says what happens at a deadline, but there is no 'deadline'")
            for field in self.fields:
                if field.required and field.default is None:
                    raise ValueError(f"the field '{field.name}' is required and has no default for 'on_deadline'")
        return self

    def form(self) -> dict[str, Json]:
        """The form as JSON Schema."""
        return {
            "title": self.prompt,
            "type": "object",
            "properties": {field.name: field.to_schema() for field in self.fields},
            "required": [field.name for field in self.fields if field.required and field.default is None],
            "additionalProperties": False,
        }

    def complete(self, answer: Mapping[str, Json]) -> dict[str, Json]:
        """A value for every field: the answer's, its default, or null."""
        return {field.name: answer.get(field.name, field.default) for field in self.fields}


class InputExecutor(StepExecutor[InputConfig]):
    """Asks, and waits for the answer across restarts. Returns a map of values by the names of the fields."""

    config_model: ClassVar[type[BaseModel]] = InputConfig
    waits: ClassVar[bool] = True

    async def execute(self, call: StepCall[InputConfig]) -> Json:
        """Raises ValidationFailure where nobody answered in time and the defaults may not be taken."""
        config = call.config
        answer: Json
        try:
            answer = await self.services.ask(call, config.form(), config.deadline)
        except TimeoutError:
            if config.on_deadline == "fail":
                message = f"nobody answered within {config.deadline:g} s"
                raise ValidationFailure(message, detail="") from None  # asking again would find the deadline past
            answer = {}
        return config.complete(answer)
