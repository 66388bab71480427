"""What a workflow of the engine is: steps and how they hang together, as plain data.

The Python API and `coterie: 1` files both produce a `WorkflowSpec`; planner, engine, store and API know nothing else.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from coterie.engine.retry import NO_RETRY, RetryConfig

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict."""

StepState = Literal["pending", "ready", "running", "completed", "failed", "skipped", "cancelled"]
"""pending: needs have not ended, or a try is waited for; ready: waits for room; the last four are final."""

RunState = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
"""Of an execution. pending: accepted, not begun; the last three are final."""

STEP_ENDED: Final[frozenset[StepState]] = frozenset({"completed", "failed", "skipped", "cancelled"})
RUN_ENDED: Final[frozenset[RunState]] = frozenset({"completed", "failed", "cancelled"})

Merge = Literal["none-failed", "all", "any", "first", "ended"]
"""When a step with several needs runs; else it is skipped, with the reason told.

none-failed (the default): all have ended, none failed or was cancelled, and at least one completed, so that a join
after a branch runs when one arm did. all: all completed. any: all have ended and at least one completed. first: as
soon as one completed. ended: all have ended, whatever they came to. A tolerated failure counts as completed, and so
does a step that a person skipped.
"""

PRIORITY_NORMAL: Final = 3.0


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step. Times are seconds, None is without limit; `config` is checked by the executor of its `type`.

    `arms` names conditional steps (also in `needs`) and the arm of each that must have been chosen. `if_` is an
    expression. `priority`: lower is sooner. `resources`: amounts taken from the engine's while it runs (cpu in cores,
    memory and disk in bytes, others as the engine names them). Steps with one `key` run one at a time. `tolerated`: its
    failure counts as completed. `compensate` undoes it when the run fails later. `line` is its place in a file, or 0.
    """

    id: str
    type: str
    needs: tuple[str, ...] = ()
    name: str = ""
    config: Mapping[str, Json] = field(default_factory=dict[str, Json])
    merge: Merge = "none-failed"
    arms: Mapping[str, str] = field(default_factory=dict[str, str])
    if_: str = ""
    retry: RetryConfig = NO_RETRY
    timeout_s: float | None = None
    total_timeout_s: float | None = None
    queue_timeout_s: float | None = None
    heartbeat_timeout_s: float | None = None
    priority: float = PRIORITY_NORMAL
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    key: str = ""
    tolerated: bool = False
    compensate: "StepSpec | None" = None
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A value that the submitter gives. `type` is a JSON Schema type; `options`, where any, are all that it may be."""

    name: str
    type: Literal["string", "number", "integer", "boolean", "object", "array"] = "string"
    required: bool = False
    default: Json = None
    description: str = ""
    options: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A workflow. `max_parallel` bounds its running steps (0: the engine's limit alone bounds them).

    `outputs` maps names to templates. `fail_fast`: the first failure stops what runs. `timeout_s` bounds a whole run.
    """

    id: str
    name: str = ""
    steps: tuple[StepSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    variables: Mapping[str, Json] = field(default_factory=dict[str, Json])
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    max_parallel: int = 0
    fail_fast: bool = False
    timeout_s: float | None = None
    priority: float = PRIORITY_NORMAL


def plan_hash(document: Mapping[str, Json]) -> str:
    """The name of a plan: SHA-256, in hex, of the canonical JSON of its document (see spec_document.py)."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def canonical_json(value: Json) -> bytes:
    """Sorted keys, no blanks, UTF-8. Raises TypeError for what is no JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
