"""The shape of a workflow file. The fields of a step's type stand beside those that all steps have."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

from coterie.engine.model import PRIORITY_NORMAL, Merge
from coterie.engine.planning.spec_steps import PRIORITY_MAX
from coterie.engine.quantities import Duration, PositiveDuration, Size

Number = Annotated[StrictInt | StrictFloat, Field(allow_inf_nan=False)]
Priority = Annotated[Number, Field(ge=0, le=PRIORITY_MAX)]


def _text_of(value: object) -> object:
    """YAML reads `if: true` as a boolean."""
    return str(value).lower() if isinstance(value, bool) else value


class RetryFile(BaseModel):
    """When a failed try is followed by another one."""

    model_config = ConfigDict(extra="forbid")

    max_attempts: StrictInt = Field(default=3, ge=1, description="How many tries there are, the first included.")
    base_delay: Duration = Field(default=1.0, description="The bound of the first wait.")
    max_delay: Duration = Field(default=60.0, description="The bound of all waits.")
    exponential_base: Number = Field(default=2.0, ge=1, description="By what the bound grows with every failure.")
    jitter: StrictBool = Field(default=True, description="Whether a wait is drawn from 0 to its bound.")
    retryable_errors: list[str] | None = Field(
        default=None, description="The classes of errors, and names of exceptions, that are tried again."
    )


class ResourcesFile(BaseModel):
    """What the step takes of the engine's resources while it runs."""

    model_config = ConfigDict(extra="allow")

    cpu: Number | None = Field(default=None, ge=0, description="Cores.")
    memory: Size | None = Field(default=None, description="Memory: 512MB, 2GiB, or bytes.")
    disk: Size | None = Field(default=None, description="Disk: 512MB, 2GiB, or bytes.")

    @model_validator(mode="after")
    def _amounts(self) -> "ResourcesFile":
        for name, amount in (self.model_extra or {}).items():
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
                raise ValueError(f"'{name}' should be an amount of 0 or more, not {amount!r}")
        return self


class WorkFile(BaseModel):
    """What any piece of work has: a step, the step of a map, a compensation."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="What carries it out.")
    name: str = Field(default="", description="What people are shown.")
    timeout: PositiveDuration | None = Field(default=None, description="How long one try may take.")
    total_timeout: PositiveDuration | None = Field(default=None, description="How long all tries together may take.")
    retry: StrictInt | RetryFile | None = Field(default=None, description="Tries, or how they follow each other.")


class ChildFile(WorkFile):
    """The step that a map runs for each item."""

    queue_timeout: PositiveDuration | None = Field(default=None, description="How long it may wait for room.")
    heartbeat_timeout: PositiveDuration | None = Field(default=None, description="How long it may be silent.")
    priority: Priority = Field(default=PRIORITY_NORMAL, description="Lower is sooner.")
    resources: ResourcesFile | None = Field(default=None, description="What it takes while it runs.")
    key: str = Field(default="", description="Steps with the same key run one at a time.")
    continue_on_error: StrictBool = Field(default=False, description="Whether its failure counts as completed.")


class StepFile(ChildFile):
    """One step."""

    needs: str | list[str] = Field(default_factory=list[str], description="The steps that must have ended before.")
    if_: Annotated[str, BeforeValidator(_text_of)] = Field(
        default="", alias="if", description="An expression; where it is false the step is skipped."
    )
    merge: Merge = Field(default="none-failed", description="When a step with several needs runs.")
    compensate: WorkFile | None = Field(default=None, description="Undoes the step when the run fails later.")


class InputFile(BaseModel):
    """A value that the submitter gives."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["string", "number", "integer", "boolean", "object", "array"] = Field(
        default="string", description="What it is."
    )
    required: StrictBool = Field(default=False, description="Whether it must be given.")
    default: Any = Field(default=None, description="Its value where it is not given.")
    description: str = Field(default="", description="What people are told of it.")
    options: list[Any] = Field(default_factory=list[Any], description="All that it may be.")


class WorkflowHead(BaseModel):
    """A workflow without its steps."""

    model_config = ConfigDict(extra="forbid")

    coterie: Literal[1] = Field(description="The version of the format.")
    id: str | None = Field(default=None, description="By which it is known; the name of the file where it is left out.")
    name: str = Field(default="", description="What people are shown.")
    inputs: dict[str, InputFile | None] = Field(default_factory=dict[str, InputFile | None], description="Its inputs.")
    variables: dict[str, Any] = Field(default_factory=dict[str, Any], description="Values that templates name as vars.")
    max_parallel: StrictInt = Field(default=0, ge=0, description="How many steps run at a time; 0: the engine's limit.")
    fail_fast: StrictBool = Field(default=False, description="Whether the first failure stops what runs.")
    timeout: PositiveDuration | None = Field(default=None, description="How long a whole run may take.")
    priority: Priority = Field(default=PRIORITY_NORMAL, description="Lower is sooner.")
    outputs: dict[str, str] = Field(default_factory=dict[str, str], description="Templates, by the names of outputs.")


class WorkflowFile(WorkflowHead):
    """A workflow of Coterie's engine."""

    steps: dict[str, StepFile] = Field(min_length=1, description="The steps, by their ids.")
