"""Steps that run another workflow: `type: workflow`."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coterie.engine.failures import StepFailed
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.executor import StepCall, StepExecutor


class WorkflowConfig(BaseModel):
    """How a `workflow` step is configured."""

    model_config = ConfigDict(extra="forbid")

    file: str | None = Field(None, description="A workflow file, relative to this one.")
    id: str | None = Field(None, min_length=1, description="The id of a workflow that the engine knows.")
    document: dict[str, Any] | None = Field(None, description="The workflow itself, as a plan has it.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="Its inputs.")

    @model_validator(mode="after")
    def _one(self) -> "WorkflowConfig":
        if sum(one is not None for one in (self.file, self.id, self.document)) != 1:
            raise ValueError("exactly one of 'file' and 'id' must be given")
        return self


class WorkflowExecutor(StepExecutor[WorkflowConfig]):
    """Runs another workflow as an execution of its own. Returns its id, state and outputs."""

    config_model: ClassVar[type[BaseModel]] = WorkflowConfig
    waits: ClassVar[bool] = True
    raw_fields: ClassVar[frozenset[str]] = frozenset({"document"})

    async def execute(self, call: StepCall[WorkflowConfig]) -> Json:
        """Raises StepFailed where the other run did not complete; to try again would find the same run."""
        config = call.config
        workflow = config.document if config.id is None else config.id
        ended = await self.services.run_workflow(call, workflow, config.inputs)
        if ended["state"] != "completed":
            raise StepFailed(f"the run {ended['id']} of the workflow {ended['state']}", "validation", detail="")
        return dict(ended)

    @classmethod
    def problems(cls, step: StepSpec, config: BaseModel) -> list[str]:
        """A file that was not read when the workflow was."""
        assert isinstance(config, WorkflowConfig)
        if config.file is None:
            return []
        return ["'file' is for workflow files alone: name the workflow by 'id', or give its 'document'"]
