"""How an engine works on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Limits of one engine. Times are seconds, sizes bytes; `env` is what steps see of this machine's environment.

    `resources` is what steps may take together (StepSpec.resources). `queue_max` bounds executions that have not ended:
    one more is answered with QueueFull. `isolate_functions`: Python functions run in processes of their own, imported
    from the execution's source tree, and not in this one. `work_dir` holds workspaces of executions.
    """

    max_concurrent_tasks: int = 10
    threads_max: int = 10
    queue_max: int = 1000
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    ageing_s: float = 60.0
    grace_s: float = 5.0
    result_inline_bytes_max: int = 64 * 1024
    result_bytes_max: int = 64 * 1024 * 1024
    output_bytes_max: int = 16 * 1024 * 1024
    isolate_functions: bool = False
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    work_dir: Path | None = None
