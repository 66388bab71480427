"""What an `ai` step may use up, and what it has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coterie.engine.failures import StepFailed
from coterie.engine.model import Json

CHARS_PER_TOKEN: Final = 3
"""For servers that do not count: English has about four, and a budget is better kept than used to its end."""


class BudgetUsedUp(StepFailed):
    """The step may not ask again; another try would not be allowed to either."""

    def __init__(self, message: str) -> None:
        super().__init__(f"the budget of the step is used up: {message}", "configuration", detail="")


class Budget(BaseModel):
    """Limits of one step, over all its requests and tries."""

    model_config = ConfigDict(extra="forbid")

    max_requests: int | None = Field(None, ge=1, description="Requests, those for a better answer included.")
    max_tokens_total: int | None = Field(None, ge=1, description="Tokens of questions and answers together.")
    max_cost: float | None = Field(None, gt=0, description="Cost, in the currency of the prices.")
    price_per_1k_input: float = Field(0.0, ge=0, description="Price of 1,000 tokens of questions.")
    price_per_1k_output: float = Field(0.0, ge=0, description="Price of 1,000 tokens of answers.")

    @model_validator(mode="after")
    def _priced(self) -> "Budget":
        if self.max_cost is not None and not (self.price_per_1k_input or self.price_per_1k_output):
            raise ValueError("'max_cost' needs 'price_per_1k_input' or 'price_per_1k_output'")
        return self


@dataclass(slots=True)
class Used:
    """What one step has used so far. `estimated`: a server did not count, so it was counted by length."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Of questions and answers."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, usage: Json, prompt_chars: int, answer_chars: int) -> None:
        """One request's use: as the server says, or else by the lengths."""
        counts = _counts(usage)
        if counts is None:
            self.estimated = True
            counts = tokens_of(prompt_chars), tokens_of(answer_chars)
        self.prompt_tokens += counts[0]
        self.completion_tokens += counts[1]

    def cost(self, budget: Budget) -> float:
        """In the currency of the prices."""
        output = self.completion_tokens * budget.price_per_1k_output
        return (self.prompt_tokens * budget.price_per_1k_input + output) / 1000

    def check(self, budget: Budget, prompt_chars: int) -> None:
        """Raises BudgetUsedUp where a request of that length has no room left."""
        if budget.max_requests is not None and self.requests >= budget.max_requests:
            raise BudgetUsedUp(f"{self.requests} of {budget.max_requests} requests")
        ahead = tokens_of(prompt_chars)
        if budget.max_tokens_total is not None and self.total_tokens + ahead >= budget.max_tokens_total:
            raise BudgetUsedUp(
                f"{self.total_tokens} of {budget.max_tokens_total} tokens, and the next question has about {ahead}"
            )
        cost = self.cost(budget) + ahead * budget.price_per_1k_input / 1000
        if budget.max_cost is not None and cost >= budget.max_cost:
            raise BudgetUsedUp(f"{self.cost(budget):g} of {budget.max_cost:g}, and the next question costs some too")

    def tokens_left(self, budget: Budget, prompt_chars: int) -> int | None:
        """How long the next answer may be, in tokens; None without a limit."""
        ahead = tokens_of(prompt_chars)
        limits: list[float] = []
        if budget.max_tokens_total is not None:
            limits.append(budget.max_tokens_total - self.total_tokens - ahead)
        if budget.max_cost is not None and budget.price_per_1k_output:
            left = budget.max_cost - self.cost(budget) - ahead * budget.price_per_1k_input / 1000
            limits.append(left * 1000 / budget.price_per_1k_output)
        return max(1, int(min(limits))) if limits else None

    def to_json(self, budget: Budget | None) -> dict[str, Json]:
        """As the step's result tells it."""
        told: dict[str, Json] = {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "estimated": self.estimated,
        }
        if budget is not None and (budget.price_per_1k_input or budget.price_per_1k_output):
            told["cost"] = round(self.cost(budget), 6)
        return told


def tokens_of(chars: int) -> int:
    """About how many tokens a text of that length has."""
    return -(-chars // CHARS_PER_TOKEN)


def _counts(usage: Json) -> tuple[int, int] | None:
    if not isinstance(usage, Mapping):
        return None
    counted = cast(Mapping[str, Any], usage)
    prompt, completion = counted.get("prompt_tokens"), counted.get("completion_tokens", 0)
    if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
        return None
    return prompt, completion
