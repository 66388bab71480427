"""How an execution comes into being: accepted, begun, taken up again after a crash, run again, waited for."""

import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from coterie.engine.inputs import checked_inputs
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, StepRow
from coterie.engine.machine.run_machine import RunMachine
from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import RUN_ENDED, Json, WorkflowSpec
from coterie.engine.performing.core import Core
from coterie.engine.performing.execution import LiveExecution
from coterie.engine.planning.plan import ExecutionPlan, make_plan
from coterie.engine.planning.spec_document import spec_from_json, spec_to_bytes
from coterie.engine.planning.spec_problems import InvalidSpec
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.template_checks import may_name_steps, reference_problems
from coterie_protocols.errors import NotFound, TryLater, UserError

if TYPE_CHECKING:
    from coterie.engine.performing.host import Host

_log: Final = logging.getLogger("coterie.engine")
PLANS_MAX: Final = 64
OBJECTS_MAX: Final = 16
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Folders(Protocol):
    """Where executions find their files."""

    def source_dir(self, record: ExecutionRecord) -> Path | None:
        """The source tree that it was submitted with, unpacked; None where there is none."""
        ...

    def work_dir(self, record: ExecutionRecord) -> Path | None:
        """A folder of its own; None where there is none."""
        ...


class NoFolders:
    """Steps run where this process runs."""

    def source_dir(self, record: ExecutionRecord) -> Path | None:
        """None."""

    def work_dir(self, record: ExecutionRecord) -> Path | None:
        """None."""


class QueueFull(TryLater):
    """So many executions have not ended that one more is not taken."""

    code = "queue-full"


