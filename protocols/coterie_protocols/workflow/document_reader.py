"""Reads a submission out of decoded JSON from a peer; every complaint is a BadMessage, every count is bounded."""

from collections.abc import Callable
from typing import Final, TypeVar, cast

from coterie_protocols.errors import BadMessage
from coterie_protocols.fields import Fields
from coterie_protocols.ops import LABELS_MAX, NEEDS_MAX, TASKS_MAX
from coterie_protocols.workflow.model import (
    Defaults,
    Expr,
    InputSpec,
    Json,
    Plan,
    PlannedJob,
    Position,
    Problem,
    Step,
    Strategy,
    Submission,
)
from coterie_protocols.workflow.steps import STEPS_MAX
from coterie_protocols.workflow.triggers import INPUT_TYPES, InputType

TEXT_CHARS_MAX: Final = 1024 * 1024
ENTRIES_MAX: Final = 10_000
COUNT_MAX: Final = 2**31
MINUTES_MAX: Final = 1e9

T = TypeVar("T")


def submission_untrusted(value: object) -> Submission:
    """The submission that a decoded JSON value holds. Raises BadMessage."""
    f = Fields(value, "submission")
    return Submission(
        plan=_plan(f.raw("plan")),
        event=f.text("event"),
        payload=_object(f, "payload"),
        inputs=_object(f, "inputs"),
        git=_texts(f, "git"),
    )


def _plan(value: object) -> Plan:
    f = Fields(value, "plan")
    bodies = f.items("bodies", TASKS_MAX, _body)
    jobs = f.items("jobs", TASKS_MAX, lambda item: _job(item, bodies))
    _check_order(jobs)
    return Plan(
        file=f.text("file", TEXT_CHARS_MAX),
        name=f.text("name", TEXT_CHARS_MAX),
        run_name=f.optional_text("run_name", TEXT_CHARS_MAX),
        events=f.texts("events", ENTRIES_MAX, TEXT_CHARS_MAX),
        inputs=dict(f.items("inputs", ENTRIES_MAX, lambda item: _pair(item, _input))),
        env=_texts(f, "env"),
        defaults=_defaults(f.raw("defaults")),
        jobs=jobs,
        warnings=f.items("warnings", ENTRIES_MAX, _problem),
    )


def _check_order(jobs: tuple[PlannedJob, ...]) -> None:
    earlier: set[str] = set()
    for job in jobs:
        if job.id in earlier or not earlier.issuperset(job.needs):
            raise BadMessage("plan: its jobs are not unique and in an order where needs come first")
        earlier.add(job.id)


def _body(value: object) -> PlannedJob:
    """What the cells of a matrix share, as a job whose own fields are still empty."""
    f = Fields(value, "job body")
    return PlannedJob(
        id="",
        job=f.text("job"),
        name="",
        position=_position(f.raw("position")),
        needs=f.texts("needs", NEEDS_MAX),
        needs_jobs=f.texts("needs_jobs", NEEDS_MAX),
        labels=(),
        stage=f.integer("stage", 0, TASKS_MAX),
        steps=f.items("steps", STEPS_MAX, _step),
        if_=f.optional_text("if", TEXT_CHARS_MAX),
        env=_texts(f, "env"),
        defaults=_defaults(f.raw("defaults")),
        outputs=_texts(f, "outputs"),
    )


def _job(value: object, bodies: tuple[PlannedJob, ...]) -> PlannedJob:
    f = Fields(value, "job")
    body = bodies[_index(f, len(bodies))]
    return PlannedJob(
        id=f.text("id"),
        job=body.job,
        name=f.text("name", TEXT_CHARS_MAX),
        position=body.position,
        needs=body.needs,
        needs_jobs=body.needs_jobs,
        labels=f.texts("labels", LABELS_MAX),
        stage=body.stage,
        steps=body.steps,
        if_=body.if_,
        env=body.env,
        defaults=body.defaults,
        outputs=body.outputs,
        matrix=dict(f.items("matrix", ENTRIES_MAX, lambda item: _pair(item, _json))),
        strategy=_strategy(f.raw("strategy")),
        timeout_minutes=_number(f, "timeout_minutes"),
        continue_on_error=_flag(f, "continue_on_error"),
    )


