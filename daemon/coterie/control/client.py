"""The client of the control socket: standard library only, so that a command answers at once."""

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from urllib.parse import urlencode

from coterie.control.client_executions import ExecutionCalls
from coterie.control.connection import (
    DaemonNotRunning,
    Document,
    Refused,
    StreamEnded,
    segment,
)
from coterie.locations import client_sockets

__all__ = ["Client", "DaemonNotRunning", "Document", "Refused", "StreamEnded", "find_client"]

VERIFY_TIMEOUT_S = 1800.0  # every stored event is checked again
UPLOAD_TIMEOUT_S = 120.0


class Client(ExecutionCalls):
    """Speaks to one daemon. Every call raises `DaemonNotRunning`, `Refused` or another UserError."""

    def status(self) -> Document:
        """This daemon (coterie.status/1)."""
        return self._call("GET", "/v1/status")

    def health(self) -> Document:
        """Answers as soon as the daemon serves (coterie.health/1)."""
        return self._call("GET", "/v1/health")

    def members(self) -> Document:
        """The coterie as this peer sees it (coterie.members/1)."""
        return self._call("GET", "/v1/members")

    def clock(self) -> Document:
        """Heads, frontier and digest (coterie.clock/1)."""
        return self._call("GET", "/v1/clock")

    def runs(self, limit: int) -> Document:
        """The newest runs first (coterie.runs/1)."""
        return self._call("GET", f"/v1/workflows?limit={limit}")

    def run(self, prefix: str) -> Document:
        """One run (coterie.run/1)."""
        return self._call("GET", f"/v1/workflows/{segment(prefix)}")

    def upload(self, tar: Path) -> str:
        """Hands a source tree to the daemon and returns the name by which `submit` can refer to it, once."""
        with tar.open("rb") as body:
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(tar.stat().st_size)}
            answer = self._call("POST", "/v1/sources", body, headers, UPLOAD_TIMEOUT_S)
        return str(answer["source"])

    def submit(self, request: Mapping[str, object]) -> Document:
        """Submits a run (coterie.run/1); the keys are those of `SubmitBody` in coterie.control.schemas."""
        return self._post("/v1/workflows", request)

    def cancel(self, prefix: str, reason: str) -> Document:
        """Asks for the end of a run (coterie.run/1)."""
        return self._post(f"/v1/workflows/{segment(prefix)}/cancel", {"reason": reason})

    def invite(self, request: Mapping[str, object]) -> Document:
        """A token for newcomers (coterie.invite/1); the keys are those of `InviteBody` in coterie.control.schemas."""
        return self._post("/v1/invites", request)

    def verify(self) -> Document:
        """Rebuilds derived state from the stored events and compares (coterie.verify/1)."""
        return self._post("/v1/store/verify", {}, VERIFY_TIMEOUT_S)

    def stop(self) -> Document:
        """Asks the daemon to exit cleanly (coterie.stopping/1)."""
        return self._post("/v1/stop", {})

    def events(self, run: str | None = None, within_s: float | None = None) -> Generator[tuple[str, Document]]:
        """What changes, as (event, document), without end; with `run` its present state comes first.

        Raises StreamEnded when the daemon goes away, TimeoutError after `within_s`.
        """
        query = "" if run is None else f"?{urlencode({'run': run})}"
        yield from self._events(f"/v1/events{query}", within_s)
        raise self._stopped()

    def log(self, run: str, job: str, attempt: int | None, follow: bool, offset: int = 0) -> Generator[bytes]:
        """A job's output in chunks, with `follow` until it ends; a silent stretch reconnects where it was."""
        return self._log(f"/v1/workflows/{segment(run)}/logs/{segment(job)}", attempt, follow, offset)


def find_client(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> Client:
    """The client of the daemon at `explicit`, else COTERIE_SOCKET, else the user's or the system's service."""
    tried = client_sockets(explicit, environ)
    path = next((path for path in tried if path.exists()), tried[0])
    return Client(path, tried)
