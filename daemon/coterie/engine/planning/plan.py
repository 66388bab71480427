"""Plans a workflow: what is wrong with it, all at once, or in what order its steps can run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from coterie.engine.model import Json, StepSpec, WorkflowSpec
from coterie.engine.planning import plan_checks as checks
from coterie.engine.planning.bulk import collection_paused
from coterie.engine.planning.plan_order import Batch, Edges, batches_of, edges_of
from coterie.engine.planning.spec_document import spec_to_bytes
from coterie.engine.planning.spec_problems import InvalidSpec, SpecProblem
from coterie.engine.planning.spec_values import are_identifiers
from coterie.engine.planning.step_rows import said_by

SCHEMA: Final = "coterie.execution-plan/1"


@dataclass(frozen=True, slots=True)
class Widest:
    """The batch with the most steps: its place (from 0) and how many they are."""

    batch: int
    steps: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a run may take, in seconds: step after step; with room for all; with so many `workers`."""

    workers: int
    sequential_s: float
    critical_s: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """A workflow that can run. It holds its steps and their positions in batches; all else is worked out when asked.

    Batches are for people: a step starts when what it needs has ended, and waits for no batch.
    """

    spec: WorkflowSpec
    order: tuple[Batch, ...]
    estimates: Mapping[str, float] | None = None
    _known: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    @property
    def batches(self) -> tuple[tuple[str, ...], ...]:
        """The ids, by the length of the longest chain of needs before them; in a batch in the order of the workflow."""
        steps = self.spec.steps
        return tuple(tuple([steps[position].id for position in batch]) for batch in self.order)

    @property
    def widest(self) -> Widest:
        """The first of the batches with the most steps."""
        sizes = [len(batch) for batch in self.order]
        size = max(sizes, default=0)
        return Widest(sizes.index(size) if sizes else 0, size)

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.spec.steps)

    @property
    def edges(self) -> int:
        """How many needs; one that a step names twice is one."""
        return sum(len(set(step.needs)) if len(step.needs) > 1 else len(step.needs) for step in self.spec.steps)

    @property
    def plan_hash(self) -> str:
        """The name of the plan: see `model.plan_hash`. Raises InvalidSpec where a config is no JSON."""
        import hashlib

        if "hash" not in self._known:
            self._known["hash"] = hashlib.sha256(spec_to_bytes(self.spec)).hexdigest()
        return str(self._known["hash"])

    @property
    def critical_path(self) -> tuple[str, ...]:
        """The chain of needs that takes longest, by `estimates` where there are any, else by the number of steps."""
        return tuple(self.spec.steps[position].id for position in self._critical()[0])

    def estimated_s(self, workers: int) -> Estimate | None:
        """What a run may take with so many steps at a time; None without `estimates`. Steps without one count 0.

        Steps start in the order of the workflow as soon as they can: at most (2 - 1/workers) times the best possible.
        Source: R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969.
        """
        if self.estimates is None:
            return None
        if workers < 1:
            raise ValueError("at least one worker is needed")
        costs = self._costs()
        return Estimate(workers, sum(costs), self._critical()[1], _elapsed(costs, self._edges(), workers))

    def to_json(self, workers: int = 1) -> dict[str, Json]:
        """The plan for scripts; keys are only added. `workers` is what its estimate is for."""
        widest, estimate = self.widest, self.estimated_s(workers)
        document: dict[str, Json] = {
            "schema": SCHEMA,
            "workflow": self.spec.id,
            "name": self.spec.name or self.spec.id,
            "plan_hash": self.plan_hash,
            "steps": self.steps,
            "edges": self.edges,
            "batches": [list(batch) for batch in self.batches],
            "widest": {"batch": widest.batch, "steps": widest.steps},
            "critical_path": list(self.critical_path),
            "needs": {step.id: list(dict.fromkeys(step.needs)) for step in self.spec.steps if step.needs},
        }
        if estimate is not None:
            document["estimate"] = {
                "workers": estimate.workers,
                "sequential_s": estimate.sequential_s,
                "critical_s": estimate.critical_s,
                "elapsed_s": estimate.elapsed_s,
            }
        return document

    def _costs(self) -> list[float]:
        estimates = self.estimates
        if estimates is None:
            return [1.0] * self.steps
        return [estimates.get(step.id, 0.0) for step in self.spec.steps]

    def _edges(self) -> Edges:
        steps = self.spec.steps
        return edges_of([step.needs for step in steps], [step.id for step in steps])

    def _critical(self) -> tuple[list[int], float]:
        if "critical" not in self._known:
            self._known["critical"] = _longest(self._costs(), self._edges().dependents, self.order)
        found: tuple[list[int], float] = self._known["critical"]
        return found


