"""How a function failed in a worker, as an exception here."""

from typing import Any

from coterie.engine.failures import ErrorClass, StepFailed


class FunctionFailed(StepFailed):
    """A function raised in a worker. Its own type is named like the exception there, for retries go by that too."""


def function_failed(failure: dict[str, Any]) -> FunctionFailed:
    """The exception for a `Failure.to_json()` that a worker sent."""
    kind: type[FunctionFailed] = type(str(failure["type"]), (FunctionFailed,), {"__module__": __name__})
    error_class: ErrorClass = failure["class"]
    return kind(str(failure["message"]), error_class, failure.get("retry_after_s"), str(failure["detail"]))
