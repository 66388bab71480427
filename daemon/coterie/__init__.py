"""Workflows on machines that trust each other: what a program in Python needs, imported when it is first used.

from coterie import Task, WorkflowEngine          # in this process
from coterie import task, workflow                # the same as decorated functions
from coterie import Client                        # in the daemon of this machine
"""

TYPE_CHECKING = False  # as checkers understand it; typing itself would be most of what this module costs

if TYPE_CHECKING:
    from coterie.client import Client
    from coterie.client_execution import Execution
    from coterie.client_run import Run, RunFailed
    from coterie.engine.context import ExecutionContext, current_context, heartbeat
    from coterie.engine.decorators import step, task, workflow
    from coterie.engine.definition import Result, Task, Workflow
    from coterie.engine.engine import WorkflowEngine
    from coterie.engine.error_classes import (
        ConfigurationFailure,
        ExitFailed,
        StepFailed,
        TemporaryFailure,
        ValidationFailure,
    )
    from coterie.engine.failures import Classifier
    from coterie.engine.model import InputSpec
    from coterie.engine.outcome import WorkflowFailed, WorkflowResult, WorkflowStatus
    from coterie.engine.planning.plan import ExecutionPlan
    from coterie.engine.retry import RetryConfig
    from coterie.engine.settings import EngineSettings
    from coterie.engine.steps.executor import StepCall, StepExecutor
    from coterie.engine.steps.factory import StepExecutorFactory

__all__ = [
    "Classifier",
    "Client",
    "ConfigurationFailure",
    "EngineSettings",
    "Execution",
    "ExecutionContext",
    "ExecutionPlan",
    "ExitFailed",
    "InputSpec",
    "Result",
    "RetryConfig",
    "Run",
    "RunFailed",
    "StepCall",
    "StepExecutor",
    "StepExecutorFactory",
    "StepFailed",
    "Task",
    "TemporaryFailure",
    "ValidationFailure",
    "Workflow",
    "WorkflowEngine",
    "WorkflowFailed",
    "WorkflowResult",
    "WorkflowStatus",
    "current_context",
    "heartbeat",
    "step",
    "task",
    "workflow",
]

_NAMES = {
    "coterie.client": ("Client",),
    "coterie.client_execution": ("Execution",),
    "coterie.client_run": ("Run", "RunFailed"),
    "coterie.engine.context": ("ExecutionContext", "current_context", "heartbeat"),
    "coterie.engine.decorators": ("step", "task", "workflow"),
    "coterie.engine.definition": ("Result", "Task", "Workflow"),
    "coterie.engine.engine": ("WorkflowEngine",),
    "coterie.engine.error_classes": (
        "ConfigurationFailure",
        "ExitFailed",
        "StepFailed",
        "TemporaryFailure",
        "ValidationFailure",
    ),
    "coterie.engine.failures": ("Classifier",),
    "coterie.engine.model": ("InputSpec",),
    "coterie.engine.outcome": ("WorkflowFailed", "WorkflowResult", "WorkflowStatus"),
    "coterie.engine.planning.plan": ("ExecutionPlan",),
    "coterie.engine.retry": ("RetryConfig",),
    "coterie.engine.settings": ("EngineSettings",),
    "coterie.engine.steps.executor": ("StepCall", "StepExecutor"),
    "coterie.engine.steps.factory": ("StepExecutorFactory",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # checkers and editors know the names from above, and would take any other for one of them

    def __getattr__(name: str) -> object:
        """The public name, imported now and kept."""
        from importlib import import_module

        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(module), name)
        return value


def __dir__() -> list[str]:
    """What completion offers."""
    return sorted({*globals(), *__all__})
