"""Reads `jobs`."""

from collections.abc import Mapping
from typing import Final

from coterie_protocols.ops import TASKS_MAX
from coterie_protocols.workflow import availability
from coterie_protocols.workflow.defaults import read_defaults
from coterie_protocols.workflow.model import Expr
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.step_ids import id_problem
from coterie_protocols.workflow.steps import read_steps
from coterie_protocols.workflow.workflow_file import JobFile, Need, StrategyFile
from coterie_protocols.workflow.yaml_nodes import Entry, Node, Scalar
from coterie_protocols.workflow.yaml_nodes import Mapping as MappingNode

_KEYS: Final = frozenset(
    [
        "name",
        "needs",
        "runs-on",
        "if",
        "env",
        "defaults",
        "outputs",
        "strategy",
        "timeout-minutes",
        "continue-on-error",
        "steps",
        "permissions",
        "cancel-timeout-minutes",
        "container",
        "services",
        "concurrency",
        "environment",
        "uses",
        "with",
        "secrets",
        "snapshot",
    ]
)
_REFUSED: Final[Mapping[str, str]] = {
    "container": "'container' (jobs run on the host)",
    "services": "'services' (jobs run on the host)",
    "concurrency": "'concurrency'",
    "environment": "'environment'",
    "uses": "A reusable workflow ('uses' of a job)",
    "snapshot": "'snapshot'",
    "cancel-timeout-minutes": "'cancel-timeout-minutes'",
}
_IGNORED: Final = "There are no tokens here: 'permissions' changes nothing"

Fields = Mapping[str, Entry]


def read_jobs(reading: Reading, node: Node) -> tuple[tuple[JobFile, ...], tuple[str, ...]]:
    """The jobs in the order of the file, and the keys of all, readable or not."""
    entries = reading.mapping(node)
    if not entries:
        if not reading.failed:
            reading.error(node, "The workflow must contain at least one job with no dependencies.")
        return (), ()
    if len(entries) > TASKS_MAX:
        reading.error(node, f"There are {len(entries)} jobs; a run can have {TASKS_MAX}. Split the workflow.")
        return (), ()
    jobs = [_job(reading, key, entry) for key, entry in entries.items()]
    return tuple(job for job in jobs if job is not None), tuple(entries)


def _job(reading: Reading, key: str, entry: Entry) -> JobFile | None:
    problem = id_problem(key)
    if not key:
        reading.error(entry.key, "Unexpected value ''")
    elif problem:
        reading.error(entry.key, problem)
    fields = reading.fields(entry.value, _KEYS)
    if _refused(reading, fields):
        return None
    if not isinstance(entry.value, MappingNode):
        return None
    if "runs-on" not in fields:
        reading.error(entry.value, "Required property is missing: runs-on")
        return None
    if "steps" not in fields:
        reading.warning(entry.key, f"Job '{key}' has no steps")
    return _typed_job(reading, key, entry, fields)


def _refused(reading: Reading, fields: Fields) -> bool:
    for name, feature in _REFUSED.items():
        if name in fields and not _is_empty(fields[name].value):
            reading.refuse(fields[name].key, feature)
    if "permissions" in fields:
        reading.warning(fields["permissions"].key, _IGNORED)
    if "uses" in fields:
        return True
    for name in ("with", "secrets"):
        if name in fields:
            reading.error(fields[name].key, f"Unexpected value '{name}': only a reusable workflow takes it")
    return False


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value in (None, "")


def _typed_job(reading: Reading, key: str, entry: Entry, fields: Fields) -> JobFile:
    cell = availability.CELL
    env, outputs, condition = fields.get("env"), fields.get("outputs"), fields.get("if")
    continue_on_error = _flag(reading, fields.get("continue-on-error"))
    return JobFile(
        key=key,
        position=entry.key.position,
        needs=_needs(reading, fields.get("needs")),
        runs_on=fields["runs-on"].value,
        steps=read_steps(reading, fields["steps"].value) if "steps" in fields else (),
        defaults=read_defaults(reading, fields.get("defaults"), availability.JOB_DEFAULTS),
        strategy=_strategy(reading, entry, fields.get("strategy")),
        name=reading.template(fields["name"].value, cell) if "name" in fields else None,
        if_=None if condition is None else reading.condition(condition.value, availability.JOB_IF),
        env={} if env is None else reading.templates(env.value, availability.JOB_ENV),
        outputs={} if outputs is None else reading.templates(outputs.value, availability.JOB_OUTPUTS),
        timeout_minutes=_minutes(reading, fields.get("timeout-minutes")),
        continue_on_error=continue_on_error,
    )


def _flag(reading: Reading, entry: Entry | None) -> bool | Expr:
    value = None if entry is None else reading.boolean(entry.value, availability.CELL)
    return False if value is None else value


def _minutes(reading: Reading, entry: Entry | None) -> float | Expr | None:
    return None if entry is None else reading.number(entry.value, availability.CELL)


def _needs(reading: Reading, entry: Entry | None) -> tuple[Need, ...]:
    if entry is None:
        return ()
    return tuple(Need(name, node.position) for name, node in reading.texts(entry.value))


def _strategy(reading: Reading, job: Entry, entry: Entry | None) -> StrategyFile:
    if entry is None:
        return StrategyFile(job.key.position)
    fields = reading.fields(entry.value, {"matrix", "fail-fast", "max-parallel"})
    scope = availability.STRATEGY
    fail_fast = reading.boolean(fields["fail-fast"].value, scope) if "fail-fast" in fields else None
    parallel = reading.number(fields["max-parallel"].value, scope) if "max-parallel" in fields else None
    if isinstance(parallel, int | float) and (parallel < 1 or parallel != int(parallel)):
        reading.error(fields["max-parallel"].value, "'max-parallel' must be a whole number of at least 1")
    return StrategyFile(
        position=entry.key.position,
        matrix=fields["matrix"].value if "matrix" in fields else None,
        fail_fast=True if fail_fast is None else fail_fast,
        max_parallel=0 if parallel is None else parallel,
    )
