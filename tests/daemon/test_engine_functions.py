"""What functions are called with, where they are found, and the processes that run them."""

import functools
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from coterie.engine.context import ExecutionContext
from coterie.engine.failures import Classifier, ConfigurationFailure, StepFailed, TemporaryFailure
from coterie.engine.functions import workers as workers_module
from coterie.engine.functions.binding import (
    NO_ITEM,
    bind_arguments,
    given_arguments,
    parameters_of,
    references,
    resolve,
)
from coterie.engine.functions.jsonable import to_json
from coterie.engine.functions.location import fingerprint, import_path_of, load_function
from coterie.engine.functions.workers import FunctionCall, FunctionWorkers
from coterie.engine.settings import EngineSettings
from coterie.engine.spawner import Spawner
from coterie.engine.steps.resources import Resources
from coterie_protocols.errors import UserError
from engine_processes import PATH, alive, backends, context, gone, number_in, run

# --- binding ---


def called(function: Callable[..., Any], results: dict[str, Any], item: Any = NO_ITEM) -> Any:
    args, kwargs = bind_arguments(parameters_of(function), results, item)
    return function(*args, **kwargs)


def single(a: Any = 9) -> Any:
    return a


def pair(x: Any, row: Any) -> Any:
    return x, row


def test_results_go_by_name_then_in_order() -> None:
    def two(a: int, b: int) -> tuple[int, int]:
        return a, b

    def mixed(first: int, fetch_rows: int, last: int) -> tuple[int, int, int]:
        return first, fetch_rows, last

    assert called(two, {"x": 1, "y": 2}) == (1, 2)
    assert called(two, {"b": 1, "a": 2}) == (2, 1)
    assert called(two, {"b": 1, "x": 2}) == (2, 1)
    assert called(mixed, {"fetch-rows": 1, "x": 2, "y": 3}) == (2, 1, 3)


def test_a_function_with_fewer_parameters_gets_fewer() -> None:
    assert called(lambda: "none", {"x": 1}) == "none"
    assert called(top_level, {"z": 1, "y": 2}) == 2


def test_defaults_are_left_alone_unless_named() -> None:
    def function(a: int, limit: int = 10) -> tuple[int, int]:
        return a, limit

    assert called(function, {"x": 1, "y": 2}) == (1, 10)
    assert called(function, {"x": 1, "limit": 2}) == (1, 2)


def test_star_gets_the_rest() -> None:
    def function(a: int, b: int = 0, *rest: int, key: int = 5) -> tuple[int, int, tuple[int, ...], int]:
        return a, b, rest, key

    assert called(function, {"x": 1, "y": 2, "z": 3, "u": 4}) == (1, 2, (3, 4), 5)
    assert called(function, {"x": 1, "b": 2, "key": 3, "u": 4}) == (1, 2, (4,), 3)
    assert called(function, {"x": 1}) == (1, 0, (), 5)
    assert called(lambda *all_: all_, {"a": 1, "all_": 2}) == (1, 2)


def test_double_star_gets_the_rest_by_name() -> None:
    def function(a: int, **rest: int) -> tuple[int, dict[str, int]]:
        return a, rest

    assert called(function, {"x": 1, "load-rows": 2, "z": 3}) == (1, {"load_rows": 2, "z": 3})
    assert called(function, {"x": 1, "a": 2}) == (2, {"x": 1})
    assert called(function, {"x": 1, "y": 2}, item=0) == (0, {"x": 1, "y": 2})


def test_positional_only_and_keyword_only() -> None:
    def function(a: int, /, b: int, *, c: int) -> tuple[int, int, int]:
        return a, b, c

    assert called(function, {"c": 3, "x": 1, "y": 2}) == (1, 2, 3)
    assert called(function, {"a": 1, "c": 3, "y": 2}) == (1, 2, 3)

    def optional(a: int = 1, b: int = 2, /, c: int = 3, d: int = 4) -> tuple[int, int, int, int]:
        return a, b, c, d

    assert called(optional, {"b": 20}) == (1, 20, 3, 4)
    assert called(optional, {"d": 40}) == (1, 2, 3, 40)
    assert called(optional, {}) == (1, 2, 3, 4)


