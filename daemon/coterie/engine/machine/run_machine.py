"""One execution as a state machine: what happened in, what is to be done out. No I/O, no clock, no waiting.

Every transition costs the number of steps that it concerns, so a whole run costs O(steps + needs) (Kahn, 1962), and
no more than that for a cancellation, a pause or a restart.
"""

from collections.abc import Iterable, Iterator, Mapping

from coterie.engine.journal.port import StepRow
from coterie.engine.machine import run_by_hand, run_restore, run_words
from coterie.engine.machine.run_effects import Compensate, Effect, Ended, Gather, Outcome, Ready, Stop, Withdraw
from coterie.engine.machine.run_flow import Ending, RunFlow
from coterie.engine.machine.run_table import (
    CANCELLED,
    CODES,
    COMPLETED,
    FAILED,
    QUEUED,
    READY,
    RUNNING,
    SKIPPED,
    STATES,
    TOLERATED,
    WAIVED,
)
from coterie.engine.machine.run_undo import Undo
from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import RunState, StepState
from coterie_protocols.errors import UserError

__all__ = ["BadTransition", "Compensate", "Effect", "Ended", "Gather", "Ready", "RunMachine", "Stop", "Withdraw"]


class BadTransition(RuntimeError):
    """The driver told of something that cannot have happened to the step where it stands: our own bug."""


