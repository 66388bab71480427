"""Steps that run another step for each item of a list: `type: map`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

from pydantic import BaseModel, ConfigDict, Field

from coterie.engine.failures import ValidationFailure
from coterie.engine.model import Json, StepSpec
from coterie.engine.planning.spec_document import CHILD, nested_step
from coterie.engine.steps.executor import Expand, StepCall, StepExecutor
from coterie_protocols.errors import InvalidWorkflow

ITEMS_MAX: Final = 100_000
NESTED_MAX: Final = 5
"""How deep maps may stand in each other."""

_CHILD_PREFIX: Final = f"step '{CHILD}': "


class MapConfig(BaseModel):
    """How a `map` step is configured."""

    model_config = ConfigDict(extra="forbid")

    items: list[Any] = Field(description="One child is run for each; `${{ item }}` and `${{ index }}` in the step.")
    step: dict[str, Any] = Field(description="The step that is run, without needs of its own.")
    max_parallel: int = Field(0, ge=0, description="How many children run at a time; 0 is up to the engine.")
    items_max: int = Field(ITEMS_MAX, ge=1, le=ITEMS_MAX, description="More items than this are refused.")


class MapExecutor(StepExecutor[MapConfig]):
    """Says what its children work on. The step's result is the list of theirs, in the order of the items."""

    config_model: ClassVar[type[BaseModel]] = MapConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"step"})

    async def execute(self, call: StepCall[MapConfig]) -> Expand:
        """The items. Raises ValidationFailure for too many."""
        config = call.config
        if len(config.items) > config.items_max:
            raise ValidationFailure(f"there are {len(config.items)} items; the limit is {config.items_max} (items_max)")
        return Expand(config.items)

    @classmethod
    def problems(cls, step: StepSpec, config: BaseModel) -> list[str]:
        """What is wrong with the step for each item."""
        assert isinstance(config, MapConfig)
        from coterie.engine.steps.factory import StepExecutorFactory

        if _depth(config.step) > NESTED_MAX:
            return [f"maps stand in each other more than {NESTED_MAX} deep"]
        try:
            child = nested_step(config.step)
        except InvalidWorkflow as error:
            return [f"its step: {line.removeprefix(_CHILD_PREFIX)}" for line in error.message.splitlines()]
        if child.needs:
            return ["its step: 'needs' has no place there: give the map step the needs"]
        return [f"its step: {problem.message}" for problem in StepExecutorFactory.problems(child)]


def _depth(step: Mapping[str, Json]) -> int:
    depth = 0
    inner: Json = step
    while isinstance(inner, Mapping) and depth <= NESTED_MAX:
        config = cast(Mapping[str, Json], inner).get("config")
        inner = cast(Mapping[str, Json], config).get("step") if isinstance(config, Mapping) else None
        depth += 1
    return depth
