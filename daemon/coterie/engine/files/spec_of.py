"""Makes the engine's form of a workflow out of a file's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from coterie.engine.files.file_model import ChildFile, ResourcesFile, RetryFile, StepFile, WorkFile, WorkflowHead
from coterie.engine.model import InputSpec, Json, StepSpec, WorkflowSpec
from coterie.engine.planning.spec_document import spec_to_json
from coterie.engine.retry import NO_RETRY, RETRYABLE, RetryConfig
from coterie_protocols.workflow.model import Position

NOWHERE: Final = Position(0, 0)
CONDITIONAL: Final = "conditional"


def workflow_spec(file: WorkflowHead, id_: str, steps: tuple[StepSpec, ...]) -> WorkflowSpec:
    """The workflow of a file, with its steps."""
    return WorkflowSpec(
        id=id_,
        name=file.name,
        steps=steps,
        inputs=tuple(
            InputSpec(name)
            if one is None
            else InputSpec(name, one.type, one.required, one.default, one.description, tuple(one.options))
            for name, one in file.inputs.items()
        ),
        variables=file.variables,
        outputs=file.outputs,
        max_parallel=file.max_parallel,
        fail_fast=file.fail_fast,
        timeout_s=file.timeout,
        priority=float(file.priority),
    )


def step_spec(
    id_: str,
    file: StepFile,
    config: Mapping[str, Json],
    arms: Mapping[str, str],
    position: Position = NOWHERE,
    undo_config: Mapping[str, Json] | None = None,
) -> StepSpec:
    """A step. `arms` are those of conditional steps that name it in a `then`: it needs these steps too.

    `config` has the fields that belong to its type, `undo_config` those of its compensation.
    """
    needs = (file.needs,) if isinstance(file.needs, str) else tuple(file.needs)
    undo = file.compensate
    return StepSpec(
        id=id_,
        needs=(*needs, *(chooser for chooser in arms if chooser not in needs)),
        merge=file.merge,
        arms=arms,
        if_=file.if_,
        compensate=None if undo is None else compensation(id_, undo, undo_config or own_fields(undo), position),
        line=position.line,
        column=position.column,
        **_child(file, config),
    )


def child_document(file: ChildFile, config: Mapping[str, Json]) -> dict[str, Json]:
    """The step that a map runs for each item, as its configuration holds it."""
    spec = WorkflowSpec("map", steps=(StepSpec(id="child", **_child(file, config)),))
    document: dict[str, Json] = spec_to_json(spec)["steps"][0]
    return {name: value for name, value in document.items() if name != "id"}


def compensation(id_: str, file: WorkFile, config: Mapping[str, Json], position: Position = NOWHERE) -> StepSpec:
    """The step that undoes another."""
    return StepSpec(
        id=f"{id_}-undo",
        needs=(id_,),
        line=position.line,
        column=position.column,
        **_work(file, config),
    )


def own_fields(file: WorkFile) -> dict[str, Json]:
    """The fields that belong to the type of the step."""
    return dict(file.model_extra or {})


def _work(file: WorkFile, config: Mapping[str, Json]) -> dict[str, Any]:
    return {
        "type": file.type,
        "name": file.name,
        "config": config,
        "timeout_s": file.timeout,
        "total_timeout_s": file.total_timeout,
        "retry": _retry(file.retry),
    }


def _child(file: ChildFile, config: Mapping[str, Json]) -> dict[str, Any]:
    return {
        **_work(file, config),
        "queue_timeout_s": file.queue_timeout,
        "heartbeat_timeout_s": file.heartbeat_timeout,
        "priority": float(file.priority),
        "resources": _amounts(file.resources),
        "key": file.key,
        "tolerated": file.continue_on_error,
    }


def _retry(file: int | RetryFile | None) -> RetryConfig:
    """Raises BadRetryConfig."""
    if file is None:
        return NO_RETRY
    if isinstance(file, int):
        return RetryConfig(max_attempts=file)
    return RetryConfig(
        max_attempts=file.max_attempts,
        base_delay=file.base_delay,
        max_delay=file.max_delay,
        exponential_base=float(file.exponential_base),
        jitter=file.jitter,
        retryable_errors=RETRYABLE if file.retryable_errors is None else frozenset(file.retryable_errors),
    )


def _amounts(file: ResourcesFile | None) -> dict[str, float]:
    if file is None:
        return {}
    amounts = {"cpu": file.cpu, "memory": file.memory, "disk": file.disk, **(file.model_extra or {})}
    return {name: float(amount) for name, amount in amounts.items() if amount is not None}


@dataclass(frozen=True, slots=True)
class ThenEntry:
    """One entry of a `then`: the conditional step, the place and the name of the branch, the place in it, the step."""

    chooser: str
    branch: int
    arm: str
    index: int
    step: str


def then_entries(steps: Mapping[str, Any]) -> list[ThenEntry]:
    """What the branches of all conditional steps of a file name."""
    return [
        ThenEntry(chooser, place, str(branch.get("name")), index, id_)
        for chooser, step in steps.items()
        for place, branch in enumerate(_branches(step))
        for index, id_ in enumerate(_then(branch))
        if isinstance(id_, str)
    ]


def _then(branch: Mapping[str, Any]) -> list[Any]:
    return branch["then"] if isinstance(branch.get("then"), list) else []


def _branches(step: Any) -> list[Mapping[str, Any]]:
    if not isinstance(step, Mapping) or cast(Mapping[str, Any], step).get("type") != CONDITIONAL:
        return []
    given = cast(Mapping[str, Any], step)
    items: list[Any] = given["branches"] if isinstance(given.get("branches"), list) else []
    return [cast(Mapping[str, Any], branch) if isinstance(branch, Mapping) else {} for branch in items]
