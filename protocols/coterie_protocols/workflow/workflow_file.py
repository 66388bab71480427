"""A workflow file as written, checked but not yet planned: what the parser hands to the planner."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coterie_protocols.workflow.model import Defaults, Expr, InputSpec, Position, Step
from coterie_protocols.workflow.yaml_nodes import Node


@dataclass(frozen=True, slots=True)
class Need:
    """One entry of `needs`."""

    job: str
    position: Position


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """`strategy` of a job; `matrix` is the node as written."""

    position: Position
    matrix: Node | None = None
    fail_fast: bool | Expr = True
    max_parallel: float | Expr = 0


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job as written."""

    key: str
    position: Position
    needs: tuple[Need, ...]
    runs_on: Node
    steps: tuple[Step, ...]
    defaults: Defaults
    strategy: StrategyFile
    name: str | None = None
    if_: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout_minutes: float | Expr | None = None
    continue_on_error: bool | Expr = False


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A workflow as written.

    `events` are the names that it listens to, `job_keys` those of all jobs, also of such that could not be read.
    """

    name: str | None
    run_name: str | None
    events: tuple[str, ...]
    inputs: Mapping[str, InputSpec]
    env: Mapping[str, str]
    defaults: Defaults
    jobs: tuple[JobFile, ...]
    job_keys: tuple[str, ...]
