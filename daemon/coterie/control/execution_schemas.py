"""The JSON that the control socket takes about executions. What it answers is `coterie.executions.views`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from coterie.control.schemas import Short

DOCUMENT_BYTES_MAX = 64 * 1024 * 1024
"""Of a whole submission: 100,000 steps take about 10 MiB."""
REASON_CHARS_MAX = 512
KEY_CHARS_MAX = 512
PRIORITY_MAX = 1000.0

StepId = Annotated[str, Field(min_length=1, max_length=512)]
Reason = Annotated[str, Field(max_length=REASON_CHARS_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ExecutionBody(_Body):
    """What is to be executed. `document` is a coterie.workflow/1; `source` what /v1/sources answered for its tree.

    The same `key` again gives the execution that was submitted with it.
    """

    document: dict[str, Any]
    inputs: dict[str, Any] = {}
    key: Annotated[str, Field(min_length=1, max_length=KEY_CHARS_MAX)] | None = None
    priority: Annotated[float, Field(ge=0.0, le=PRIORITY_MAX, allow_inf_nan=False)] | None = None
    source: Short | None = None


class NoBody(_Body):
    """Nothing more is to be said."""


class RetryBody(_Body):
    """Which step is tried again; all that failed or were cancelled where none is named."""

    step: StepId | None = None


class RerunBody(_Body):
    """What runs again: everything, what did not complete (`failed`), or one step and all that depends on it."""

    failed: bool = False
    step: StepId | None = None


class SkipBody(_Body):
    """Which step counts as done without a result, and why."""

    step: StepId
    reason: Reason = ""


class SignalBody(_Body):
    """A signal for `wait` steps."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    data: Any = None


class AnswerBody(_Body):
    """The answer to an `input` step."""

    step: StepId
    value: Any


class ValidateBody(_Body):
    """The workflow to look at; without a document the one that the path names."""

    document: dict[str, Any] | None = None


Picture = Literal["json", "text", "svg"]
