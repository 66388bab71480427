"""Makes the tasks of one job: a cell of its matrix each, with names, labels and limits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from coterie_protocols.ops import LABELS_MAX
from coterie_protocols.workflow import availability
from coterie_protocols.workflow.expressions.parser import parse_expression
from coterie_protocols.workflow.expressions.syntax import contexts_used
from coterie_protocols.workflow.expressions.template import OPEN, parts_of
from coterie_protocols.workflow.expressions.values import to_text
from coterie_protocols.workflow.matrix import ExpandedCell, MatrixProblem, expand_matrix
from coterie_protocols.workflow.model import Expr, Json, PlannedJob, Position, Strategy
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.static_values import NotStatic, StaticValues
from coterie_protocols.workflow.workflow_file import JobFile
from coterie_protocols.workflow.yaml_nodes import Mapping as MappingNode
from coterie_protocols.workflow.yaml_nodes import Node, descend

NAME_CHARS_MAX: Final = 100
LABEL_CHARS_MAX: Final = 256

_ONE_CELL: Final = (ExpandedCell({}, ()),)


@dataclass(frozen=True, slots=True)
class Cells:
    """The tasks of one job before their needs are known."""

    file: JobFile
    jobs: tuple[PlannedJob, ...]


def plan_cells(reading: Reading, job: JobFile, contexts: Mapping[str, Json]) -> Cells:
    """The tasks of `job`; complaints go to `reading`, and a job that cannot be planned has no tasks.

    `contexts` are those that are known before the run: github, inputs, vars.
    """
    try:
        expanded = _expanded(reading, job, contexts)
        fail_fast, parallel = _limits(reading, job, contexts)
    except NotStatic:
        return Cells(job, ())
    planned: list[PlannedJob] = []
    ids: set[str] = set()
    for place, cell in enumerate(expanded):
        strategy = Strategy(fail_fast, place, len(expanded), parallel)
        try:
            planned.append(_planned(reading, job, cell, strategy, contexts, ids))
        except NotStatic:
            break  # the next cell would have the same problem
    return Cells(job, tuple(planned))


def _expanded(reading: Reading, job: JobFile, contexts: Mapping[str, Json]) -> tuple[ExpandedCell, ...]:
    node = job.strategy.matrix
    if node is None:
        return _ONE_CELL
    try:
        cells = expand_matrix(StaticValues(reading, availability.STRATEGY, contexts).value(node))
    except MatrixProblem as problem:
        reading.error(descend(node, problem.path), str(problem))
        raise NotStatic from None
    if not cells:
        reading.error(node, "The matrix excludes all of its combinations")
        raise NotStatic
    return cells


def _limits(reading: Reading, job: JobFile, contexts: Mapping[str, Json]) -> tuple[bool, int]:
    strategy = job.strategy
    static = StaticValues(reading, availability.STRATEGY, contexts)
    fail_fast: Json = strategy.fail_fast if isinstance(strategy.fail_fast, bool) else None
    if isinstance(strategy.fail_fast, Expr):
        fail_fast = static.expression(strategy.fail_fast.source, strategy.position)
    parallel = _known_number(static, strategy.max_parallel, strategy.position)
    if not isinstance(fail_fast, bool):
        reading.error(strategy.position, "'fail-fast' must be true or false")
        raise NotStatic
    if not isinstance(parallel, int | float) or isinstance(parallel, bool) or not 0 <= parallel < math.inf:
        reading.error(strategy.position, "'max-parallel' must be a whole number of at least 1")
        raise NotStatic
    return fail_fast, int(parallel)


def _known_number(static: StaticValues, value: float | Expr, at: Position) -> Json:
    return static.expression(value.source, at) if isinstance(value, Expr) else value


def _planned(
    reading: Reading,
    job: JobFile,
    cell: ExpandedCell,
    strategy: Strategy,
    contexts: Mapping[str, Json],
    ids: set[str],
) -> PlannedJob:
    known = {**contexts, "matrix": dict(cell.values), "strategy": _strategy_context(strategy)}
    static = StaticValues(reading, availability.CELL, known)
    return PlannedJob(
        id=_unique(_titled(job.key, cell.segments), ids),
        job=job.key,
        name=_name(static, job, cell),
        position=job.position,
        needs=(),
        needs_jobs=(),
        labels=_labels(reading, static, job.runs_on),
        stage=0,
        steps=job.steps,
        if_=job.if_,
        env=job.env,
        defaults=job.defaults,
        outputs=job.outputs,
        matrix=cell.values,
        strategy=strategy,
        timeout_minutes=_timeout(reading, static, job),
        continue_on_error=_continue_on_error(reading, static, job),
    )


def _strategy_context(strategy: Strategy) -> dict[str, Json]:
    return {
        "fail-fast": strategy.fail_fast,
        "job-index": strategy.job_index,
        "job-total": strategy.job_total,
        "max-parallel": strategy.max_parallel or strategy.job_total,
    }


def _titled(name: str, segments: tuple[str, ...]) -> str:
    title = f"{name} ({', '.join(segments)})" if segments else name
    return title if len(title) <= NAME_CHARS_MAX else title[: NAME_CHARS_MAX - 3] + "..."


def _unique(title: str, taken: set[str]) -> str:
    candidate, attempt = title, 1
    while candidate in taken:
        attempt += 1
        candidate = f"{title} #{attempt}"
    taken.add(candidate)
    return candidate


def _name(static: StaticValues, job: JobFile, cell: ExpandedCell) -> str:
    """The display name: evaluated where it is a template that is known now, else followed by the cell's values."""
    if job.name and OPEN in job.name:
        if not _uses_needs(job.name):
            return to_text(static.template(job.name, job.position)) or job.key
        return _titled(job.key, cell.segments)
    return _titled(job.name or job.key, cell.segments)