@dataclass(frozen=True, slots=True)
class Planned:
    """A workflow that was found good, with what each of its executions needs again."""

    spec: WorkflowSpec
    document: bytes
    hash: str
    graph: StepGraph


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be executed. `key` makes it idempotent; `origin` is the execution that it runs again.

    `planned` is what `Submissions.plan` made of `spec`, if somebody has planned it already.
    """

    spec: WorkflowSpec
    inputs: Mapping[str, Json]
    key: str | None = None
    submitter: str = ""
    priority: float | None = None
    origin: str | None = None
    source: str | None = None
    planned: Planned | None = None


class Submissions:
    """The executions of one engine, from their acceptance on."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.workflows: dict[str, WorkflowSpec] = {}
        self._plans: OrderedDict[str, Planned] = OrderedDict()
        self._objects: OrderedDict[str, Mapping[int, Any]] = OrderedDict()
        self.folders: Folders = NoFolders()
        self._open = {record.id for record in core.journal.unfinished()}

    def plan(self, spec: WorkflowSpec) -> Planned:
        """The checked plan of a workflow. Raises InvalidWorkflow with all problems."""
        document = spec_to_bytes(spec)
        name = sha256(document).hexdigest()
        known = self._plans.get(name)
        if known is not None:
            return known
        checked_plan(spec, document)
        return self._keep(Planned(spec, document, name, StepGraph.of_spec(spec)))

    def plan_of(self, record: ExecutionRecord) -> Planned:
        """The plan that an execution began with, whatever has become of its workflow since."""
        known = self._plans.get(record.plan_hash)
        if known is not None:
            return known
        document = record.document or self.core.journal.execution(record.id).document
        spec = spec_from_json(json.loads(document))
        return self._keep(Planned(spec, document, record.plan_hash, StepGraph.of_spec(spec)))

    def _keep(self, planned: Planned) -> Planned:
        self._plans[planned.hash] = planned
        if len(self._plans) > PLANS_MAX:
            self._plans.popitem(last=False)
        return planned

    def accept(self, request: Request, rows: Iterable[StepRow] = ()) -> ExecutionRecord:
        """Takes a request. The same `key` again gives the same execution.

        It is on record when this returns, and durable with the first turn of its performance.

        Raises InvalidWorkflow, QueueFull, UserError for inputs that do not fit, KeyTaken for a key of another workflow.
        """
        if request.key is not None:
            known = self.core.journal.by_key(request.key)
            if known is not None:
                return known
        planned = request.planned or self.plan(request.spec)
        inputs = checked_inputs(planned.spec, request.inputs)
        if len(self._open) >= self.core.settings.queue_max:
            raise QueueFull(
                f"{len(self._open)} executions have not ended; the limit is {self.core.settings.queue_max} (queue_max)",
                "wait for some of them to end, or cancel some",
            )
        names = {name for step in planned.spec.steps if isinstance(name := step.config.get("function"), str)}
        now_ms = self.core.now_ms()
        record = ExecutionRecord(
            id=new_id(now_ms),
            workflow=planned.spec.id,
            name=planned.spec.name or planned.spec.id,
            document=planned.document,
            plan_hash=planned.hash,
            created_ms=now_ms,
            inputs=inputs,
            submitter=request.submitter,
            priority=planned.spec.priority if request.priority is None else request.priority,
            key=request.key,
            origin=request.origin,
            source=request.source,
            code=self.core.code_of(dict.fromkeys(names)),
        )
        self.core.journal.create(record, rows, sync=False)
        self._open.add(record.id)
        return record

    async def run(
        self, record: ExecutionRecord, host: "Host", prepare: Callable[[LiveExecution, int], None] | None = None
    ) -> None:
        """Performs an execution to its end, from wherever it stands. `prepare` is a command to begin with.

        Waits where it is under way already: after a restart that of a sub-workflow is wanted by the step and by itself.
        """
        known = self.core.live.get(record.id)
        if known is not None:
            await known.ended.wait()
            return
        live = self._live(record, host)
        self._open.add(record.id)
        await live.run(prepare)
        self._open.discard(record.id)
        if live.results.kept:
            self._objects[record.id] = live.results.kept
            if len(self._objects) > OBJECTS_MAX:
                self._objects.popitem(last=False)

    def look(self, record: ExecutionRecord) -> LiveExecution:
        """An execution as its journal has it, to be asked and not performed."""
        return self._live(record, None)

    def objects(self, id_: str) -> Mapping[int, Any]:
        """What the steps of one of the last executions returned, where the engine keeps objects."""
        return self._objects.get(id_, {})

    def source_dir(self, record: ExecutionRecord) -> Path | None:
        """The source tree that an execution was submitted with, unpacked."""
        return self.folders.source_dir(record)

    def work_dir(self, record: ExecutionRecord) -> Path | None:
        """A folder of the execution's own."""
        return self.folders.work_dir(record)

    def _live(self, record: ExecutionRecord, host: "Host | None") -> LiveExecution:
        planned = self.plan_of(record)
        spec = planned.spec
        self.core.admission.set_limit(record.id, spec.max_parallel)
        undoable = [position for position, step in enumerate(spec.steps) if step.compensate is not None]
        rows = {row.position: row for row in self.core.journal.rows(record.id)}
        if not rows and record.state == "pending":
            machine = RunMachine(planned.graph, fail_fast=spec.fail_fast, compensable=undoable)
            return LiveExecution(self.core, host, record, spec, planned.graph, machine)
        return self._restored(record, host, planned, undoable, rows)

    def _restored(
        self,
        record: ExecutionRecord,
        host: "Host | None",
        planned: Planned,
        undoable: list[int],
        rows: dict[int, StepRow],
    ) -> LiveExecution:
        """Takes up an execution where its journal ends: what was running is lost and runs again."""
        notes = [note for _, note in self.core.journal.notes(record.id)]
        expanded = _expansions(notes)
        now_ms = self.core.now_ms()
        machine = RunMachine.restore(
            planned.graph,
            rows.values(),
            now_ms,
            fail_fast=planned.spec.fail_fast,
            paused=record.state == "paused",
            cancelled=_cancelled(notes),
            expansions={position: (first, len(items)) for position, (first, items) in expanded.items()},
            compensable=undoable,
        )
        live = LiveExecution(self.core, host, record, planned.spec, planned.graph, machine)
        for position, (first, items) in expanded.items():
            if position in rows:
                live.landings.expand_again(position, first, items, rows[position])
        lost = [
            row
            for row in rows.values()
            if row.state == "running" and row.position not in expanded and not row.reason  # else it was being stopped
        ]
        for row in lost:
            body: dict[str, Json] = {"attempt": row.attempt, "started_ms": row.started_ms, "ready_ms": row.ready_ms}
            live.post(partial(live.note, "lost", row.position, body))
        live.landings.remember(notes)
        changed = self._changed_code(record)
        if changed:
            _log.warning("%s goes on with other code than it began with: %s", record.id, ", ".join(changed))
            live.post(partial(live.note, "code-changed", None, {"functions": changed}))
        return live

    def _changed_code(self, record: ExecutionRecord) -> list[str]:
        now = self.core.code_of(record.code)
        return [name for name in now if now[name] != record.code[name]]

    async def wait(self, id_: str) -> dict[str, Json]:
        """Waits for the end of an execution of this engine. Raises NotFound, UserError where nothing performs it."""
        record = self.core.journal.find(id_)
        live = self.core.live.get(record.id)
        if live is not None:
            await live.ended.wait()
        record = self.core.journal.execution(record.id)
        if record.state not in RUN_ENDED:
            raise UserError(f"{record.id} has not ended, and nothing performs it", f"resume it: resume {record.id}")
        return {"id": record.id, "state": record.state, "outputs": dict(record.outputs), "reason": record.reason}

    async def run_below(
        self, parent: LiveExecution, key: str, workflow: Json, inputs: Mapping[str, Json], host: "Host"
    ) -> dict[str, Json]:
        """Runs a workflow for a step of another, once for each `key`; cancelled with it."""
        spec = self.workflow(workflow) if isinstance(workflow, str) else spec_from_json(workflow)
        record = self.accept(
            Request(spec, inputs, key=key, submitter=parent.record.submitter, source=parent.record.source)
        )
        try:
            if record.state not in RUN_ENDED:
                await self.run(record, host)
        except anyio.get_cancelled_exc_class():
            if parent.machine.run_state == "cancelled":
                self._cancel_below(record)
            raise
        return await self.wait(record.id)

    def _cancel_below(self, record: ExecutionRecord) -> None:
        now_ms, reason = self.core.now_ms(), "the execution that it belongs to was cancelled"
        note = Note(now_ms, "cancelled", None, {"reason": reason})
        live = self.core.live.get(record.id)
        if live is not None:  # performed by somebody else
            live.post(partial(live.cancel, reason))
            return
        change = ExecutionChange(state="cancelled", ended_ms=now_ms, reason=str(note.body["reason"]))
        self.core.journal.commit(record.id, (), (note,), change)
        self._open.discard(record.id)

    def workflow(self, id_: str) -> WorkflowSpec:
        """A registered workflow. Raises NotFound."""
        if id_ not in self.workflows:
            known = ", ".join(sorted(self.workflows)) or "none"
            raise NotFound(f"there is no workflow {id_!r}", f"workflows here: {known}")
        return self.workflows[id_]


