"""A process that calls functions for the engine, one at a time, for as long as the engine wants it.

Started by `workers.py`, perhaps with another interpreter than the engine's: beside the standard library it needs
little of this package. Its socket to the engine is descriptor 3; stdout and stderr are pipes that the engine reads.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from coterie.engine.context import CONTEXT, ExecutionContext
from coterie.engine.failures import Classifier, ConfigurationFailure, ExitFailed
from coterie.engine.functions import messages
from coterie.engine.functions.binding import NO_ITEM, bind_arguments, given_arguments, parameters_of
from coterie.engine.functions.jsonable import to_json
from coterie.engine.functions.location import load_function
from coterie.engine.model import Json, StepState

CHANNEL: Final = 3
TERMINATED: Final = 128 + signal.SIGTERM
FUNCTIONS_MAX: Final = 1024
_MESSAGE_BYTES_MAX: Final = 2**62  # the engine is trusted, and bounds what it sends


def main() -> None:
    """Serves calls until the engine hangs up, or says TERM."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        cast("Any", stream).reconfigure(line_buffering=True, errors="backslashreplace")
    os.set_inheritable(CHANNEL, False)
    channel = Channel(socket.socket(fileno=CHANNEL))
    channel.send({"ready": os.getpid()})
    while (call := channel.receive()) is not None:
        channel.send_body(_answer(channel, call))


def _terminate(number: int, frame: object) -> NoReturn:
    """The function's `finally` blocks run, for as long as the engine's grace lasts."""
    raise SystemExit(TERMINATED)


class Channel:
    """The worker's end of the socket. A question and its answer are not torn apart by threads of the function."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._reader = messages.Reader()
        self._lock = threading.RLock()

    def send(self, message: dict[str, Any]) -> None:
        """One message."""
        self.send_body(messages.body_of(message))

    def send_body(self, body: bytes) -> None:
        """One message that is JSON already."""
        with self._lock:
            self._stream.sendall(messages.header_of(body) + body)

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the engine has hung up."""
        while (message := self._reader.next(_MESSAGE_BYTES_MAX)) is None:
            data = self._stream.recv(messages.READ_BYTES)
            if not data:
                return None
            self._reader.feed(data)
        return message

    def beat(self, text: str) -> None:
        """A sign of life; nothing is answered."""
        self.send({"beat": text})

    def ask(self, question: str, *arguments: Json) -> Json:
        """What the engine answers. Raises KeyError for a step that the execution does not have."""
        with self._lock:
            self.send({"ask": question, "arguments": list(arguments)})
            answer = self.receive()
        if answer is None:
            raise SystemExit(TERMINATED)
        if "unknown" in answer:
            raise KeyError(answer["unknown"])
        return answer["answer"]


class DistantRun:
    """Implements `RunReader` by asking the engine."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def needs(self, step: str) -> tuple[str, ...]:
        """The ids of the steps that it needs."""
        return tuple(self._channel.ask("needs", step))

    def state(self, step: str) -> StepState:
        """Where it stands."""
        return cast("StepState", self._channel.ask("state", step))

    def result(self, step: str) -> Json:
        """What it returned; None while it has not completed."""
        return self._channel.ask("result", step)

    def parallel_results(self, step: str) -> list[Json]:
        """What the children of a map step have returned so far."""
        return cast("list[Json]", self._channel.ask("parallel_results", step))

    def errors(self, step: str | None) -> list[Mapping[str, Json]]:
        """Every failed attempt so far."""
        return cast("list[Mapping[str, Json]]", self._channel.ask("errors", step))

    def plan(self) -> Mapping[str, Json]:
        """The plan of the execution."""
        return cast("Mapping[str, Json]", self._channel.ask("plan"))


def _answer(channel: Channel, call: dict[str, Any]) -> bytes:
    """Carries out one call; returns the answer's JSON."""
    os.environ.update(call["env"])
    try:
        result = to_json(_perform(channel, call))
        if len(result) > call["bytes_max"]:
            raise ConfigurationFailure(
                f"the result is {len(result)} bytes of JSON; the limit is {call['bytes_max']} (result_bytes_max): "
                "write it to a file and return its name",
                detail="",
            )
        return b'{"result":' + result + b"}"
    except SystemExit as error:
        if error.code == TERMINATED:
            raise
        return _failed(ExitFailed(f"the function called sys.exit({error.code!r})", _exit_code(error)))
    except BaseException as error:  # noqa: BLE001 - a function may raise anything; the engine is told
        return _failed(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _exit_code(error: SystemExit) -> int:
    """As the interpreter takes it: nothing is 0, a text is 1."""
    return error.code if isinstance(error.code, int) else 0 if error.code is None else 1


def _perform(channel: Channel, call: dict[str, Any]) -> Any:
    function = _function(call["function"], call["source_dir"])
    context = ExecutionContext(**_typed(call["context"]), run=DistantRun(channel), progress=channel.beat)
    item = call["context"]["item"] if call["context"]["index"] is not None else NO_ITEM
    results: dict[str, Any] = call["results"]
    parameters = parameters_of(function)
    if call["args"] is None and call["kwargs"] is None:
        args, kwargs = bind_arguments(parameters, results, item)
    else:
        args, kwargs = given_arguments(parameters, call["args"], call["kwargs"], results.__getitem__, item)
    token = CONTEXT.set(context)
    try:
        return _call(function, args, kwargs)
    finally:
        CONTEXT.reset(token)


@lru_cache(maxsize=FUNCTIONS_MAX)
def _function(path: str, source_dir: str | None) -> Callable[..., Any]:
    return load_function(path, None if source_dir is None else Path(source_dir))


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    folders = {name: None if fields[name] is None else Path(fields[name]) for name in ("source_dir", "work_dir")}
    return {**fields, **folders}


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if iscoroutinefunction(function) and getattr(function, "coterie_backend", "asyncio") == "trio":
        import trio

        return trio.run(lambda: function(*args, **kwargs))
    value = function(*args, **kwargs)
    if not isawaitable(value):
        return value
    backend = getattr(function, "coterie_backend", "asyncio")
    if backend != "asyncio":
        raise ConfigurationFailure(f"coterie_backend is {backend!r}; it can be 'asyncio' or 'trio'", detail="")
    import asyncio  # noqa: TID251 - what users' async functions run on unless they say otherwise

    async def finish() -> Any:
        return await value

    return asyncio.run(finish())


def _failed(error: BaseException) -> bytes:
    return messages.body_of({"failed": Classifier().classify(error).to_json()})
