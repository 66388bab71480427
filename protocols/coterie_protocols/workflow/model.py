"""A workflow file once it is understood: what the parser makes, the planner expands and a runner executes.

Strings that may hold `${{ … }}` are kept as written and are called templates; `Expr` marks a scalar of another
type (a number, a boolean) that was written as one whole expression.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in its file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, and where.

    `holder` is where the value begins that has the fault inside it, when that is another place; GitHub tells that one.
    """

    message: str
    position: Position
    severity: Severity = "error"
    holder: Position | None = None


@dataclass(frozen=True, slots=True)
class Expr:
    """The source of an expression, without its `${{ }}`."""

    source: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Exactly one of `run` and `uses` is given; `id` is unique in the job (generated ones begin `__`)."""

    id: str
    position: Position
    name: str | None = None
    run: str | None = None
    uses: str | None = None
    with_: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    if_: str | None = None
    shell: str | None = None
    working_directory: str | None = None
    timeout_minutes: float | Expr | None = None
    continue_on_error: bool | Expr = False


@dataclass(frozen=True, slots=True)
class Defaults:
    """`defaults.run`, of a workflow or a job: templates."""

    shell: str | None = None
    working_directory: str | None = None


@dataclass(frozen=True, slots=True)
class Strategy:
    """The `strategy` context of one cell. `max_parallel` 0 means without limit."""

    fail_fast: bool = True
    job_index: int = 0
    job_total: int = 1
    max_parallel: int = 0


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of `workflow_dispatch`."""

    type: Literal["string", "boolean", "choice", "number", "environment"] = "string"
    required: bool = False
    default: str | None = None
    options: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One task: a job of the file, or one cell of its matrix.

    `id` is unique in the plan: the job's key, for a cell followed by its values as in `test (3.12, linux)`.
    `needs` are the ids of all tasks of the needed jobs, `needs_jobs` the keys of those jobs. `stage` counts from 0.
    """

    id: str
    job: str
    name: str
    position: Position
    needs: tuple[str, ...]
    needs_jobs: tuple[str, ...]
    labels: tuple[str, ...]
    stage: int
    steps: tuple[Step, ...]
    if_: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    defaults: Defaults = Defaults()
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    matrix: Mapping[str, Json] = field(default_factory=dict[str, Json])
    strategy: Strategy = Strategy()
    timeout_minutes: float | Expr | None = None
    continue_on_error: bool | Expr = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run before it starts: jobs in an order in which needs come first."""

    file: str
    name: str
    run_name: str | None
    events: tuple[str, ...]
    inputs: Mapping[str, InputSpec]
    env: Mapping[str, str]
    defaults: Defaults
    jobs: tuple[PlannedJob, ...]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """The plan blob: everything that a worker must know of a run beside the source tree.

    `git` has sha, ref, ref_name, ref_type, repository, actor as far as known. `inputs` are typed as the workflow
    declares them (booleans and numbers stay such).
    """

    plan: Plan
    event: str
    payload: Mapping[str, Json]
    inputs: Mapping[str, Json]
    git: Mapping[str, str]
