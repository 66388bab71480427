"""Steps that choose a branch: `type: conditional`."""

from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from coterie.engine.failures import ConfigurationFailure
from coterie.engine.steps.executor import Chosen, StepCall, StepExecutor
from coterie.engine.templates import condition_problem, contexts, evaluate_condition
from coterie_protocols.workflow.expressions import ExpressionError, to_boolean

BRANCHES_MAX: Final = 100
NO_ARM: Final = ""
"""What is chosen where no branch holds and none is the default: the steps of all arms are skipped."""


def _text_of(value: object) -> object:
    """YAML reads `if: true` as a boolean."""
    return str(value).lower() if isinstance(value, bool) else value


class Branch(BaseModel):
    """One arm."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, description="The name of the arm.")
    if_: Annotated[str, BeforeValidator(_text_of)] | None = Field(
        None, alias="if", description="An expression; without one it is the default arm."
    )
    then: list[str] = Field(default_factory=list, description="The ids of the steps that run if it is chosen.")

    @field_validator("if_")
    @classmethod
    def _readable(cls, condition: str | None) -> str | None:
        problem = condition_problem(condition or "")
        if problem:
            raise ValueError(problem)
        return condition


class ConditionalConfig(BaseModel):
    """How a `conditional` step is configured."""

    model_config = ConfigDict(extra="forbid")

    branches: list[Branch] = Field(
        min_length=1, max_length=BRANCHES_MAX, description="Tried in their order; the first that holds is chosen."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ConditionalConfig":
        names = [branch.name for branch in self.branches]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two branches are named '{twice[0]}'")
        for branch in self.branches[:-1]:
            if branch.if_ is None:
                raise ValueError(f"the branch '{branch.name}' has no 'if': only the last may be the default")
        return self


class ConditionalExecutor(StepExecutor[ConditionalConfig]):
    """Chooses the first branch that holds; its result is the name of the arm."""

    config_model: ClassVar[type[BaseModel]] = ConditionalConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"branches"})

    async def execute(self, call: StepCall[ConditionalConfig]) -> Chosen:
        """The chosen arm. Raises ConfigurationFailure for an expression that cannot be evaluated."""
        known = contexts(call.context, call.results)
        for branch in call.config.branches:
            try:
                chosen = branch.if_ is None or to_boolean(evaluate_condition(branch.if_, known))
            except ExpressionError as error:
                raise ConfigurationFailure(f"the branch '{branch.name}': {error.message}", detail="") from None
            if chosen:
                return Chosen(branch.name, branch.name)
        return Chosen(NO_ARM, NO_ARM)
