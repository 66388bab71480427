"""Merge rules and arms of a step as the `if` of a job."""

from typing import Final, assert_never

from coterie.engine.model import StepSpec, WorkflowSpec

ALWAYS: Final = "always()"
"""When all needs have ended, whatever they came to: what that means for the step is said by what follows."""

NEEDS_SPELLED_MAX: Final = 32
"""Each takes up to 550 of the 21,000 characters that an expression may have."""


def job_condition(step: StepSpec, spec: WorkflowSpec) -> str:
    """The `if` of the job of a step that needs others, or reads what others returned.

    A rule over more needs than NEEDS_SPELLED_MAX is left out: the job then starts, finds the same from what its needs
    came to, and says that the step is skipped.
    """
    arms = [f"needs.{id_}.outputs.arm == {_text(arm)}" for id_, arm in step.arms.items()]
    return " && ".join([ALWAYS, *arms, *([] if _left_to_job(step) else _rule(step, spec))])


def _rule(step: StepSpec, spec: WorkflowSpec) -> list[str]:
    needs = tuple(dict.fromkeys(step.needs))
    saying = {each.id for each in spec.steps if each.if_ or _left_to_job(each)}
    completed = [_completed(need, need in saying) for need in needs]
    if not needs or step.merge == "ended":
        return []
    if len(needs) == 1:
        return completed
    match step.merge:
        case "all":
            return completed
        case "any" | "first":
            return [_any(completed)]
        case "none-failed":
            return [*(f"needs.{need}.result != '{end}'" for need in needs for end in _BAD), _any(completed)]
        case _:
            assert_never(step.merge)


_BAD: Final = ("failure", "cancelled")


def _left_to_job(step: StepSpec) -> bool:
    return len(step.needs) > NEEDS_SPELLED_MAX


def _completed(need: str, may_say: bool) -> str:
    """A tolerated failure has the result success, and so has a job that found that its step is skipped, and says so."""
    succeeded = f"needs.{need}.result == 'success'"
    return f"({succeeded} && needs.{need}.outputs.state != 'skipped')" if may_say else succeeded


def _any(terms: list[str]) -> str:
    return f"({' || '.join(terms)})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