class RunMachine:
    """One execution. `compensable` are the positions of steps that can be undone.

    Transitions take the time, in Unix milliseconds, as their last positional argument, and may leave effects, which
    the driver takes with `take_effects`, and rows to be written, which it takes with `take_changed`. What the driver
    says of a ready step by itself (that it failed, or is skipped) is not followed by a `Withdraw`.
    """

    def __init__(self, graph: StepGraph, fail_fast: bool = False, compensable: Iterable[int] = ()) -> None:
        self._flow = RunFlow(graph, fail_fast)
        self._table = self._flow.table
        self._undo = Undo(self._flow, compensable)
        self._begun = False
        self._over = False
        self._cancel_reason: str | None = None

    @classmethod
    def restore(
        cls,
        graph: StepGraph,
        rows: Iterable[StepRow],
        now_ms: int,
        *,
        fail_fast: bool = False,
        paused: bool = False,
        cancelled: bool = False,
        expansions: Mapping[int, tuple[int, int]] | None = None,
        compensable: Iterable[int] = (),
    ) -> "RunMachine":
        """An execution as its rows tell it; `begin` goes on with it.

        `expansions` has (position of the first child, their number) by map step. Steps that were running are lost: they
        become ready again, and their row counts it. Raises ValueError where the expansions do not fit together.
        """
        machine = cls(graph, fail_fast, compensable)
        run_restore.restore(machine._flow, machine._undo, rows, expansions or {})
        machine._flow.paused = paused and not cancelled
        if cancelled:
            machine._cancel_reason = "cancelled"
        return machine

    # --- the whole execution ---

    def begin(self, now_ms: int) -> None:
        """Starts it, or goes on with it after `restore`. Once."""
        if self._begun:
            raise BadTransition("the execution has begun already")
        self._begun = True
        flow = self._flow
        if self._cancel_reason is not None:
            flow.halt_all(Ending(CANCELLED, self._cancel_reason))
        flow.wake(now_ms)
        code, missing, firsts = self._table.code, self._table.missing, flow.graph.firsts
        for position in range(flow.size):
            if not code[position] and (not missing[position] or position in firsts):
                flow.decide(position)
        self._go_on()

    def pause(self, now_ms: int) -> None:
        """Starts nothing more until `resume`; what runs goes on."""
        if self._cancel_reason is None and not self._flow.paused:
            self._flow.pause()

    def resume(self, now_ms: int) -> None:
        """Goes on after a pause."""
        if self._flow.paused:
            self._flow.resume()
            self._go_on()

    def cancel(self, reason: str, now_ms: int) -> None:
        """Ends everything that has not ended; what runs gets a Stop. It ends a pause too.

        Where all steps have ended already, it does not change what the execution came to.
        """
        if self._cancel_reason is not None:
            return
        if self._table.all_ended:
            self.resume(now_ms)
            return
        self._cancel_reason = reason or "cancelled"
        self._flow.paused = False
        self._flow.halt_all(Ending(CANCELLED, self._cancel_reason))
        self._go_on()

    def wake(self, now_ms: int) -> None:
        """Steps whose time for another try has come become ready."""
        self._flow.wake(now_ms)

    def next_due_ms(self) -> int | None:
        """When to call `wake`."""
        return self._flow.next_due_ms()

    # --- attempts ---

    def started(self, position: int, now_ms: int) -> None:
        """A ready step was given room, and its next attempt begins."""
        table = self._table
        if table.code[position] != READY:
            raise self._bad(position, "started")
        table.put(position, RUNNING)
        table.attempt[position] += 1
        table.changed[position] = None
        if table.reason:
            table.reason.pop(position, None)

    def completed(self, position: int, now_ms: int, *, arm: str | None = None) -> None:
        """It did what it is for, also where it was to be stopped. `arm` is what a conditional step chose."""
        if self._table.code[position] != RUNNING:
            raise self._bad(position, "completed")
        self._no_children_left(position, "completed")
        if arm is not None:
            self._table.arm[position] = arm
        self._undo.completed(position, now_ms)
        self._flow.end(position, COMPLETED)
        self._go_on()

    def failed(self, position: int, reason: str, now_ms: int, *, tolerated: bool = False) -> None:
        """It failed for good, running or ready (there was no room in time). `tolerated`: that counts as completed.

        A map step ends so once its children have been stopped.
        """
        self._begun_and_not_ended(position, "failed")
        code = TOLERATED if tolerated else FAILED
        ending = self._flow.stopping.get(position)
        group = self._flow.maps.get(position)
        if group is not None and group.left:
            self._flow.halt(position, Ending(code, reason or "failed"))
        elif ending is not None and ending.code == WAIVED:
            self._flow.end(position, WAIVED, ending.reason)
        else:
            self._flow.end(position, code, reason)
        self._go_on()

    def retry_at(self, position: int, due_ms: int, now_ms: int, *, reason: str = "") -> None:
        """The attempt failed, and another one follows at `due_ms`; a step that was to be stopped ends instead."""
        self._begun_and_not_ended(position, "retry_at")
        if position in self._flow.maps:
            raise self._bad(position, "retry_at, but its children are tried again by themselves")
        ending = self._flow.stopping.get(position)
        if ending is not None:
            self._flow.end(position, ending.code, ending.reason)
        else:
            self._table.changed[position] = None
            if reason:
                self._table.reason[position] = reason
            self._flow.wait_until(position, due_ms)
        self._go_on()

    def skipped(self, position: int, reason: str, now_ms: int) -> None:
        """Its own condition is false."""
        self._begun_and_not_ended(position, "skipped")
        self._no_children_left(position, "skipped")
        self._flow.end(position, SKIPPED, reason)
        self._go_on()

    def cancelled(self, position: int, now_ms: int, *, reason: str = "") -> None:
        """It was stopped."""
        if self._table.code[position] != RUNNING:
            raise self._bad(position, "cancelled")
        self._no_children_left(position, "cancelled")
        ending = self._flow.stopping.get(position, Ending(CANCELLED, reason))
        self._flow.end(position, ending.code, ending.reason)
        self._go_on()

    # --- children of map steps ---

    def expanded(self, position: int, count: int, now_ms: int) -> int:
        """A running map step has `count` items. Returns the position of the first child; the others follow it.

        The step goes on running until `Gather`. Its place in the graph says how many children run at a time, and
        whether the first failure stops the others.
        """
        flow = self._flow
        if self._table.code[position] != RUNNING or position in flow.maps:
            raise self._bad(position, "expanded")
        group = flow.grow(position, count)
        self._table.changed[position] = None
        ending = flow.stopping.get(position)
        if ending is not None:
            for child in group.members:
                flow.halt(child, Ending(CANCELLED, ending.reason))
        flow.begin_children(group)
        self._go_on()
        return group.first

    def expansion(self, position: int) -> tuple[int, int]:
        """The position of the first child of a map step and their number; (0, 0) where it has none yet."""
        group = self._flow.maps.get(position)
        return (0, 0) if group is None else (group.first, len(group.members))

    # --- what people do ---

    def skip_by_hand(self, position: int, reason: str, now_ms: int) -> None:
        """Has a step that failed, was cancelled or has not ended count as completed without a result.

        One whose needs have not ended is pending until they have. Steps that were skipped or cancelled because of its
        failure become pending again. Raises UserError, and changes nothing then.
        """
        self._can_go_back()
        if self._cancel_reason is not None:
            raise UserError("the execution was cancelled", "have its steps tried again instead")
        run_by_hand.skip(self._flow, position, reason)
        self._over = False
        self._go_on()

    def retry_by_hand(self, position: int | None, now_ms: int) -> None:
        """Makes one step, or all that failed or were cancelled, pending again with what that had kept from running.

        An execution that had ended goes on; completed steps stay completed. Raises UserError, and changes nothing then.
        """
        self._can_go_back()
        run_by_hand.retry(self._flow, position)
        self._cancel_reason = None
        self._over = False
        self._go_on()

    def _can_go_back(self) -> None:
        if self._undo.begun:
            raise UserError("steps of the execution were undone after its failure", "rerun it as a new one")

    # --- undoing ---

    def compensated(self, position: int, ok: bool, message: str, now_ms: int) -> None:
        """A completed step was undone, or could not be: the next follows in either case."""
        if self._undo.current != position:
            raise self._bad(position, "compensated")
        self._undo.ended(ok)
        self._table.changed[position] = None
        if not ok:
            self._table.reason[position] = message
        self._go_on()

    # --- what there is to do and to write ---

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order, since this was last asked."""
        effects = self._flow.effects
        self._flow.effects = []
        return effects

    def take_changed(self) -> list[int]:
        """The steps whose rows are to be written, since this was last asked."""
        changed = self._table.changed
        self._table.changed = {}
        return list(changed)

    def row(self, position: int) -> StepRow:
        """What is to be kept of a step; times and results are for the driver to fill in.

        A running step that is being stopped has the reason of that. One that a person had skipped is `tolerated`, also
        before it has ended.
        """
        table, flow = self._table, self._flow
        code = table.code[position]
        row = StepRow(position, STATES[code], table.attempt[position])
        if table.lost:
            row.lost = table.lost.get(position, 0)
        if code == COMPLETED:
            row.arm = table.arm.get(position)
            row.compensation = self._undo.done.get(position, "")
            row.reason = table.reason.get(position, "")
            return row
        row.due_ms = table.due.get(position)
        row.tolerated = code in (TOLERATED, WAIVED) or position in flow.waived
        row.reason = run_words.reason(flow, position)
        ending = flow.stopping.get(position)
        if ending is not None and ending.code in (WAIVED, CANCELLED):  # else a map step: its children tell of it again
            row.tolerated, row.reason = ending.code == WAIVED, ending.reason
        return row

    # --- how it stands ---

    @property
    def run_state(self) -> RunState:
        """Where it stands: cancelled from the moment that it was asked for, else what it came to once all steps have
        ended. Some may have to be undone then before `Ended`; a pause holds that up.
        """
        if self._cancel_reason is not None:
            return "cancelled"
        if self._flow.paused and not self._over:
            return "paused"
        if not self._begun:
            return "pending"
        return self._outcome() if self._table.all_ended else "running"

    def state(self, position: int) -> StepState:
        """Where a step stands. Raises IndexError."""
        return STATES[self._table.code[position]]

    def attempts(self, position: int) -> int:
        """How often it was started."""
        return self._table.attempt[position]

    def losses(self, position: int) -> int:
        """How many of its attempts were lost with the engine."""
        return self._table.lost.get(position, 0)

    def succeeded(self, position: int) -> bool:
        """Has it completed, or does it count as completed?"""
        return COMPLETED <= self._table.code[position] < SKIPPED

    def counts(self) -> dict[StepState, int]:
        """How many steps, with children, stand where; in constant time."""
        counts = self._table.counts
        return {state: sum(counts[code] for code in codes) for state, codes in CODES.items()}

    def positions_in(self, state: StepState) -> Iterator[int]:
        """The steps that stand there, in no particular order."""
        for code in CODES[state]:
            yield from self._table.at(code)

    def why(self, position: int) -> str:
        """Why a step stands where it does, in one sentence about it, without a full stop. Raises IndexError."""
        return run_words.why(self._flow, position)

    def name(self, position: int) -> str:
        """Its id, `resize[3]` for the fourth child of `resize`. Raises IndexError."""
        return self._flow.name(position)

    # --- inside ---

    def _go_on(self) -> None:
        """What follows from what was done, up to the end of the execution."""
        self._flow.spread()
        counts = self._table.counts
        if counts[RUNNING] or counts[READY] or counts[QUEUED] or self._over or not self._table.all_ended:
            return
        outcome = self._outcome()
        if outcome != "completed":
            if self._undo.current is not None or (self._undo.left and self._flow.paused):
                return
            if self._undo.left:
                self._flow.effects.append(Compensate(self._undo.next()))
                return
        self._over = True
        self._flow.effects.append(Ended(outcome))

    def _outcome(self) -> Outcome:
        code, size = self._table.code, self._flow.size
        if self._cancel_reason is not None:
            return "cancelled"
        if code.find(FAILED, 0, size) >= 0:
            return "failed"
        return "cancelled" if code.find(CANCELLED, 0, size) >= 0 else "completed"

    def _begun_and_not_ended(self, position: int, what: str) -> None:
        if self._table.code[position] not in (QUEUED, READY, RUNNING):
            raise self._bad(position, what)

    def _no_children_left(self, position: int, what: str) -> None:
        group = self._flow.maps.get(position)
        if group is not None and group.left:
            raise self._bad(position, f"{what} with {group.left} children that have not ended")

    def _bad(self, position: int, what: str) -> BadTransition:
        return BadTransition(f"{self.name(position)} {self.why(position)}: it cannot be {what}")
