"""The loop of one peer: stimulus -> replica -> save -> send -> start.

The order of effects is written once, in `_perform`: what others will see is saved first. A stimulus and its effects
are one synchronous piece, so nobody ever sees a replica that is ahead of its store.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final, assert_never

import structlog
import trio

from coterie.blame import user_error_in
from coterie.changes import Changes
from coterie.copies import Copies
from coterie.metrics import Metrics
from coterie.ports import Blobs, Logs, Network, Runner, Store
from coterie_protocols.effects import (
    Answer,
    Broadcast,
    Changed,
    Disconnect,
    Effect,
    FetchBlobs,
    Remember,
    Save,
    Send,
    SendEvents,
    StartTask,
    StopTask,
)
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import TryLater, UserError
from coterie_protocols.event import Event
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import EVENTS_FRAME_BYTES, SyncDone, encode_events, encode_message
from coterie_protocols.ops import Claim, RunId, Submit
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import Instant
from coterie_protocols.stimuli import (
    DeadlineReached,
    RunCancelled,
    RunSubmitted,
    Stimulus,
    StopBegan,
    TaskEnded,
    TaskResult,
)

STIMULI_PER_COMMIT_MAX: Final = 64
"""One fsync pays for this many stimuli at most, when they come in faster than they can be saved."""

BOOT_NOTE: Final = "boot-ms"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Bounds of the shell. Times in seconds."""

    inbox_max: int = 1024
    answer_timeout_s: float = 30.0
    stop_timeout_s: float = 8.0
    finish_timeout_s: float = 3.0
    """The rest of `stop_timeout_s` is for killing what has not ended, and for telling the others."""