def test_the_item_is_first() -> None:
    assert called(pair, {"y": 1}, item=0) == (0, 1)
    assert called(single, {}, item=None) is None
    assert called(pair, {"x": 1}, item=0) == (1, 0)
    assert called(lambda: "none", {}, item=0) == "none"


def test_missing_arguments_are_named() -> None:
    def function(rows: int, limit: int, *, key: int) -> None: ...

    with pytest.raises(ConfigurationFailure, match="function's 'limit' and 'key': give it in `args`"):
        called(function, {"x": 1})
    with pytest.raises(ConfigurationFailure, match="'rows', 'limit' and 'key'"):
        called(function, {})


def test_functions_that_do_not_tell_their_parameters_get_all() -> None:
    assert bind_arguments(None, {"a": 1, "b": 2}, 0) == ((0, 1, 2), {})
    assert called(len, {"fetch": [1, 2]}) == 2


def test_an_object_that_can_be_called_and_has_no_hash() -> None:
    class Callable_:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, a: int) -> int:
            return a

    assert called(Callable_(), {"x": 1}) == 1
    assert parameters_of(int.from_bytes) is not None


def test_references_are_resolved_at_any_depth() -> None:
    results = {"a": 1, "b": [2]}
    value = {"x": [{"$result": "a"}, {"y": {"$result": "b"}}], "z": {"$item": True}, "w": 5}
    assert resolve(value, results.__getitem__, item="i") == {"x": [1, {"y": [2]}], "z": "i", "w": 5}
    literal = {"$value": {"$result": "a", "deep": {"$result": "a"}}}
    assert resolve(literal, results.__getitem__) == {"$result": "a", "deep": 1}
    assert resolve({"$value": 3}, results.__getitem__) == 3
    assert references([value, literal]) == ["a", "b", "a"]
    assert resolve({"$result": "a", "more": 1}, results.__getitem__) == {"$result": "a", "more": 1}
    with pytest.raises(ConfigurationFailure, match="no item outside of a map"):
        resolve({"$item": True}, results.__getitem__)


def test_given_arguments_must_fit() -> None:
    def function(a: int, b: int = 0) -> None: ...

    nothing: dict[str, Any] = {}
    parameters = parameters_of(function)
    assert given_arguments(parameters, [1], {"b": {"$result": "x"}}, {"x": 2}.__getitem__) == ((1,), {"b": 2})
    with pytest.raises(ConfigurationFailure, match=r"cannot be called with .* arguments: too many"):
        given_arguments(parameters, [1, 2, 3], None, nothing.__getitem__)
    assert given_arguments(None, [1], None, nothing.__getitem__) == ((1,), {})


# --- location ---


def top_level(x: int) -> int:
    return x + 1


class Holder:
    @classmethod
    def made(cls) -> str:
        return cls.__name__

    def method(self) -> None: ...


