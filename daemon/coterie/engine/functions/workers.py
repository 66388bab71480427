"""Processes that run Python functions, kept warm: the engine's side of `worker.py`."""

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import TaskStatus

import coterie
import coterie_protocols
from coterie.engine.context import ExecutionContext
from coterie.engine.failures import ConfigurationFailure, TemporaryFailure
from coterie.engine.functions.failed import function_failed
from coterie.engine.functions.messages import SLACK_BYTES
from coterie.engine.functions.one_worker import START_S_MAX, Worker, WorkerDied
from coterie.engine.model import Json
from coterie.engine.settings import EngineSettings
from coterie.engine.spawner import CannotStart, Exit, Spawner

IDLE_S: Final = 60.0
"""A worker that nobody has used for so long is ended."""

_CONTEXT_FIELDS: Final = tuple(
    field.name for field in fields(ExecutionContext) if field.name not in ("run", "progress")
)
_QUESTIONS: Final = frozenset({"needs", "state", "result", "parallel_results", "errors", "plan"})


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """What a worker is to call.

    `args` and `kwargs` may hold references (see binding.py); where both are None, results are passed. `python` is an
    interpreter's path; None is the engine's own.
    """

    function: str
    results: Mapping[str, Json]
    context: ExecutionContext
    args: list[Json] | None = None
    kwargs: Mapping[str, Json] | None = None
    python: str | None = None

    def message(self, bytes_max: int) -> dict[str, Any]:
        """As the worker gets it."""
        context: dict[str, Any] = {name: getattr(self.context, name) for name in _CONTEXT_FIELDS}
        context.update(inputs=dict(self.context.inputs), variables=dict(self.context.variables))
        folders = {name: None if context[name] is None else str(context[name]) for name in ("source_dir", "work_dir")}
        return {
            "function": self.function,
            "args": self.args,
            "kwargs": self.kwargs,
            "results": dict(self.results),
            "context": {**context, **folders},
            "source_dir": folders["source_dir"],
            "env": self.context.environment(),
            "bytes_max": bytes_max,
        }


_Key = tuple[str, str | None]