class _Question:
    """A request of the user that waits for its `Answer`."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Answer | None = None


class Peer:
    """Performs what the replica asks for, and tells it what happens."""

    def __init__(
        self,
        replica: Replica,
        store: Store,
        runner: Runner,
        blobs: Blobs,
        logs: Logs,
        wall_ms: Callable[[], int],
        settings: PeerSettings,
    ) -> None:
        self.replica = replica
        self.changes = Changes()
        self.steps: dict[Cid, str] = {}
        self.metrics = Metrics(version("coterie"), replica.me)
        self._store = store
        self._runner = runner
        self._blobs = blobs
        self._logs = logs
        self._wall_ms = wall_ms
        self._settings = settings
        self._post, self._inbox = trio.open_memory_channel[Stimulus](settings.inbox_max)
        self._questions: dict[int, _Question] = {}
        self._last_question = 0
        self._tasks: dict[Cid, trio.CancelScope] = {}
        self._streams: dict[PeerId, trio.CancelScope] = {}
        self._idle = trio.Event()

    async def deliver(self, stimulus: Stimulus) -> None:
        """Hands in a stimulus; waits while the inbox is full."""
        await self._post.send(stimulus)

    def inbox_depth(self) -> int:
        """How many stimuli wait."""
        return self._inbox.statistics().current_buffer_used

    def now(self) -> Instant:
        """The present, in both senses."""
        return Instant(trio.current_time(), self._wall_ms())

    async def run(self, network: Network, copies: Copies) -> None:
        """Runs until cancelled. Raises what the store raises: a peer that can't save must not go on."""
        async with trio.open_nursery() as nursery:
            self._network, self._copies, self._nursery = network, copies, nursery
            for peer, addresses in self._store.contacts().items():
                network.remember(peer, addresses)
            self._perform(self.replica.start(self.now(), network.addresses(), self._boot_ms()))
            while True:
                stimuli = await self._next()
                now = self.now()
                self._perform([effect for each in stimuli for effect in self.replica.handle(each, now)])
                if self.replica.scheduler.stopping and not self.replica.scheduler.held and not self._tasks:
                    self._idle.set()

    def _boot_ms(self) -> int:
        """When this daemon began, in any case later than it began before: the wall clock may have been set back, and
        then nobody would listen to what seem to be old announcements."""
        earlier = self._store.noted(BOOT_NOTE)
        boot_ms = max(self._wall_ms(), 0 if earlier is None else int(earlier) + 1)
        self._store.note(BOOT_NOTE, str(boot_ms))
        return boot_ms

    async def _next(self) -> Sequence[Stimulus]:
        stimuli: list[Stimulus] = []
        with trio.move_on_at(self.replica.deadline(self.now())):
            stimuli.append(await self._inbox.receive())
        with suppress(trio.WouldBlock):  # also when a deadline has passed: it must not keep the inbox shut
            while len(stimuli) < STIMULI_PER_COMMIT_MAX:
                stimuli.append(self._inbox.receive_nowait())
        return stimuli or (DeadlineReached(),)

    def _perform(self, effects: Sequence[Effect]) -> None:
        # What we tell others must survive our crash, so save before anything else.
        events = [effect.event for effect in effects if isinstance(effect, Save)]
        if events:
            with self.metrics.saving():
                self._store.append(events)
            self._count(events)
        for effect in effects:
            self._perform_one(effect)

    def _count(self, events: Sequence[Event]) -> None:
        own = [event for event in events if event.header.author == self.replica.me]
        self.metrics.events_appended(len(own))
        self.metrics.events_received(len(events) - len(own))
        for event in own:
            if any(isinstance(op, Claim) for op in event.ops):
                self.metrics.task_claimed()

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case Save():
                pass  # done above, all at once
            case Send():
                self._network.post(effect.peer, effect.data)
            case SendEvents():
                self._nursery.start_soon(self._stream_events, effect)
            case Broadcast():
                self._network.broadcast(effect.data)
            case StartTask():
                self._start(effect)
            case StopTask():
                self._stop(effect)
            case FetchBlobs():
                self._copies.want(effect.blobs, effect.sources)
            case Remember():
                self._store.remember(effect.peer, effect.addresses)
                self._network.remember(effect.peer, effect.addresses)
            case Disconnect():
                log.warning("peer dropped", peer=effect.peer, reason=effect.reason)
                self._network.drop(effect.peer, effect.reason)
            case Answer():
                self._answer(effect)
            case Changed():
                self.changes.tell(effect.run)
            case _:
                assert_never(effect)

    # -- events for others ----------------------------------------------------------------------------------------

    async def _stream_events(self, wanted: SendEvents) -> None:
        """Streams what a peer lacks; a newer question from the same peer ends the answer to the older one."""
        earlier = self._streams.pop(wanted.peer, None)
        if earlier is not None:
            earlier.cancel()
        scope = self._streams[wanted.peer] = trio.CancelScope()
        with scope:
            await self._send_events(wanted)
        if self._streams.get(wanted.peer) is scope:
            del self._streams[wanted.peer]

    async def _send_events(self, wanted: SendEvents) -> None:
        position = 0
        while True:
            position, events = self._store.missing(wanted.have, position, EVENTS_FRAME_BYTES)
            if not events:
                break
            if not await self._network.send(wanted.peer, encode_events(events)):
                return
        clock = self.replica.clock
        done = SyncDone(dict(clock.frontier), clock.fingerprint, wanted.reply_wanted)
        await self._network.send(wanted.peer, encode_message(done))

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _start(self, task: StartTask) -> None:
        scope = self._tasks[task.claim] = trio.CancelScope()
        self._nursery.start_soon(self._run_task, task, scope)
        self.metrics.task_started()
        log.info("task started", run=task.run, task=task.task, attempt=task.attempt)

    def _stop(self, effect: StopTask) -> None:
        log.info("task stopped", run=effect.run, task=effect.task, reason=effect.reason)
        scope = self._tasks.get(effect.claim)
        if scope is not None:  # else it has just ended by itself, and its `TaskEnded` is on the way
            scope.cancel()

    async def _run_task(self, task: StartTask, scope: trio.CancelScope) -> None:
        started_ms = self._wall_ms()
        result: TaskResult | None = None
        reason = ""
        with scope:
            try:
                result = await self._execute(task)
            except Exception as error:
                given_back = user_error_in(error)
                if given_back is None:
                    # A fault that one job meets must not take this peer down, and then every peer that tries it.
                    log.exception("task failed by our own fault", run=task.run, task=task.task)
                    result = TaskResult("failure", reason=f"internal error of the peer: {error!r}")
                else:
                    reason = given_back.message
                    log.warning("task given back", run=task.run, task=task.task, reason=reason)
        if scope.cancelled_caught:
            result = TaskResult("cancelled")
        if result is not None:
            result = self._complete(task, result, started_ms)
        self.metrics.task_ended(result.status if result else "cancelled")
        del self._tasks[task.claim]
        self.steps.pop(task.claim, None)
        await self.deliver(TaskEnded(task.run, task.task, task.claim, result, reason))

    async def _execute(self, task: StartTask) -> TaskResult:
        blobs = (task.plan,) if task.source is None else (task.plan, task.source)
        await self._copies.need(blobs, (task.submitter,))

        def report(step: str) -> None:
            self.steps[task.claim] = step
            self.changes.tell(task.run)

        async with self._logs.open(task.run, task.task, task.attempt) as writer:
            return await self._runner.run(task, writer, report)

    def _complete(self, task: StartTask, result: TaskResult, started_ms: int) -> TaskResult:
        path = self._logs.finished(task.run, task.task, task.attempt)
        cid = None
        if path is not None:
            try:
                cid = self._blobs.put_file(path)
            except UserError as error:
                log.warning("log not kept", run=task.run, task=task.task, reason=str(error))
        started = result.started_ms or started_ms
        return replace(result, log=cid, started_ms=started, ended_ms=result.ended_ms or self._wall_ms())

    # -- requests -------------------------------------------------------------------------------------------------

    async def submit(self, op: Submit) -> RunId:
        """Records a run; returns once it is durable. Raises UserError."""
        return await self._ask(lambda number: RunSubmitted(number, op))

    async def cancel(self, run: RunId, reason: str) -> RunId:
        """Records the wish to stop a run. Raises UserError."""
        return await self._ask(lambda number: RunCancelled(number, run, reason))

    async def _ask(self, stimulus_of: Callable[[int], Stimulus]) -> RunId:
        self._last_question += 1
        number = self._last_question
        question = self._questions[number] = _Question()
        try:
            with trio.fail_after(self._settings.answer_timeout_s):
                await self.deliver(stimulus_of(number))
                await question.answered.wait()
        except trio.TooSlowError:
            raise TryLater("the peer is too busy to answer", "try again; see: coterie status") from None
        finally:
            del self._questions[number]
        answer = question.answer
        assert answer is not None, "the event is set after the answer"
        if answer.error is not None or answer.run is None:
            raise answer.error or TryLater("no answer")
        return answer.run

    def _answer(self, effect: Answer) -> None:
        question = self._questions.get(effect.request)
        if question is not None:
            question.answer = effect
            question.answered.set()

    # -- the end --------------------------------------------------------------------------------------------------

    async def stop(self, finish: bool) -> None:
        """Releases what runs (with `finish`, what has not ended `finish_timeout_s` later), and says goodbye."""
        with trio.move_on_after(self._settings.stop_timeout_s):
            if finish:
                with trio.move_on_after(self._settings.finish_timeout_s):
                    await self._stop_and_wait(finish=True)
            if not self._idle.is_set():
                await self._stop_and_wait(finish=False)
        self._perform(self.replica.say_goodbye(self.now()))

    async def _stop_and_wait(self, finish: bool) -> None:
        await self.deliver(StopBegan(finish))
        await self._idle.wait()
