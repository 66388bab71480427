"""Steps that wait: `type: wait`."""

from datetime import UTC, datetime
from typing import ClassVar, Final

import anyio
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from coterie.engine.failures import ValidationFailure
from coterie.engine.model import Json
from coterie.engine.quantities import Duration, PositiveDuration
from coterie.engine.steps.executor import StepCall, StepExecutor

_KINDS: Final = ("seconds", "duration", "until", "signal", "execution")


class WaitConfig(BaseModel):
    """How a `wait` step is configured: exactly one of seconds, duration, until, signal, execution."""

    model_config = ConfigDict(extra="forbid")

    seconds: float | None = Field(None, ge=0, allow_inf_nan=False, description="How long, in seconds.")
    duration: Duration | None = Field(None, description="How long: 30s, 1h30m.")
    until: AwareDatetime | None = Field(None, description="A time with its zone (RFC 3339): 2027-01-31T08:00:00Z.")
    signal: str | None = Field(None, min_length=1, description="The name of a signal to this run.")
    execution: str | None = Field(None, min_length=1, description="The id of another run; its end is waited for.")
    deadline: PositiveDuration | None = Field(
        None, description="How long a signal is waited for before the step fails."
    )

    @model_validator(mode="after")
    def _one(self) -> "WaitConfig":
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            told = " and ".join(f"'{kind}'" for kind in given) + " are given; " if given else ""
            raise ValueError(f"{told}exactly one of {', '.join(_KINDS)} must be")
        if self.deadline is not None and self.signal is None:
            raise ValueError("'deadline' is for a signal alone: give the step a 'timeout'")
        return self


class WaitExecutor(StepExecutor[WaitConfig]):
    """Waits, across restarts. Returns a signal's data, another run's id, state and outputs, or nothing."""

    config_model: ClassVar[type[BaseModel]] = WaitConfig
    waits: ClassVar[bool] = True

    async def execute(self, call: StepCall[WaitConfig]) -> Json:
        """Raises ValidationFailure for a signal that did not come, UserError for a run that there is not."""
        config = call.config
        if config.signal is not None:
            return await self._signal(call, config.signal)
        if config.execution is not None:
            return dict(await self.services.wait_execution(config.execution))
        await self.services.wait_until(call, _seconds(config))
        return None

    async def _signal(self, call: StepCall[WaitConfig], name: str) -> Json:
        if call.config.deadline is None:
            return await self.services.wait_signal(call, name)
        race = _Race(self, call, name)
        return await race.run(call.config.deadline)


class _Race:
    """A signal against its deadline, which counts from the step's first start, also across restarts."""

    def __init__(self, executor: WaitExecutor, call: StepCall[WaitConfig], name: str) -> None:
        self._services = executor.services
        self._call = call
        self._name = name
        self._came: list[Json] = []

    async def run(self, deadline_s: float) -> Json:
        async with anyio.create_task_group() as racers:
            racers.start_soon(self._signal, racers.cancel_scope)
            await self._services.wait_until(self._call, deadline_s)
            racers.cancel_scope.cancel()
        if not self._came:
            raise ValidationFailure(f"no signal '{self._name}' came within {deadline_s:g} s", detail="")
        return self._came[0]

    async def _signal(self, scope: anyio.CancelScope) -> None:
        self._came.append(await self._services.wait_signal(self._call, self._name))
        scope.cancel()


def _seconds(config: WaitConfig) -> float:
    if config.until is not None:
        return max(0.0, (config.until - datetime.now(UTC)).total_seconds())
    return config.seconds or config.duration or 0.0