def make_plan(
    spec: WorkflowSpec,
    *,
    known_types: Collection[str] | None = None,
    check_step: checks.CheckStep | None = None,
    estimates: Mapping[str, float] | None = None,
    file: str = "",
) -> ExecutionPlan:
    """The plan of a workflow. Raises InvalidSpec (an InvalidWorkflow) with every problem at once.

    `known_types` are the step types that can be carried out (None: any). `check_step` says in sentences what is wrong
    with the `config` of a step; it is asked for compensations too. `estimates` are seconds by step id. `file` stands
    before the line in messages.
    """
    problems = checks.head_problems(spec)
    with collection_paused():
        batches = _planned(spec, problems, known_types)
    if check_step is not None:
        problems += checks.step_problems((*spec.steps, *checks.compensations(spec.steps)), check_step)
    if problems:
        raise InvalidSpec(problems, file)
    return ExecutionPlan(spec, tuple(batches), estimates)


def _planned(spec: WorkflowSpec, problems: list[SpecProblem], known_types: Collection[str] | None) -> list[Batch]:
    steps = spec.steps
    ids: list[str] = list(map(attrgetter("id"), steps))
    needs: Sequence[Collection[str]] = list(map(attrgetter("needs"), steps))
    said = said_by(steps)
    edges = _edges(steps, ids, needs, problems)
    if len(edges.dependents) < len(ids) or not (said.sound or are_identifiers(ids)):
        problems += checks.id_problems(steps, ids)
        edges = _of_first(ids, edges)
    problems += checks.field_problems(steps, said, known_types)
    if "arms" in said.fields:
        problems += checks.arm_problems(steps, _index(ids))
    if "compensate" in said.fields:
        problems += checks.compensation_problems(steps, known_types)
    batches = batches_of(edges)
    if sum(map(len, batches)) < len(ids):
        stuck = sorted(set(range(len(ids))).difference(*batches))
        problems += checks.self_need_problems(steps[position] for position in stuck)
        problems += checks.cycle_problems(steps, stuck, _index(ids))
    return batches


def _index(ids: Sequence[str]) -> dict[str, int]:
    """The first position of each id."""
    return dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))


def _edges(
    steps: Sequence[StepSpec], ids: list[str], needs: Sequence[Collection[str]], problems: list[SpecProblem]
) -> Edges:
    try:
        return edges_of(needs, ids)
    except KeyError:
        known = set(ids)
        problems += checks.unknown_need_problems(steps, known)
        return edges_of([[need for need in each if need in known] for each in needs], ids)


def _of_first(ids: Sequence[str], edges: Edges) -> Edges:
    """Where ids are there twice the first of each stands for all: so cycles are found none the less."""
    first, found = _index(ids), iter(edges.dependents)
    return Edges([next(found) if first[id_] == place else [] for place, id_ in enumerate(ids)], edges.counts)


def _longest(
    costs: list[float], dependents: Sequence[Sequence[int]], order: tuple[Batch, ...]
) -> tuple[list[int], float]:
    """The path of the greatest cost, and that cost; of equals one of the most steps, then the first in the workflow."""
    if not costs:
        return [], 0.0
    waits, length, before = [0.0] * len(costs), [1] * len(costs), [-1] * len(costs)
    for position in chain.from_iterable(order):
        total, steps = waits[position] + costs[position], length[position] + 1
        for dependent in dependents[position]:
            if total > waits[dependent] or (total == waits[dependent] and steps > length[dependent]):
                waits[dependent], length[dependent], before[dependent] = total, steps, position
    path = [max(range(len(costs)), key=lambda position: (waits[position] + costs[position], length[position]))]
    longest = waits[path[0]] + costs[path[0]]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return path[::-1], longest


def _elapsed(costs: list[float], edges: Edges, workers: int) -> float:
    """The end of a run in which a free worker always takes the first step that is ready."""
    missing = edges.counts.copy()
    ready = [position for position, left in enumerate(missing) if not left]
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            position = heappop(ready)
            heappush(running, (now + costs[position], position))
        now, ended = heappop(running)
        for dependent in edges.dependents[ended]:
            missing[dependent] -= 1
            if not missing[dependent]:
                heappush(ready, dependent)
    return now
