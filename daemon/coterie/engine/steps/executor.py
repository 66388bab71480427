"""What carries out steps of one type, and what it is given. Third parties write these too: keep it small."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel

from coterie.engine.context import ExecutionContext
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps.resources import Resources

Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class StepCall(Generic[Config]):
    """One attempt of one step. `config` is checked, its templates are evaluated.

    `results` maps the step's needs to what they returned, in the order of `needs`; steps that were skipped or failed
    (see Merge) are left out. `log` keeps a line of output. `progress` is a sign of life (heartbeat) and may say how far
    it got. The same `idempotency_key` comes with every attempt.
    """

    step: StepSpec
    config: Config
    results: Mapping[str, Json]
    context: ExecutionContext
    attempt: int
    idempotency_key: str
    log: Callable[[str], None]
    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a conditional step returns: the arm, and a value for those who need the step."""

    arm: str
    value: Json = None


@dataclass(frozen=True, slots=True)
class Expand:
    """What a map step returns first: one child is run for each of `items`; its result is the list of theirs."""

    items: list[Json]


class StepExecutor(ABC, Generic[Config]):
    """Carries out steps of one type. One instance serves one engine; `execute` runs for many steps at a time.

    `config_model` is what `config` of such a step must be. `raw_fields` names fields of it whose templates are not
    evaluated beforehand (nested steps, expressions that the executor evaluates by itself). `waits`: such steps wait for
    others and take no room of the engine meanwhile.
    """

    config_model: ClassVar[type[BaseModel]]
    raw_fields: ClassVar[frozenset[str]] = frozenset()
    waits: ClassVar[bool] = False

    def __init__(self, services: "Services") -> None:
        self.services = services

    @abstractmethod
    async def execute(self, call: StepCall[Config]) -> Json | Chosen | Expand:
        """Returns the step's result, as JSON. What it raises is classified by `failures.classify`.

        When cancelled it must have ended whatever it started before it lets the cancellation through.
        """

    @classmethod
    def problems(cls, step: StepSpec, config: BaseModel) -> list[str]:
        """What the model cannot see, each in one sentence: unknown functions, branches that name no step."""
        return []


class Services(Protocol):
    """What the engine does for executors."""

    def function(self, name: str) -> Callable[..., Any] | None:
        """The function registered under that name."""
        ...

    async def run_function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls it: async in this loop, sync in a bounded thread pool, with the execution context set."""
        ...

    @property
    def resources(self) -> Resources:
        """What executors share and the engine closes at its end."""
        ...

    async def ask(self, call: StepCall[Any], form: Mapping[str, Json], deadline_s: float | None) -> Json:
        """Keeps the question, and waits for an answer to it that fits the form (a JSON Schema).

        Raises TimeoutError at the deadline, which counts from the first time that it was asked.
        """
        ...

    async def wait_signal(self, call: StepCall[Any], name: str) -> Json:
        """The data of the next signal of that name that no step has had yet; one that was sent early counts."""
        ...

    async def wait_until(self, call: StepCall[Any], seconds: float) -> None:
        """Returns that long after the step's first start, also across restarts."""
        ...

    async def wait_execution(self, id_: str) -> Mapping[str, Json]:
        """Waits for the end of another execution; returns its id, state and outputs. Raises UserError if unknown."""
        ...

    async def run_workflow(self, call: StepCall[Any], workflow: Json, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Runs a workflow (its id, or its document) as an execution of its own that belongs to this one.

        The same one again on a later attempt. Returns its id, state and outputs. Cancelled together.
        """
        ...
