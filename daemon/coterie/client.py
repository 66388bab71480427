"""Workflows handed to the daemon of this machine, from Python: `Client().submit(...)`.

run = Client().submit(etl.build("https://example.org"), key="nightly-2026-11-21")
print(run.wait(timeout=600).outputs)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never, overload

from coterie.client_execution import Execution
from coterie.client_request import prepare
from coterie.client_run import Run
from coterie.client_source import upload_tree
from coterie.client_spread import submit_spread
from coterie.control.client import find_client
from coterie.control.connection import Document
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.engine.definition import Workflow
    from coterie.engine.model import WorkflowSpec

Placement = Literal["local", "run", "job"]
"""Where it is performed. local: by this daemon. run: whole, by one peer of the coterie. job: each step by some peer."""

EXECUTIONS_MAX = 100


class Client:
    """The daemon at `socket`, else at COTERIE_SOCKET, else that of the user's or the system's service.

    Every call raises DaemonNotRunning where none answers, and a UserError for what cannot be. It holds no connection:
    it may be used from several threads, and needs no closing.
    """

    def __init__(self, socket: str | Path | None = None) -> None:
        self.calls = find_client(None if socket is None else Path(socket))

    @overload
    def submit(
        self,
        what: "Workflow | WorkflowSpec | str | Path",
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        priority: float | None = None,
        source: bool | str | Path = True,
        placement: Literal["local"] = "local",
    ) -> Execution: ...
    @overload
    def submit(
        self,
        what: "Workflow | WorkflowSpec | str | Path",
        inputs: Mapping[str, Any] | None = None,
        *,
        priority: float | None = None,
        source: bool | str | Path = True,
        placement: Literal["run", "job"],
    ) -> Run: ...
    def submit(
        self,
        what: "Workflow | WorkflowSpec | str | Path",
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        priority: float | None = None,
        source: bool | str | Path = True,
        placement: Placement = "local",
    ) -> Any:
        """Submits a workflow; it is durable when this returns, and goes on whatever becomes of this process.

        `what` is a `Workflow`, what a decorated workflow's `.build(...)` returned, a `WorkflowSpec`, or the path of a
        `coterie: 1` file. Returns an `Execution`, or a `Run` where the coterie carries it out (`placement`). The same
        `key` again gives the execution that was submitted with it first. Lower `priority` is sooner. With `source` the
        tree around the functions goes along where a step needs it, or the tree that it names. Raises InvalidWorkflow,
        UserError.
        """
        match placement:
            case "local":
                return self._execute(what, inputs or {}, key, priority, source)
            case "run" | "job":
                if key is not None:
                    raise UserError("a run of the coterie has no key", "leave out key, or use placement local")
                prepared = prepare(what, None if isinstance(source, bool) else Path(source))
                return submit_spread(self.calls, prepared, inputs or {}, placement, priority, source is not False)
            case _:
                assert_never(placement)

    def execution(self, name: str) -> Execution:
        """One execution: by id, unique prefix of it, @last, @last-failed, or a workflow's id. Raises Refused."""
        return Execution(self.calls, self.calls.execution(name))

    def executions(self, limit: int = EXECUTIONS_MAX, *, workflow: str | None = None) -> list[Execution]:
        """The newest first, of one workflow or of all."""
        return [Execution(self.calls, document) for document in self.calls.executions(limit, workflow)]

    def _execute(
        self,
        what: "Workflow | WorkflowSpec | str | Path",
        inputs: Mapping[str, Any],
        key: str | None,
        priority: float | None,
        source: bool | str | Path,
    ) -> Execution:
        prepared = prepare(what, None if isinstance(source, bool) else Path(source))
        request: Document = {"document": prepared.document, "inputs": dict(inputs)}
        if key is not None:
            request["key"] = key
        if priority is not None:
            request["priority"] = priority
        if source is not False and prepared.root is not None:
            request["source"] = upload_tree(self.calls, prepared.root)
        return Execution(self.calls, self.calls.execute(request))