def _uses_needs(template: str) -> bool:
    sources = [part.text for part in parts_of(template) if part.is_expression]
    return any("needs" in contexts_used(parse_expression(source)) for source in sources)


def _labels(reading: Reading, static: StaticValues, node: Node) -> tuple[str, ...]:
    """The labels, in lower case as they are compared without regard to case."""
    source = node
    if isinstance(node, MappingNode):
        fields = reading.fields(node, {"group", "labels"})
        if "group" in fields:
            reading.refuse(fields["group"].key, "A runner group ('group' of 'runs-on')")
        if "labels" not in fields:
            if "group" not in fields:
                reading.error(node, "Required property is missing: labels")
            raise NotStatic
        source = fields["labels"].value
    value = static.value(source)
    items = value if isinstance(value, list) else [value]
    labels = [to_text(item).strip().lower() for item in items if not isinstance(item, list | dict)]
    if len(labels) != len(items) or not all(labels) or not labels:
        reading.error(source, "'runs-on' must name a label or a list of labels")
        raise NotStatic
    if len(labels) > LABELS_MAX or any(len(label) > LABEL_CHARS_MAX for label in labels):
        reading.error(source, f"A job can ask for {LABELS_MAX} labels of {LABEL_CHARS_MAX} characters each")
        raise NotStatic
    return tuple(dict.fromkeys(labels))


def _timeout(reading: Reading, static: StaticValues, job: JobFile) -> float | Expr | None:
    value = job.timeout_minutes
    if isinstance(value, Expr):
        if "needs" in contexts_used(parse_expression(value.source)):
            return value
        result = static.expression(value.source, job.position)
    else:
        result = value
    if result is None or (isinstance(result, int | float) and not isinstance(result, bool) and result > 0):
        return result
    reading.error(job.position, "'timeout-minutes' must be a number greater than 0")
    raise NotStatic


def _continue_on_error(reading: Reading, static: StaticValues, job: JobFile) -> bool | Expr:
    value = job.continue_on_error
    if isinstance(value, bool) or "needs" in contexts_used(parse_expression(value.source)):
        return value
    result = static.expression(value.source, job.position)
    if isinstance(result, bool):
        return result
    reading.error(job.position, "'continue-on-error' must be true or false")
    raise NotStatic