def _index(f: Fields, count: int) -> int:
    if not count:
        raise BadMessage("plan: a job without a body")
    return f.integer("body", 0, count - 1)


def _step(value: object) -> Step:
    f = Fields(value, "step")
    return Step(
        id=f.text("id"),
        position=_position(f.raw("position")),
        name=f.optional_text("name", TEXT_CHARS_MAX),
        run=f.optional_text("run", TEXT_CHARS_MAX),
        uses=f.optional_text("uses", TEXT_CHARS_MAX),
        with_=_texts(f, "with"),
        env=_texts(f, "env"),
        if_=f.optional_text("if", TEXT_CHARS_MAX),
        shell=f.optional_text("shell", TEXT_CHARS_MAX),
        working_directory=f.optional_text("working_directory", TEXT_CHARS_MAX),
        timeout_minutes=_number(f, "timeout_minutes"),
        continue_on_error=_flag(f, "continue_on_error"),
    )


def _input(value: object) -> InputSpec:
    f = Fields(value, "input")
    return InputSpec(
        type=cast(InputType, f.choice("type", INPUT_TYPES)),
        required=f.flag("required"),
        default=f.optional_text("default", TEXT_CHARS_MAX),
        options=f.texts("options", ENTRIES_MAX, TEXT_CHARS_MAX),
        description=f.text("description", TEXT_CHARS_MAX),
    )


def _list(value: object, length: int, what: str) -> list[object]:
    if not isinstance(value, list) or len(cast(list[object], value)) != length:
        raise BadMessage(f"{what}: not a list of {length}")
    return cast(list[object], value)


def _pair(value: object, read: Callable[[object], T]) -> tuple[str, T]:
    key, item = _list(value, 2, "pair")
    return _text(key), read(item)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise BadMessage(f"not a text of at most {TEXT_CHARS_MAX} characters")
    return value


def _texts(f: Fields, name: str) -> dict[str, str]:
    return dict(f.items(name, ENTRIES_MAX, lambda item: _pair(item, _text)))


def _json(value: object) -> Json:
    return cast(Json, value)  # it came out of the JSON decoder


def _object(f: Fields, name: str) -> dict[str, Json]:
    return f.mapping(name, ENTRIES_MAX, _json)


def _number(f: Fields, name: str) -> float | Expr | None:
    value = f.raw(name)
    if value is None:
        return None
    if isinstance(value, dict):
        return _expr(cast(object, value))
    f.number(name, -MINUTES_MAX, MINUTES_MAX)
    return cast(float, value)  # and not the float of it, as 5 is to stay 5


def _flag(f: Fields, name: str) -> bool | Expr:
    value = f.raw(name)
    return _expr(cast(object, value)) if isinstance(value, dict) else f.flag(name)


def _expr(value: object) -> Expr:
    return Expr(Fields(value, "expression").text("expr", TEXT_CHARS_MAX))


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _defaults(value: object) -> Defaults:
    shell, directory = _list(value, 2, "defaults")
    return Defaults(_optional(shell), _optional(directory))


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= COUNT_MAX:
        raise BadMessage("not a count")
    return value


def _position(value: object) -> Position:
    line, column = _list(value, 2, "position")
    return Position(_count(line), _count(column))


def _strategy(value: object) -> Strategy:
    fail_fast, index, total, parallel = _list(value, 4, "strategy")
    if type(fail_fast) is not bool:
        raise BadMessage("strategy: fail-fast is not true or false")
    return Strategy(fail_fast, _count(index), _count(total), _count(parallel))


def _problem(value: object) -> Problem:
    message, position, severity, holder = _list(value, 4, "problem")
    if severity not in ("error", "warning"):
        raise BadMessage("problem: unknown severity")
    return Problem(_text(message), _position(position), severity, None if holder is None else _position(holder))