class Decorated:
    """As `@task` leaves a function."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.task_name = "decorated"

    def __call__(self, *args: Any) -> Any:
        return self.fn(*args)


@Decorated
def decorated(x: int) -> int:
    return x * 2


def test_import_paths() -> None:
    here = top_level.__module__
    assert import_path_of(top_level) == f"{here}:top_level"
    assert import_path_of(Holder.made) == f"{here}:Holder.made"
    assert import_path_of(decorated) == f"{here}:decorated"
    assert import_path_of(math.sqrt) == "math:sqrt"


def test_what_cannot_be_imported_is_refused() -> None:
    def inner() -> None: ...

    shadow: Any = functools.wraps(top_level)(single)
    refused: list[tuple[Any, str]] = [
        (lambda: 1, "it is a lambda"),
        (inner, "within another function"),
        (Holder().method, "bound to an object"),
        (functools.partial(top_level, 1), "no function that a module defines"),
        (shadow, "something else has that name"),
    ]
    for function, why in refused:
        with pytest.raises(UserError, match=why) as raised:
            import_path_of(function)
        assert "top level of a module" in raised.value.hint


def test_functions_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    vars(main)["__file__"] = str(tmp_path / "src" / "pkg" / "etl.py")
    exec("def fetch(): pass", vars(main))
    monkeypatch.setitem(sys.modules, "__main__", main)
    fetch = vars(main)["fetch"]
    assert import_path_of(fetch) == "etl:fetch"
    assert import_path_of(fetch, tmp_path / "src") == "pkg.etl:fetch"
    assert import_path_of(fetch, tmp_path) == "pkg.etl:fetch"
    with pytest.raises(UserError, match="outside of the source tree"):
        import_path_of(fetch, tmp_path / "src" / "other")
    vars(main)["__file__"] = str(tmp_path / "my.etl.py")
    with pytest.raises(UserError, match="there is a dot in its name"):
        import_path_of(fetch)
    del vars(main)["__file__"]
    with pytest.raises(UserError, match="typed into an interpreter"):
        import_path_of(fetch)
    main.__spec__ = importlib_spec("pkg.etl.__main__")
    assert import_path_of(fetch) == "pkg.etl:fetch"


def importlib_spec(name: str) -> Any:
    from importlib.machinery import ModuleSpec

    return ModuleSpec(name, None)


def test_functions_are_found_in_the_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "found_here_e1.py").write_text(
        "def fetch(): return 1\nclass A:\n    def b(): return 2\nrows = 3"
    )
    (tmp_path / "broken_e1.py").write_text("import no_such_module_e1")
    assert load_function("found_here_e1:fetch", tmp_path)() == 1
    assert load_function("found_here_e1:A.b", tmp_path)() == 2
    for path, message in [
        ("found_here_e1:fetsh", "has no function fetsh; did you mean fetch?"),
        ("found_here_e1:zzz", "has no function zzz$"),
        ("found_here_e1:rows", "is a int, no function"),
        ("none_e1:fetch", "there is no module none_e1 in "),
        ("none_e1.deep:fetch", "there is no module none_e1 in "),
        ("fetch", "write it as module:function"),
    ]:
        with pytest.raises(ConfigurationFailure, match=message):
            load_function(path, tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_e1"):
        load_function("broken_e1:fetch", tmp_path)


def test_a_fingerprint_changes_with_the_code() -> None:
    scope: dict[str, Any] = {}
    exec("def a(x):\n    return [y for y in x]\ndef b(x):\n    return [y for y in x]\ndef c(x):\n    return 2", scope)
    assert fingerprint(scope["a"]) == fingerprint(scope["b"])
    assert fingerprint(scope["a"]) != fingerprint(scope["c"])
    assert fingerprint(top_level) != fingerprint(Holder.made)
    assert fingerprint(decorated) == fingerprint(decorated.fn)
    assert len(fingerprint(len)) == 64


# --- results ---


def test_results_as_json() -> None:
    import dataclasses
    import datetime

    @dataclasses.dataclass
    class Row:
        day: datetime.date
        tags: set[str]

    assert to_json({"a": (1, None)}) == b'{"a":[1,null]}'
    assert to_json(Row(datetime.date(2026, 1, 2), {"x"})) == b'{"day":"2026-01-02","tags":["x"]}'
    with pytest.raises(ConfigurationFailure, match="the result is a object, which cannot be kept as JSON"):
        to_json(object())
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigurationFailure, match="the result is a list"):
        to_json(endless)


def test_results_as_json_where_there_is_no_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses
    import datetime
    import decimal
    import enum

    class Colour(enum.Enum):
        RED = "red"

    @dataclasses.dataclass
    class Row:
        day: datetime.date

    monkeypatch.setitem(sys.modules, "pydantic_core", None)
    value = [Row(datetime.date(2026, 1, 2)), {1}, Colour.RED, decimal.Decimal("1.5"), Path("/a")]
    assert to_json(value) == b'[{"day":"2026-01-02"},[1],"red","1.5","/a"]'
    with pytest.raises(ConfigurationFailure, match="a object is no JSON"):
        to_json([object()])


# --- workers ---

MODULE = textwrap.dedent(
    """
    import dataclasses, os, sys, time
    from coterie.engine import context as _context

    def add(a, b=1):
        print("adding", a, b)
        print("to stderr", file=sys.stderr)
        return a + b

    def pid(): return os.getpid()
    def gather(*all): return list(all)
    def twice(x): return x * 2

    async def slow(a):
        import asyncio
        await asyncio.sleep(0.001)
        return a

    async def on_trio(a):
        import trio
        await trio.sleep(0.001)
        return [a, _context.current_context().step_id]
    on_trio.coterie_backend = "trio"

    async def on_other(): pass
    on_other.coterie_backend = "curio"

    class RowError(ValueError): pass
    def fail(): raise RowError("row 7")
    def refuse(): raise ConnectionRefusedError("nobody there")
    def leave(): sys.exit(75)
    def crash(): print("last words", flush=True); os.abort()
    def vanish(): os._exit(3)
    def odd(): return object()
    def large(): return "x" * 2_000_000
    def interrupt(): raise KeyboardInterrupt

    @dataclasses.dataclass
    class Row:
        name: str
    def model(): return Row("Ada")

    def known():
        here = _context.current_context()
        return {
            "ids": [here.workflow_id, here.execution_id, here.step_id, here.attempt], "inputs": here.inputs,
            "variables": here.variables, "data": here.step_data("before"), "ready": here.is_ready("one"),
            "errors": here.error_history(), "parallel": here.parallel_results("many"), "plan": here.plan,
            "env": os.environ["COTERIE_STEP_ID"], "dir": str(here.work_dir), "item": here.item,
        }
    def unknown():
        try:
            _context.current_context().step_data("nobody")
        except KeyError as error:
            return f"unknown {error}"

    def wait(folder):
        import subprocess
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        try:
            open(folder + "/child", "w").write(f"{child.pid}\\n")
            open(folder + "/pid", "w").write(f"{os.getpid()}\\n")
            time.sleep(1000)
        finally:
            open(folder + "/finally", "w").write("done")
    """
)


class Pool:
    """Workers on a source tree of its own."""

    def __init__(self, folder: Path, spawner: Spawner, workers: FunctionWorkers) -> None:
        self.folder = folder
        self._spawner = spawner
        self.workers = workers
        self.lines: list[str] = []

    async def call(
        self,
        function: str,
        results: dict[str, Any] | None = None,
        *,
        here: ExecutionContext | None = None,
        python: str | None = None,
        module: str = "jobs",
        **given: Any,
    ) -> Any:
        here = here or context(results, source_dir=self.folder)
        call = FunctionCall(f"{module}:{function}", results or {}, here, python=python, **given)
        return await self.workers.call(self._spawner, call, self.lines.append)


def with_pool(
    backend: str, folder: Path, test: Callable[[Pool], Any], settings: EngineSettings | None = None, seconds: float = 30
) -> None:
    """Runs a test with a pool of workers, and sees that none is left."""
    (folder / "jobs.py").write_text(MODULE)
    settings = settings or EngineSettings(grace_s=0.5, env={"PATH": PATH}, result_bytes_max=1_000_000)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            resources = Resources(tasks, settings)
            await test(Pool(folder, await resources.get(Spawner), await resources.get(FunctionWorkers)))
            tasks.cancel_scope.cancel()

    run(backend, main, seconds)


@backends
def test_a_function_in_a_process_of_its_own(backend: str, tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        assert await pool.call("add", {"x": 2}) == 3
        assert pool.lines == ["adding 2 1", "to stderr"]
        assert await pool.call("add", args=[{"$result": "x"}], kwargs={"b": 5}, results={"x": 2}) == 7
        first = await pool.call("pid")
        assert first not in (os.getpid(), None)
        assert await pool.call("pid") == first
        assert await pool.call("gather", {"a": [1], "b": None}) == [[1], None]
        assert await pool.call("model") == {"name": "Ada"}
        child = context(source_dir=tmp_path, item=21, index=0)
        assert await pool.call("twice", here=child) == 42

    with_pool(backend, tmp_path, test)


@backends
def test_async_functions(backend: str, tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        assert await pool.call("slow", {"x": 2}) == 2
        assert await pool.call("on_trio", {"x": 2}) == [2, "one"]
        with pytest.raises(StepFailed, match="can be 'asyncio' or 'trio'"):
            await pool.call("on_other")

    with_pool(backend, tmp_path, test)


@backends
def test_the_context_reaches_the_function(backend: str, tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        here = context({"before": {"rows": 2}, "many": [1, 2]}, source_dir=tmp_path, work_dir=tmp_path, attempt=2)
        assert await pool.call("known", here=here) == {
            "ids": ["flow", "run-1", "one", 2],
            "inputs": {"name": "Ada"},
            "variables": {"level": 3},
            "data": {"rows": 2},
            "ready": True,
            "errors": [{"step": "any", "attempt": 1}],
            "parallel": [1, 2],
            "plan": {"steps": ["before", "many"]},
            "env": "one",
            "dir": str(tmp_path),
            "item": None,
        }
        assert await pool.call("unknown") == "unknown 'nobody'"

    with_pool(backend, tmp_path, test)


@backends
def test_failures_keep_type_text_traceback_and_class(backend: str, tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        with pytest.raises(StepFailed, match=r"^row 7$") as raised:
            await pool.call("fail")
        failure = Classifier().classify(raised.value)
        assert failure.type_name == "RowError"
        assert failure.error_class == "failure"
        assert 'raise RowError("row 7")' in failure.detail
        assert "coterie/engine" not in failure.detail
        with pytest.raises(StepFailed) as raised:
            await pool.call("refuse")
        assert raised.value.error_class == "connection"
        with pytest.raises(StepFailed, match=r"sys.exit\(75\)") as raised:
            await pool.call("leave")
        assert raised.value.error_class == "temporary"
        with pytest.raises(StepFailed):
            await pool.call("interrupt")
        with pytest.raises(StepFailed, match="the result is a object") as raised:
            await pool.call("odd")
        assert raised.value.error_class == "configuration"
        with pytest.raises(StepFailed, match="2000002 bytes of JSON; the limit is 1000000"):
            await pool.call("large")
        with pytest.raises(StepFailed, match="there is no module nowhere"):
            await pool.call("f", module="nowhere")
        assert await pool.call("twice", {"x": 2}) == 4
        assert pool.workers.idle == 1

    with_pool(backend, tmp_path, test)


@backends
def test_a_worker_that_dies_fails_that_attempt_alone(backend: str, tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        with pytest.raises(TemporaryFailure, match=r"died in the middle of the call: signal 6 \(SIGABRT\)") as raised:
            await pool.call("crash")
        assert raised.value.detail == "last words"
        assert pool.lines == ["last words"]
        with pytest.raises(TemporaryFailure, match="exit code 3"):
            await pool.call("vanish")
        killed = await pool.call("pid")
        os.kill(killed, signal.SIGKILL)
        await anyio.to_thread.run_sync(gone, killed)
        assert await pool.call("twice", {"x": 2}) == 4

    with_pool(backend, tmp_path, test)


@backends
def test_cancelled_the_worker_ends_with_all_that_it_started(backend: str, tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        begun = time.monotonic()
        pids: list[int] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, "wait", {"folder": str(tmp_path)})
            pids = [await anyio.to_thread.run_sync(number_in, tmp_path / name) for name in ("child", "pid")]
            tasks.cancel_scope.cancel()
        assert not any(alive(pid) for pid in pids)
        assert (tmp_path / "finally").read_text() == "done"
        assert time.monotonic() - begun < 10
        assert pool.workers.idle == 0
        assert await pool.call("twice", {"x": 2}) == 4

    with_pool(backend, tmp_path, test)


def test_calls_at_a_time_are_bounded_and_idle_workers_make_room(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "jobs.py").write_text(MODULE)

    async def test(pool: Pool) -> None:
        found: set[int] = set()

        async def one() -> None:
            found.add(await pool.call("pid"))

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(one)
        assert len(found) <= 2
        assert pool.workers.idle == len(found)
        await pool.call("pid", here=context(source_dir=other))
        assert pool.workers.idle == 2
        assert sum(alive(pid) for pid in found) == 1

    settings = EngineSettings(grace_s=0.5, env={"PATH": PATH}, max_concurrent_tasks=2)
    with_pool("trio", tmp_path, test, settings)


@backends
def test_idle_workers_end(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "IDLE_S", 0.05)

    async def test(pool: Pool) -> None:
        pid = await pool.call("pid")
        await anyio.to_thread.run_sync(gone, pid)
        assert pool.workers.idle == 0
        assert await pool.call("pid") != pid

    with_pool(backend, tmp_path, test)


def test_an_interpreter_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no interpreter' >&2\nexit 9\n")
    broken.chmod(0o755)

    async def test(pool: Pool) -> None:
        with pytest.raises(ConfigurationFailure, match=r"cannot be run with /none: .*No such file"):
            await pool.call("pid", python="/none")
        with pytest.raises(ConfigurationFailure, match="it ended with exit code 9") as raised:
            await pool.call("pid", python=str(broken))
        assert raised.value.detail == "no interpreter"
        with pytest.raises(ConfigurationFailure, match="an argument is no JSON, so it cannot be passed"):
            await pool.call("twice", {"x": object()})

    with_pool("trio", tmp_path, test)


def test_an_interpreter_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.engine.functions.one_worker.START_S_MAX", 0.1)
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)

    async def test(pool: Pool) -> None:
        with pytest.raises(TemporaryFailure, match="did not start in"):
            await pool.call("pid", python=str(hanging))

    with_pool("trio", tmp_path, test)


def test_another_interpreter_has_this_package_last(tmp_path: Path) -> None:
    python = tmp_path / "other-python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages
    python.chmod(0o755)

    async def test(pool: Pool) -> None:
        assert await pool.call("twice", {"x": 2}, python=str(python)) == 4
        assert await pool.call("model", python=str(python)) == {"name": "Ada"}

    with_pool("trio", tmp_path, test)


def test_the_users_modules_come_first_and_do_not_hide_ours(tmp_path: Path) -> None:
    (tmp_path / "coterie").mkdir()
    (tmp_path / "coterie" / "__init__.py").write_text("raise RuntimeError('hidden')")
    (tmp_path / "colorsys.py").write_text("own = True")
    module = MODULE + "\ndef own():\n    import colorsys\n    return colorsys.own\n"

    async def test(pool: Pool) -> None:
        (tmp_path / "jobs.py").write_text(module)
        assert await pool.call("own") is True

    with_pool("trio", tmp_path, test)


ENGINE = textwrap.dedent(
    """
    import anyio, sys
    from pathlib import Path
    sys.path[:0] = [sys.argv[2]]
    from engine_processes import context
    from coterie.engine.functions.workers import FunctionCall, FunctionWorkers
    from coterie.engine.settings import EngineSettings
    from coterie.engine.spawner import Spawner
    from coterie.engine.steps.resources import Resources

    async def main():
        folder = Path(sys.argv[1])
        async with anyio.create_task_group() as tasks:
            resources = Resources(tasks, EngineSettings(env={"PATH": "/usr/bin:/bin"}))
            call = FunctionCall("jobs:wait", {"folder": str(folder)}, context(source_dir=folder))
            workers = await resources.get(FunctionWorkers)
            await workers.call(await resources.get(Spawner), call, print)

    anyio.run(main, backend="asyncio")
    """
)


def test_workers_die_with_an_engine_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(MODULE)
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, str(tmp_path), str(Path(__file__).parents[1])])
    pids = [number_in(tmp_path / name) for name in ("child", "pid")]
    pids.append(psutil.Process(pids[1]).ppid())
    engine.kill()
    engine.wait()
    for pid in pids:
        gone(pid)
