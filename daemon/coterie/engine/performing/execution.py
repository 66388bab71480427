"""Performs one execution: what its `RunMachine` decides is committed first and acted on then.

One turn takes everything that happened since the last one (ends of attempts, commands, timers), lets the machine and
the admission decide, writes all of it in one transaction, and only then starts, stops and tells. So an attempt's end
and the starts that follow from it share one fsync, and so do all attempts that end in the same turn of the event loop.
"""

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never, cast

import anyio
import anyio.lowlevel

from coterie.engine.admission.admission import Want
from coterie.engine.failures import Failure, StepFailed
from coterie.engine.journal.port import ExecutionChange, ExecutionRecord, Note, NoteKind
from coterie.engine.machine.run_machine import Compensate, Ended, Gather, Ready, RunMachine, Stop, Withdraw
from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import PRIORITY_NORMAL, RUN_ENDED, Json, RunState, StepSpec, WorkflowSpec
from coterie.engine.performing.conversations import Conversations
from coterie.engine.performing.deadlines import Deadlines
from coterie.engine.performing.flight import Flight
from coterie.engine.performing.landings import Landings
from coterie.engine.performing.live_reader import LiveReader
from coterie.engine.performing.results import Results
from coterie.engine.performing.steps_of import StepsOf
from coterie.engine.performing.verdict import Stopped
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.engine.performing.core import Core
    from coterie.engine.performing.host import Host

MS: Final = 1000
OFFERED_MAX: Final = 1000
"""How many ready steps of one execution the admission is told of: a place there takes 340 bytes, one here 44."""

POSITION_BITS: Final = 32
NOW_S: Final = float("-inf")
"""The deadline of what is cancelled already."""

LOST_MAX: Final = 10
"""How often a step is started again that ran when the engine died: it may be what kills it."""


class AlreadyOver(UserError):
    """It takes no more commands."""

    code = "not-possible"
    exit_code = 2