def checked_plan(spec: WorkflowSpec, document: bytes | None = None) -> ExecutionPlan:
    """The plan of a workflow whose every step could be carried out; `document` is its own, if it is at hand.

    Raises InvalidWorkflow with all problems.
    """
    problems = reference_problems(spec) if may_name_steps(document or spec_to_bytes(spec)) else []
    try:
        plan = make_plan(spec, check_step=StepExecutorFactory.check_step)
    except InvalidSpec as error:
        raise InvalidSpec([*error.problems, *problems]) from None
    if problems:
        raise InvalidSpec(problems)
    return plan


def new_id(now_ms: int) -> str:
    """An execution's id: `ex-`, nine characters of time (so that ids sort by age) and twelve of chance, in base 32."""
    number, text = now_ms, ""
    for _ in range(9):
        number, digit = divmod(number, 32)
        text = _DIGITS[digit] + text
    return f"ex-{text}" + "".join(_DIGITS[byte & 31] for byte in secrets.token_bytes(12))


def _expansions(notes: Iterable[Note]) -> dict[int, tuple[int, list[Json]]]:
    return {
        note.position: (int(note.body["first"]), list(note.body["items"]))
        for note in notes
        if note.kind == "expanded" and note.position is not None
    }


def _cancelled(notes: Iterable[Note]) -> bool:
    """Was its end asked for, and not its going on since?"""
    asked = False
    for note in notes:
        if note.kind == "cancelled":
            asked = True
        elif note.kind == "reset":
            asked = False
    return asked