class FunctionWorkers:
    """Calls functions in processes of their own, one call at a time in each; a Resource of the engine.

    A worker serves one interpreter and one source tree, so that no modules of another one are in it.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._limiter = anyio.CapacityLimiter(settings.max_concurrent_tasks)
        self._idle: deque[tuple[float, _Key, Worker]] = deque()
        self._idled = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Ends workers that are idle for long, and all when it is cancelled."""
        task_status.started()
        try:
            while True:
                await self._idled.wait()
                self._idled = anyio.Event()
                while self._idle:
                    since, _, worker = self._idle[0]
                    await anyio.sleep_until(since + IDLE_S)
                    if self._idle and self._idle[0][2] is worker and self._idle[0][0] == since:
                        self._idle.popleft()
                        await worker.close()
        finally:
            with anyio.CancelScope(shield=True):
                while self._idle:
                    await self._idle.popleft()[2].close()

    @property
    def idle(self) -> int:
        """How many workers wait for a call."""
        return len(self._idle)

    async def call(self, spawner: Spawner, call: FunctionCall, log: Callable[[str], None]) -> Json:
        """What the function returns, as JSON; each line that it writes goes to `log`.

        Raises what `function_failed` makes of its exception, ConfigurationFailure where no worker can be had, and
        TemporaryFailure where the worker died. On cancellation the worker is ended, with all that it started.
        """
        try:
            self._limiter.acquire_nowait()  # without a turn of the loop
        except anyio.WouldBlock:
            await self._limiter.acquire()
        try:
            answer = await self._call(spawner, call, log)
        finally:
            self._limiter.release()
        if "failed" in answer:
            raise function_failed(answer["failed"])
        return answer["result"]

    async def _call(self, spawner: Spawner, call: FunctionCall, log: Callable[[str], None]) -> dict[str, Any]:
        worker = await self._worker(spawner, call)
        try:
            answer = await self._conversation(worker, call, log)
        except WorkerDied as error:
            await worker.close()
            raise _died(error.exit, worker.last_lines) from None
        except BaseException:
            await worker.close()
            raise
        self._idle.append((anyio.current_time(), _key(call), worker))
        self._idled.set()
        return answer

    async def _conversation(self, worker: Worker, call: FunctionCall, log: Callable[[str], None]) -> dict[str, Any]:
        """From the call to its answer; what the function asks in between is answered."""
        bytes_max = self._settings.result_bytes_max
        with worker.output_to(log):
            try:
                await worker.send(call.message(bytes_max))
            except (TypeError, ValueError) as error:
                await worker.close()
                raise ConfigurationFailure(
                    f"an argument is no JSON, so it cannot be passed: {error}", detail=""
                ) from None
            while True:
                message = await worker.receive(bytes_max + SLACK_BYTES)
                if "beat" in message:
                    call.context.heartbeat(message["beat"])
                elif "ask" in message:
                    await worker.send(_reply(call.context, message["ask"], message["arguments"]))
                else:
                    return message

    async def _worker(self, spawner: Spawner, call: FunctionCall) -> Worker:
        key = _key(call)
        for place in range(len(self._idle) - 1, -1, -1):
            if self._idle[place][1] == key:
                worker = self._idle[place][2]
                del self._idle[place]
                if worker.alive:
                    return worker
                await worker.close()
                return await self._worker(spawner, call)
        if self._limiter.borrowed_tokens + len(self._idle) > self._limiter.total_tokens and self._idle:
            await self._idle.popleft()[2].close()
        return await self._start(spawner, call)

    async def _start(self, spawner: Spawner, call: FunctionCall) -> Worker:
        python = call.python or sys.executable
        folder = call.context.source_dir or Path.cwd()
        worker = Worker(self._settings.grace_s)
        try:
            await worker.start(spawner, _argv(python), {**self._settings.env}, folder)
        except CannotStart as error:
            await worker.close()
            raise ConfigurationFailure(f"Python functions cannot be run with {python}: {error}", detail="") from None
        except WorkerDied as error:
            await worker.close()
            raise ConfigurationFailure(
                f"Python functions cannot be run with {python}: it ended with {error.exit}",
                detail="\n".join(worker.last_lines),
            ) from None
        except TimeoutError:
            await worker.close()
            raise TemporaryFailure(f"{python} did not start in {START_S_MAX:g} s", detail="") from None
        except BaseException:
            await worker.close()
            raise
        return worker


def _key(call: FunctionCall) -> _Key:
    source = call.context.source_dir
    return call.python or sys.executable, None if source is None else os.fspath(source)


def _argv(python: str) -> tuple[str, ...]:
    """Ours comes last on the worker's path: its own packages go before. Ours is loaded before the user's modules."""
    own = [str(Path(package.__path__[0]).parent) for package in (coterie, coterie_protocols)]
    paths = [*sys.path, *own] if python == sys.executable else own
    code = (
        # Until the working folder is off the path, a json.py in it would be taken for the library's.
        "import sys; sys.path.remove('') if '' in sys.path else None;"
        "import json; paths = json.loads(sys.argv.pop());"
        "sys.path += [path for path in paths if path and path not in sys.path];"
        "from coterie.engine.functions.worker import main; main()"
    )
    return python, "-c", code, json.dumps(paths)


def _reply(context: ExecutionContext, question: str, arguments: list[Any]) -> dict[str, Any]:
    if question not in _QUESTIONS:
        raise ValueError(f"a worker asked {question!r}")
    try:
        answer = getattr(context.run, question)(*arguments)
    except KeyError as error:
        return {"unknown": str(error.args[0])}
    return {"answer": answer}


def _died(exit_: Exit | None, last_lines: list[str]) -> TemporaryFailure:
    how = "was killed along with its supervisor" if exit_ is None else f"died in the middle of the call: {exit_}"
    hint = "; if nothing in it sent that, the kernel may have run out of memory" if exit_ and exit_.signal == 9 else ""
    return TemporaryFailure(f"the process of the function {how}{hint}", detail="\n".join(last_lines))
