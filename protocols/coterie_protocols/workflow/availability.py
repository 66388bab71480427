"""Which contexts and functions an expression may use, by the place where it stands.

Source: docs.github.com, "Contexts reference", the table of context availability.
"""

from dataclasses import dataclass, field
from typing import Final

from coterie_protocols.workflow.expressions.functions import ARGUMENTS_MAX
from coterie_protocols.workflow.expressions.parser import Arity


@dataclass(frozen=True, slots=True)
class Scope:
    """A place for expressions; `contexts` and `functions` are in lower case."""

    contexts: frozenset[str]
    functions: dict[str, Arity] = field(default_factory=dict[str, Arity])


_HASH_FILES: Final[dict[str, Arity]] = {"hashfiles": (1, ARGUMENTS_MAX)}
_STATUS_OF_JOBS: Final[dict[str, Arity]] = {
    "always": (0, 0),
    "cancelled": (0, 0),
    "success": (0, ARGUMENTS_MAX),
    "failure": (0, ARGUMENTS_MAX),
}
_STATUS_OF_STEPS: Final[dict[str, Arity]] = {
    "always": (0, 0),
    "cancelled": (0, 0),
    "success": (0, 0),
    "failure": (0, 0),
}
_RUN: Final = frozenset({"github", "inputs", "vars"})
_JOB: Final = _RUN | {"needs"}
_CELL: Final = _JOB | {"strategy", "matrix"}
_STEP: Final = _CELL | {"job", "runner", "env", "steps"}

RUN_NAME: Final = Scope(_RUN)
WORKFLOW_ENV: Final = Scope(_RUN | {"secrets"})
JOB_IF: Final = Scope(_JOB, _STATUS_OF_JOBS)
STRATEGY: Final = Scope(_JOB)
CELL: Final = Scope(_CELL)
"""name, runs-on, timeout-minutes and continue-on-error of a job."""
JOB_ENV: Final = Scope(_CELL | {"secrets"})
JOB_DEFAULTS: Final = Scope(_CELL | {"env"})
JOB_OUTPUTS: Final = Scope(_STEP | {"secrets"})
STEP: Final = Scope(_STEP | {"secrets"}, _HASH_FILES)
STEP_IF: Final = Scope(_STEP, {**_STATUS_OF_STEPS, **_HASH_FILES})
