"""The options of `@task` as type checkers see them; their meaning is told at `TaskOptions`."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from coterie.engine.model import Merge
from coterie.engine.retry import RetryConfig


class TaskWords(TypedDict, total=False):
    """Keyword arguments of `@task` and `TaskFunction.options`."""

    timeout: float | None
    total_timeout: float | None
    queue_timeout: float | None
    heartbeat_timeout: float | None
    max_retries: int | None
    retry: RetryConfig | None
    priority: float
    resources: Mapping[str, float]
    key: str
    merge: Merge
    continue_on_error: bool
    compensate: str | Callable[..., Any] | None
