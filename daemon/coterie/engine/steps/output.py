"""Steps that say what a run comes to: `type: output`."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from coterie.engine.model import Json
from coterie.engine.steps.executor import StepCall, StepExecutor


class OutputConfig(BaseModel):
    """How an `output` step is configured."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, Any] = Field(description="The outputs of the run by name; each may be a template.")


class OutputExecutor(StepExecutor[OutputConfig]):
    """Returns its values, which become outputs of the run."""

    config_model: ClassVar[type[BaseModel]] = OutputConfig

    async def execute(self, call: StepCall[OutputConfig]) -> Json:
        """The values as evaluated."""
        return call.config.values