class LiveExecution:
    """One execution under way. `run` performs it; commands are posted to it and take part in its next turn."""

    def __init__(
        self,
        core: "Core",
        host: "Host | None",
        record: ExecutionRecord,
        spec: WorkflowSpec,
        graph: StepGraph,
        machine: RunMachine,
    ) -> None:
        self.core = core
        self.record = record
        self.spec = spec
        self.graph = graph
        self.machine = machine
        self.steps = StepsOf(spec, graph)
        self.reader = LiveReader(self)
        self.results = Results(core.journal, record.id, core.settings.result_bytes_max, objects=not core.durable)
        self.ended = anyio.Event()
        self.conversations = Conversations()
        self.claimed_signals: set[int] = set()
        self.started_ms: int | None = record.started_ms
        self.flights: dict[int, Flight] = {}
        self._given_host = host
        self._woken = anyio.Event()
        self._inbox: list[Callable[[int], None]] = []
        self._launches: list[Flight] = []
        self._stops: list[int] = []
        self._undoing: list[int] = []
        self._notes: list[Note] = []
        self._waiting: set[anyio.Event] = set()  # who waits for a turn, which of them had theirs, and in this turn
        self._done: set[anyio.Event] = set()
        self._told: list[anyio.Event] = []
        self.deadlines = Deadlines(self)
        self._state: RunState | None = None  # so that the first turn writes something: it makes the submission durable
        self._outcome: RunState | None = None
        self._over = False
        self._offered = 0
        self._later: deque[int] = deque()
        self._context = copy_context()
        self.landings = Landings(self, record.reason)

    @property
    def _host(self) -> "Host":
        assert self._given_host is not None, "an execution that is only looked at runs nothing"
        return self._given_host

    @property
    def over(self) -> bool:
        """Has it ended, though `run` may not have returned yet? It takes no more commands then."""
        return self._over

    @property
    def state(self) -> RunState:
        """Where it stands, as committed."""
        return self._state or self.record.state

    async def run(self, prepare: "Callable[[LiveExecution, int], None] | None" = None) -> None:
        """Performs it to its end; `prepare` is a command to begin with.

        Cancelled, it stops its steps and leaves the rest to the next start. Raises DiskFailed.
        """
        self.core.live[self.record.id] = self
        try:
            async with anyio.create_task_group() as self._tasks:
                if prepare is not None:
                    prepare(self, self.core.now_ms())
                self.machine.begin(self.core.now_ms())
                self._over = self._turn()
                while not self._over:
                    await self._wait()
                    self._over = self._over or self._turn()
        finally:
            self.core.live.pop(self.record.id, None)
            self._leave()
            self.ended.set()
            for told in (*self._told, *self._waiting):
                told.set()

    def post(self, act: Callable[[int], None]) -> None:
        """Has `act(now_ms)` done in the next turn."""
        self._inbox.append(act)
        self._woken.set()

    async def perform(self, act: Callable[[int], None]) -> None:
        """The same; returns once what follows from it is durable. Raises the UserError that `act` raised."""
        told = anyio.Event()
        refused: list[UserError] = []

        def then(now_ms: int) -> None:
            try:
                act(now_ms)
            except UserError as error:
                refused.append(error)
            self._told.append(told)

        if self.over:
            raise AlreadyOver(f"{self.record.id} has {self.state}", "retry or rerun it")
        self._waiting.add(told)
        try:
            self.post(then)
            await told.wait()
            done = told in self._done
        finally:
            self._waiting.discard(told)
            self._done.discard(told)
        if refused:
            raise refused[0]
        if not done:
            what = "was interrupted" if self._outcome is None else f"has {self._outcome}"
            raise AlreadyOver(f"{self.record.id} {what}", "resume, retry or rerun it")

    def note(self, kind: NoteKind, position: int | None, body: dict[str, Json], now_ms: int) -> None:
        """Keeps something out of the ordinary with this turn's transaction. Call within a turn."""
        self._notes.append(Note(now_ms, kind, position, body))

    def cancel(self, reason: str, now_ms: int) -> None:
        """Stops what runs and starts nothing more. Call within a turn."""
        self.landings.reason = reason
        self.machine.cancel(reason, now_ms)

    def try_again(self, position: int | None, now_ms: int) -> None:
        """Has a failed step, or all of them, tried again, also when it had ended.

        Call within a turn, or before the first. Raises UserError.
        """
        self.machine.retry_by_hand(position, now_ms)
        self.note("reset", position, {}, now_ms)
        self.landings.forgive(position)
        self.landings.reason, self._outcome, self._state = "", None, None

    def admitted(self, want: Want) -> None:
        """There is room for one of its steps; the turn that follows starts it."""
        self.post(partial(self._admitted, want))

    def first_started_ms(self, position: int) -> int:
        """When the first attempt of a running step began."""
        return self.landings.first_ms.get(position, self.flights[position].started_ms)

    # --- one turn ---

    def _turn(self) -> bool:
        now_ms = self.core.now_ms()
        inbox, self._inbox = self._inbox, []
        for act in inbox:
            act(now_ms)
        self.deadlines.look(now_ms)
        self._settle(now_ms)
        self._offer_more(now_ms)
        self._admit(now_ms)
        self._commit(now_ms)
        self._act()
        return self._outcome is not None and not self.flights

    async def _wait(self) -> None:
        if not self._inbox:
            due_ms = self.deadlines.next_ms()
            if due_ms is None:
                await self._woken.wait()
            else:
                with anyio.move_on_after(max(0.0, (due_ms - self.core.now_ms()) / MS)):
                    await self._woken.wait()
        else:
            await anyio.lowlevel.checkpoint()
        self._woken = anyio.Event()

    def _settle(self, now_ms: int) -> None:
        """Takes what the machine asks for until it asks for nothing more."""
        while effects := self.machine.take_effects():
            for effect in effects:
                match effect:
                    case Ready(position):
                        self._ready(position, now_ms)
                    case Withdraw(position):
                        self.withdraw(position)
                    case Stop(position):
                        self._stops.append(position)
                    case Gather(position):
                        self.post(partial(self.landings.gather, position))
                    case Compensate(position):
                        self._undoing.append(position)
                    case Ended(state):
                        self._outcome = state
                    case _:
                        assert_never(effect)

    def _ready(self, position: int, now_ms: int) -> None:
        step = self.steps.spec(position)
        if step.if_ and not self._wanted(position, step, now_ms):
            return
        if self.machine.losses(position) >= LOST_MAX:
            self.landings.fail(
                position, f"the engine died {LOST_MAX} times while it ran: see what it does to the machine", now_ms
            )
            return
        if self._host.executor(step.type).waits:
            self._start(position, step, now_ms, None, now_ms)
            return
        if step.queue_timeout_s is not None:
            self.deadlines.queued(position, step.queue_timeout_s, now_ms)
        if self._offered < OFFERED_MAX or step.key or step.resources or step.priority != PRIORITY_NORMAL:
            self._offer(position, step, now_ms, now_ms)
        else:
            self._later.append(now_ms << POSITION_BITS | position)

    def _offer(self, position: int, step: StepSpec, ready_ms: int, now_ms: int) -> None:
        want = Want(
            ticket=(self.record.id, position),
            workflow=self.record.workflow,
            execution=self.record.id,
            priority=step.priority + self.record.priority - self.spec.priority,
            since_s=ready_ms / MS,
            resources=step.resources or None,
            key=step.key,
        )
        try:
            self.core.admission.offer(want)
            self._offered += 1
        except UserError as error:
            self.landings.fail(position, error.message, now_ms)

    def _offer_more(self, now_ms: int) -> None:
        """As room is made. Nothing but what is like all others waits here, so none overtakes another by this."""
        while self._later and self._offered < OFFERED_MAX:
            later = self._later.popleft()
            position = later & (1 << POSITION_BITS) - 1
            if self.machine.state(position) == "ready" and not self.core.admission.waits((self.record.id, position)):
                self._offer(position, self.steps.spec(position), later >> POSITION_BITS, now_ms)

    def _wanted(self, position: int, step: StepSpec, now_ms: int) -> bool:
        """Evaluates the step's own `if`."""
        try:
            if self._host.condition(self, position, step.if_):
                return True
        except StepFailed as error:
            self.landings.fail(position, f"if: {error}", now_ms)
            return False
        self.machine.skipped(position, f"its condition is false: {step.if_}", now_ms)
        return False

    def _admit(self, now_ms: int) -> None:
        for want in self.core.admission.admit(now_ms / MS):
            if want.execution == self.record.id:
                self._admitted(want, now_ms)
            else:
                self.core.pass_on(want)

    def withdraw(self, position: int) -> None:
        """A step waits for room no more."""
        if self.core.admission.withdraw((self.record.id, position)):
            self._offered -= 1

    def _admitted(self, want: Want, now_ms: int) -> None:
        self._offered -= 1
        position = want.ticket[1]
        if self.machine.state(position) != "ready" or position in self.flights:
            self.core.admission.release(want.ticket)  # withdrawn meanwhile
            return
        self._start(position, self.steps.spec(position), int(want.since_s * MS), want, now_ms)

    def _start(self, position: int, step: StepSpec, ready_ms: int, want: Want | None, now_ms: int) -> None:
        self.machine.started(position, now_ms)
        attempt = self.machine.attempts(position)
        flight = Flight(position, step, attempt, self.landings.failures.get(position, 0), ready_ms, now_ms)
        flight.want = want
        self.flights[position] = flight
        if step.total_timeout_s is not None:
            self.landings.first_ms.setdefault(position, now_ms)
        self._launches.append(flight)
        if self.started_ms is None:
            self.started_ms = now_ms

    # --- writing, and acting on what was written ---

    def _commit(self, now_ms: int) -> None:
        rows = [self.landings.row(position, now_ms) for position in self.machine.take_changed()]
        change = self._change(now_ms)
        notes, self._notes = self._notes, []
        self.landings.landed.clear()
        if rows or notes or change is not None:
            self.core.journal.commit(self.record.id, rows, notes, change)
            self.core.tell(self, rows, notes, change)

    def _change(self, now_ms: int) -> ExecutionChange | None:
        state = self._outcome or self._shown_state()
        if state == self._state:
            return None
        self._state = state
        if state not in RUN_ENDED:
            return ExecutionChange(state=state, started_ms=self.started_ms, reason=self.landings.reason)
        return ExecutionChange(
            state=state,
            started_ms=self.started_ms,
            ended_ms=now_ms,
            reason=self.landings.reason if state != "completed" else "",
            outputs=self._host.outputs(self),
            counts=cast("dict[str, int]", self.machine.counts()),
        )

    def _shown_state(self) -> RunState:
        if self.machine.run_state == "paused":
            return "paused"
        return "pending" if self.started_ms is None else "running"

    def _act(self) -> None:
        launches, self._launches = self._launches, []
        for flight in launches:
            # A turn may be taken by a step's own task: the next step must not see what that one did to its context.
            flight.task = self._context.run(self._tasks.start_soon, self._fly, flight)
        stops, self._stops = self._stops, []
        for position in stops:
            running = self.flights.get(position)
            if running is not None and running.task is not None:
                running.stopping = True
                running.task.cancel()
        undoing, self._undoing = self._undoing, []
        for position in undoing:
            self._tasks.start_soon(self._undo, position)
        told, self._told = self._told, []
        for event in told:
            self._done.add(event)
            event.set()

    async def _fly(self, flight: Flight) -> None:
        try:
            verdict = await self._host.attempt(self, flight)
        except BaseException:
            # Only what was to be stopped has ended by this: else the execution is interrupted, and the attempt lost.
            if flight.stopping:
                self.post(partial(self.landings.land, flight, Stopped()))
            raise
        if not flight.stopping and anyio.current_effective_deadline() == NOW_S:
            return  # interrupted: what the step makes of its cancellation is not how it ended
        if len(self.flights) > 1 or self._inbox:
            self.post(partial(self.landings.land, flight, verdict))  # others may end in this turn of the loop too
            return
        self._inbox.append(partial(self.landings.land, flight, verdict))
        self._over = self._turn()
        if self._over or self.deadlines.next_ms() is not None:
            self._woken.set()

    async def _undo(self, position: int) -> None:
        failure = await self._host.compensate(self, position)
        self.post(lambda now_ms: self._undone(position, failure, now_ms))

    def _undone(self, position: int, failure: Failure | None, now_ms: int) -> None:
        body: dict[str, Any] = {"state": "done" if failure is None else "failed"}
        if failure is not None:
            body |= failure.to_json()
        self.note("compensated", position, body, now_ms)
        self.machine.compensated(position, failure is None, "" if failure is None else failure.message, now_ms)

    def _leave(self) -> None:
        """Gives back what its steps held of the engine: it was cancelled, or it failed."""
        for flight in self.flights.values():
            if flight.want is not None:
                self.core.admission.release(flight.want.ticket)
        for position in self.machine.positions_in("ready"):
            self.withdraw(position)
        self.core.admission.forget(self.record.id)
        self.core.admit()
